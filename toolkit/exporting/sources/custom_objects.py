"""Imports the Python file in which the user keeps the model's own classes. Runs in the child."""

import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any

from toolkit.errors import ModelError

_MODULE = "toolkit_custom_objects"


def load(path: Path | None) -> dict[str, Any]:
    """Return the classes and functions that a Python file defines, by their names.

    The file runs as Python runs it: it may import what lies beside it.

    Raises:
        ModelError: It raised an error.
    """
    if path is None:
        return {}
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(_MODULE, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"'{path}' cannot be imported.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's own code raises
        raise ModelError(
            f"--custom-objects '{path}' raised {type(error).__name__}: {error}"
        ) from error
    return {
        name: value
        for name, value in vars(module).items()
        if (inspect.isclass(value) or inspect.isfunction(value)) and not name.startswith("_")
    }
