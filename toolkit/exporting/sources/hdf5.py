"""HDF5 files of Keras: the serialized model stands in an attribute. Looked into by the child."""

import json
from pathlib import Path
from typing import Any

from toolkit.errors import ModelError
from toolkit.exporting.sources.keras_code import refuse_code
from toolkit.exporting.sources.model import first_line
from toolkit.exporting.sources.source import Source


def check(source: Source) -> None:
    """Check that an HDF5 file may be loaded.

    Raises:
        ModelError: It is damaged, holds weights alone, or code that may not run.
    """
    config = read_config(source.path)
    if not source.unsafe_load:
        refuse_code(config, str(source.path))


def read_config(path: Path) -> dict[str, Any]:
    """Return the serialized model of an HDF5 file."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
    except (OSError, KeyError, RuntimeError) as error:
        raise ModelError(f"'{path}' is damaged: {first_line(error)}") from error
    if text is None:
        raise ModelError(
            f"'{path}' holds weights but no model; save the whole model with model.save()."
        )
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"'{path}': the model's description is damaged ({error}).") from error
    if not isinstance(config, dict):
        raise ModelError(f"'{path}': the model's description is damaged.")
    return config
