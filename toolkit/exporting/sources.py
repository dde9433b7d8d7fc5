"""Looks at a source file before TensorFlow does: its kind, its size, and whether it holds code.

Loading a Keras file can run Python code that stands in it (Lambda layers, custom classes); such
files are refused here by the name of the layer, and Keras' own safe mode stays on behind this.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from toolkit import keras_files
from toolkit.contract import Contract
from toolkit.errors import ModelError

Kind = Literal["keras", "h5"]

_HDF5 = b"\x89HDF\r\n\x1a\n"
# An archive may grow this much when unpacked: Keras stores its files uncompressed, people may
# compress them, a bomb expands a thousandfold.
_GROWTH = 100
_GROWTH_FREE_BYTES = 64 * 2**20
# Packages whose classes Keras itself looks up by name; "builtins" are its functions and tuples.
_KNOWN_PACKAGES = {"keras", "keras_hub", "keras_cv", "keras_nlp", "builtins"}
_WEIGHTS = "model.weights.h5"


def check_source(path: Path) -> Kind:
    """Return what kind of model file this is, after checking that it may be opened.

    Raises:
        ModelError: It cannot be read, is of another kind, is damaged, would expand to an
            unreasonable size, was saved by Keras 2, or holds code.
    """
    kind = _kind(path)
    if kind == "keras":
        refuse_code(keras_files.read_config(path), str(path))
        _check_archive(path)
        version = str(keras_files.read_metadata(path).get("keras_version", ""))
        if version.startswith("2."):
            raise ModelError(
                f"'{path}' was saved by Keras {version}; Keras 3 cannot load Keras 2's .keras "
                "files. Load it in Keras 2 and save it as .h5."
            )
    return kind


def read_contract(path: Path, kind: Kind) -> Contract | None:
    """Return the contract of a source file; HDF5 files have none.

    Raises:
        ModelError: The contract is damaged.
    """
    try:
        return keras_files.read_contract(path) if kind == "keras" else None
    except ModelError as error:
        raise ModelError(f"'{path}': {error}") from error


def refuse_code(config: dict[str, Any], origin: str) -> None:
    """Refuse a serialized Keras model that needs Python code which Keras does not have.

    Args:
        config: The serialized model.
        origin: What to call the file.

    Raises:
        ModelError: It has a Lambda layer, a lambda, or a class or function from elsewhere; the
            message names the layer.
    """
    for layer, entry in _objects(config):
        name = str(entry["class_name"])
        if name in ("Lambda", "__lambda__"):
            raise ModelError(
                f"'{origin}': the layer '{layer}' holds Python code (a Lambda layer or function), "
                "and code in a model file is not run. Build the model from Keras' own layers."
            )
        module = entry.get("module")
        package = module.split(".")[0] if isinstance(module, str) else "keras"
        if package not in _KNOWN_PACKAGES or ("module" in entry and module is None):
            raise ModelError(
                f"'{origin}': the layer '{layer}' uses '{name}', which is not part of Keras; "
                "custom classes are not imported. Build the model from Keras' own layers."
            )


def _kind(path: Path) -> Kind:
    if path.is_dir():
        raise ModelError(
            f"'{path}' is a directory; export reads .keras and .h5 files. "
            "Save the model with model.save('name.keras')."
        )
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except FileNotFoundError as error:
        raise ModelError(f"'{path}' does not exist.") from error
    except OSError as error:
        raise ModelError(f"'{path}' cannot be read: {error.strerror}.") from error
    if start.startswith(b"PK"):
        return "keras"
    if start.startswith(_HDF5):
        return "h5"
    if not start:
        raise ModelError(f"'{path}' is empty; save the model again.")
    if path.suffix == ".onnx":
        raise ModelError(
            f"'{path}' is an ONNX file already; quantize, bench and predict take it as it is."
        )
    what = "a TensorFlow Lite file" if start[4:8] == b"TFL3" else "no Keras model"
    raise ModelError(
        f"'{path}' is {what}; export reads .keras and .h5 files. "
        "Save the model with model.save('name.keras')."
    )


def _check_archive(path: Path) -> None:
    """Refuse an archive without weights, or one that expands beyond reason."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    unpacked = sum(member.file_size for member in members)
    packed = path.stat().st_size
    if unpacked > _GROWTH * packed + _GROWTH_FREE_BYTES:
        raise ModelError(
            f"'{path}' would expand to {unpacked / 2**20:,.0f} MiB, far more than its "
            f"{packed / 2**20:,.1f} MiB; it is not opened."
        )
    if _WEIGHTS not in {member.filename for member in members}:
        raise ModelError(f"'{path}' holds no weights ('{_WEIGHTS}'). Save the model again.")


def _objects(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the serialized objects with the name of the layer they belong to.

    The model is loaded without what it was compiled with, so losses and metrics do not count.
    """
    root = {key: value for key, value in config.items() if key != "compile_config"}
    pending: list[tuple[str, Any]] = [(str(root.get("class_name", "model")), root)]
    while pending:
        layer, value = pending.pop()
        if isinstance(value, dict):
            settings = value.get("config")
            if isinstance(settings, dict) and isinstance(settings.get("name"), str):
                layer = settings["name"]
            if "class_name" in value:
                yield layer, value
            pending.extend((layer, entry) for entry in value.values())
        elif isinstance(value, list):
            pending.extend((layer, entry) for entry in value)
