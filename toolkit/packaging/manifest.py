"""SHA256SUMS: the sums of all files of a folder, in the form that `sha256sum -c` reads."""

import re
from pathlib import Path

from toolkit.errors import CheckFailedError, ModelError
from toolkit.files import sha256, write_text

NAME = "SHA256SUMS"

_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def write_manifest(folder: Path) -> dict[str, str]:
    """Write the sums of all files below a folder into its SHA256SUMS, and return them by name."""
    sums = {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != NAME
    }
    write_text(folder / NAME, "".join(f"{digest}  {name}\n" for name, digest in sums.items()))
    return sums


def check_manifest(folder: Path) -> dict[str, str]:
    """Check every file that a folder's SHA256SUMS names, and return the sums by name.

    Files that the manifest does not name are left alone: builds and installed libraries lie in
    the same folder.

    Raises:
        ModelError: The folder has no manifest, or one that is damaged.
        CheckFailedError: A file is missing or was changed; the message names the first.
    """
    path = folder / NAME
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"'{path}' cannot be read; name a folder that `toolkit package` wrote."
        ) from error
    sums = {}
    for line in lines:
        match = _LINE.fullmatch(line)
        # A manifest speaks of its own folder only.
        if match is None or match[2].startswith("/") or ".." in Path(match[2]).parts:
            raise ModelError(f"'{path}' is damaged at '{line[:80]}'; package the model again.")
        sums[match[2]] = match[1]
    for name, digest in sums.items():
        file = folder / name
        if not file.is_file():
            raise CheckFailedError(f"'{file}' is missing; package the model again.")
        if sha256(file) != digest:
            raise CheckFailedError(
                f"'{file}' was changed since it was packaged: its sha256 differs from {NAME}. "
                "Package the model again."
            )
    return sums
