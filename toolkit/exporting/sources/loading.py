"""Loads a source of any kind. Runs in the child process."""

from collections.abc import Callable

from toolkit.errors import MissingPackageError, ModelError
from toolkit.exporting.sources import (
    hdf5,
    keras2,
    keras3,
    keras_archive,
    onnx_file,
    saved_model,
    tflite,
)
from toolkit.exporting.sources.model import SourceModel
from toolkit.exporting.sources.source import Kind, Source


def load(source: Source) -> SourceModel:
    """Load a model.

    Raises:
        ModelError: It cannot be loaded.
        MissingPackageError: It needs a package that is not installed.
    """
    return LOADERS[source.kind](source)


def _archive(source: Source) -> SourceModel:
    """Keras 3 refuses every .keras file that Keras 2 wrote."""
    version = keras_archive.written_by(source.path)
    return keras2.load(source, version) if version.startswith("2.") else keras3.load(source)


def _hdf5(source: Source) -> SourceModel:
    """Keras 3 loads most HDF5 files that Keras 2 wrote; tf_keras is for the others."""
    version = hdf5.check(source)
    try:
        return keras3.load(source)
    except ModelError as error:
        if not version.startswith("2."):
            raise
        try:
            return keras2.load(source, version)
        except MissingPackageError as missing:
            raise MissingPackageError(f"{missing} (Keras 3 says: {error})") from error


LOADERS: dict[Kind, Callable[[Source], SourceModel]] = {
    "keras": _archive,
    "h5": _hdf5,
    "saved_model": saved_model.load,
    "tflite": tflite.load,
    "onnx": onnx_file.load,
}
