"""``.keras`` files: a zip archive of the layers, Keras' version and the weights."""

import zipfile
from pathlib import Path, PurePosixPath

from toolkit import keras_files
from toolkit.contract import Contract
from toolkit.errors import ModelError
from toolkit.exporting.sources.keras_code import refuse_code
from toolkit.exporting.sources.source import Source

# An archive may grow this much when unpacked: Keras stores its files uncompressed, people may
# compress them, a bomb expands a thousandfold.
_GROWTH = 100
_GROWTH_FREE_BYTES = 64 * 2**20
_WEIGHTS = "model.weights.h5"


def check(source: Source) -> None:
    """Check that a .keras file may be opened; see `toolkit.exporting.sources.open_source`."""
    config = keras_files.read_config(source.path)
    if not source.unsafe_load:
        refuse_code(config, str(source.path))
    _check_archive(source.path)
    keras_files.read_metadata(source.path)


def read_contract(path: Path) -> Contract | None:
    """Return the contract of a .keras file, or None.

    Raises:
        ModelError: The contract is damaged.
    """
    try:
        return keras_files.read_contract(path)
    except ModelError as error:
        raise ModelError(f"'{path}': {error}") from error


def written_by(path: Path) -> str:
    """Return the version of Keras that wrote the file, or an empty text."""
    return str(keras_files.read_metadata(path).get("keras_version", ""))


def _check_archive(path: Path) -> None:
    """Refuse an archive without weights, with names that lead out of it, or that is a bomb."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    unpacked = sum(member.file_size for member in members)
    packed = path.stat().st_size
    if unpacked > _GROWTH * packed + _GROWTH_FREE_BYTES:
        raise ModelError(
            f"'{path}' would expand to {unpacked / 2**20:,.0f} MiB, far more than its "
            f"{packed / 2**20:,.1f} MiB; it is not opened."
        )
    names = [member.filename for member in members]
    for name in names:
        place = PurePosixPath(name.replace("\\", "/"))
        if place.is_absolute() or ".." in place.parts or ":" in place.parts[0]:
            raise ModelError(
                f"'{path}' holds a file named '{name}', which leads out of the archive; it is not "
                "opened. Save the model again with model.save('name.keras')."
            )
    if len(set(names)) != len(names):
        raise ModelError(f"'{path}' holds two files of one name; save the model again.")
    if _WEIGHTS not in names:
        raise ModelError(f"'{path}' holds no weights ('{_WEIGHTS}'). Save the model again.")
