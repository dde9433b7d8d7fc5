"""Looks at a model file before anything loads it: its kind, its size, and whether it holds code.

Nothing here imports TensorFlow, and nothing of the file runs.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from toolkit.contract import Contract
from toolkit.errors import ModelError, RecipeError
from toolkit.exporting.sources import keras_archive, onnx_file, saved_model
from toolkit.exporting.sources.source import NAMES, Kind, Source

_HDF5 = b"\x89HDF\r\n\x1a\n"
_READS = "export reads .keras, .h5, .tflite and .onnx files and SavedModel folders."

# What is checked here already. HDF5 is looked into by the child process, which has h5py.
_CHECKS: dict[Kind, Callable[[Source], None]] = {
    "keras": keras_archive.check,
    "saved_model": saved_model.check,
    "onnx": onnx_file.check,
}
_CONTRACTS: dict[Kind, Callable[[Path], Contract | None]] = {
    "keras": keras_archive.read_contract,
    "onnx": onnx_file.read_contract,
}


def open_source(
    path: Path,
    *,
    unsafe_load: bool = False,
    custom_objects: str | Path | None = None,
    signature: str | None = None,
) -> Source:
    """Return what kind of model this is, after checking that it may be opened.

    Args:
        path: The file, or the folder of a SavedModel.
        unsafe_load: Whether Python code in the file may run.
        custom_objects: A Python file with the classes that the model needs.
        signature: Which signature to take.

    Raises:
        ModelError: It cannot be read, is of another kind, is damaged, would expand to an
            unreasonable size, or holds code that may not run.
        RecipeError: An option does not go with this kind, or names no file.
    """
    kind = _kind(path)
    source = Source(
        path=path,
        kind=kind,
        unsafe_load=unsafe_load,
        custom_objects=_python_file(custom_objects, unsafe_load, kind),
        signature=_signature(signature, kind),
    )
    if kind in _CHECKS:
        _CHECKS[kind](source)
    return dataclasses.replace(
        source,
        contract=_CONTRACTS[kind](path) if kind in _CONTRACTS else None,
        opset=onnx_file.opset_of(path) if kind == "onnx" else None,
    )


def _kind(path: Path) -> Kind:
    if path.is_dir():
        return "saved_model"
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
    if start[4:8] == b"TFL3":
        return "tflite"
    if path.suffix == ".onnx":  # a protocol buffer has no signature of its own
        return "onnx"
    if path.name == saved_model.GRAPH:
        raise ModelError(f"'{path}' is the graph of a SavedModel; name its folder '{path.parent}'.")
    raise ModelError(f"'{path}' is no model; {_READS}")


def _python_file(path: str | Path | None, unsafe_load: bool, kind: Kind) -> Path | None:
    if path is None:
        return None
    path = Path(path)
    if not unsafe_load:
        raise RecipeError(
            f"--custom-objects runs the Python code in '{path}'; add --unsafe-load to allow it."
        )
    if kind not in ("keras", "h5"):
        raise RecipeError(
            f"--custom-objects is for Keras files, this is {NAMES[kind]}; leave it out."
        )
    if path.suffix != ".py" or not path.is_file():
        raise RecipeError(f"--custom-objects '{path}' is no Python file; name one that is there.")
    return path


def _signature(name: str | None, kind: Kind) -> str | None:
    if name is not None and kind not in ("saved_model", "tflite"):
        raise RecipeError(
            f"--signature is for SavedModel folders and .tflite files, this is {NAMES[kind]}; "
            "leave it out."
        )
    return name
