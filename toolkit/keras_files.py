"""Reads and writes the parts of a .keras file that need no TensorFlow.

A .keras file is a zip archive of ``config.json`` (the layers), ``metadata.json`` (Keras' version)
and ``model.weights.h5``. The model contract stands in ``metadata.json`` under its own key, which
Keras ignores when it loads the model.
"""

import json
import shutil
import zipfile
import zlib
from pathlib import Path
from typing import Any

from toolkit.contract import KEY, Contract, from_json
from toolkit.errors import ModelError
from toolkit.files import whole_file

CONFIG = "config.json"
METADATA = "metadata.json"

# A small archive can expand to gigabytes; Keras itself reads whatever the archive declares. The
# configs of keras.applications are 0.1 to 2 MB.
CONFIG_LIMIT_BYTES = 64 * 2**20
METADATA_LIMIT_BYTES = 16 * 2**20

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def read_config(path: str | Path) -> dict[str, Any]:
    """Return the serialized layers of a .keras file.

    Raises:
        ModelError: The file is missing, is no .keras file, is damaged or unreasonably large.
    """
    return _read_json(Path(path), CONFIG, CONFIG_LIMIT_BYTES)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Return Keras' version and whatever else stands in the metadata; errors as `read_config`."""
    return _read_json(Path(path), METADATA, METADATA_LIMIT_BYTES)


def read_contract(path: str | Path) -> Contract | None:
    """Return the contract of a .keras file, or None when it carries none.

    Raises:
        ModelError: As `read_config`, or the contract is damaged.
    """
    document = read_metadata(path).get(KEY)
    return None if document is None else from_json(json.dumps(document))


def write_contract(path: str | Path, contract: Contract) -> None:
    """Put a contract into a .keras file; layers and weights stay as they are.

    What differs from one run of Python to the next is dropped, so that equal models are equal
    files: the archive's time stamps, Keras' ``date_saved``, and the memory addresses that it uses
    as numbers of shared objects.

    Raises:
        ModelError: As `read_config`.
        OutputError: The file cannot be written.
    """
    path = Path(path)
    metadata = {
        key: value for key, value in read_metadata(path).items() if key not in ("date_saved", KEY)
    }
    metadata[KEY] = contract.to_dict()
    texts = {
        METADATA: json.dumps(metadata, ensure_ascii=False),
        CONFIG: json.dumps(_numbered(read_config(path), {})),
    }
    with (
        whole_file(path) as temporary,
        zipfile.ZipFile(path) as source,
        zipfile.ZipFile(temporary, "w") as target,
    ):
        for member in source.infolist():
            # A fresh ZipInfo carries the format's earliest date in place of today's.
            entry = zipfile.ZipInfo(member.filename)
            if member.filename in texts:
                target.writestr(entry, texts[member.filename])
                continue
            entry.file_size = member.file_size  # decides whether the entry needs 64-bit sizes
            with source.open(member) as reader, target.open(entry, "w") as writer:
                shutil.copyfileobj(reader, writer, 2**20)


def _numbered(node: Any, numbers: dict[int, int]) -> Any:
    """Return a config whose shared objects are numbered in the order in which they stand."""
    if isinstance(node, list):
        return [_numbered(entry, numbers) for entry in node]
    if not isinstance(node, dict):
        return node
    return {
        key: numbers.setdefault(value, len(numbers) + 1)
        if key == "shared_object_id" and isinstance(value, int)
        else _numbered(value, numbers)
        for key, value in node.items()
    }


def _read_json(path: Path, member: str, limit_bytes: int) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            # The size in the header can lie: read up to the limit and see whether more follows.
            text = file.read(limit_bytes + 1)
    except FileNotFoundError as error:
        raise ModelError(f"'{path}' does not exist.") from error
    except IsADirectoryError as error:
        raise ModelError(f"'{path}' is a directory; name a .keras file.") from error
    except KeyError as error:
        raise ModelError(
            f"'{path}' is a zip archive without '{member}', so no .keras file. "
            "Save the model with model.save('name.keras') in Keras 3."
        ) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelError(_not_keras(path, error)) from error
    except OSError as error:
        raise ModelError(f"'{path}' cannot be read: {error.strerror or error}.") from error
    if len(text) > limit_bytes:
        raise ModelError(
            f"'{path}': '{member}' is larger than {limit_bytes // 2**20} MiB, "
            "more than any model's; the file is not opened."
        )
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"'{path}': '{member}' is damaged ({error}). Save the model again."
        ) from error
    if not isinstance(document, dict):
        raise ModelError(
            f"'{path}': '{member}' holds {type(document).__name__}, not an object. "
            "Save the model again."
        )
    return document


def _not_keras(path: Path, error: Exception) -> str:
    """Say what a file is that is no zip archive."""
    with path.open("rb") as file:
        start = file.read(8)
    if not start:
        return f"'{path}' is empty; save the model again."
    if start == _HDF5_SIGNATURE:
        return (
            f"'{path}' is an HDF5 file; load it in Keras and save it as .keras: "
            "keras.saving.load_model('old.h5').save('new.keras')."
        )
    if start.startswith(b"PK"):
        return f"'{path}' is cut off or damaged ({error}). Copy or save it again."
    return f"'{path}' is no .keras file ({error}). Save the model with model.save('name.keras')."
