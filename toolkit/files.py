"""Output paths that are checked before the work, and files that appear whole or not at all."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from toolkit.errors import DataError, OutputError


def check_output(
    path: str | Path,
    *,
    force: bool = False,
    inputs: Iterable[str | Path] = (),
    suffixes: Sequence[str] = (),
) -> Path:
    """Return the path after checking that a file can be written there; nothing is created.

    Args:
        path: The file to write.
        force: Whether a file that is there may be replaced.
        inputs: Files that the step reads; none of them is ever replaced.
        suffixes: What the name may end in, such as ".onnx"; without any, the name is free.

    Raises:
        OutputError: The folder is missing or not writable, the path is a directory, a device or
            one of the inputs, its suffix is another one, or a file is there already and
            ``force`` is False.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"'{path}' is a directory; name a file to write.")
    if suffixes and path.suffix not in suffixes:
        raise OutputError(f"'{path}' must end in {' or '.join(suffixes)}, the format it is in.")
    if not path.parent.is_dir():
        raise OutputError(f"'{path}': the folder '{path.parent}' does not exist; create it first.")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"'{path}': the folder '{path.parent}' is not writable.")
    _refuse_special(path)
    if path.exists() and any(Path(entry).exists() and path.samefile(entry) for entry in inputs):
        raise OutputError(f"'{path}' is what this step reads; name another file to write.")
    if path.exists() and not force:
        raise OutputError(f"'{path}' exists already; add --force to replace it.")
    return path


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` and rename it there when the block succeeds.

    The temporary name keeps the suffix, for writers that look at it. When the block fails, or is
    interrupted, nothing is left behind and an existing file stays as it was.

    Raises:
        OutputError: The file cannot be written (permissions, a full disk).
    """
    path = Path(path)
    if path.is_symlink():  # the link stays, the file that it leads to is replaced
        path = path.resolve()
    _refuse_special(path)
    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}-", suffix=f".part{path.suffix}"
        )
    except OSError as error:
        raise OutputError(f"'{path}' cannot be written: {error.strerror}.") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"'{path}' cannot be written: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole, as UTF-8; see `whole_file` for the errors."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256(path: str | Path) -> str:
    """Return the sha256 of a file as hexadecimal digits.

    That of a folder is the sha256 of the list of its files, each line the sha256 of the file, two
    spaces and its path in the folder, sorted by path.

    Raises:
        DataError: The file cannot be read.
    """
    path = Path(path)
    try:
        if path.is_dir():
            files = sorted(entry for entry in path.rglob("*") if entry.is_file())
            lines = [f"{sha256(entry)}  {entry.relative_to(path).as_posix()}\n" for entry in files]
            return hashlib.sha256("".join(lines).encode()).hexdigest()
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}.") from error


def _refuse_special(path: Path) -> None:
    """Refuse to replace a device, a pipe or a socket: renaming over one would destroy it."""
    if path.exists() and not path.is_file():
        raise OutputError(f"'{path}' is no regular file; name a file to write.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
