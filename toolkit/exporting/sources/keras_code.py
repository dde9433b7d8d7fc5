"""Finds the Python code that a serialized Keras model needs, before Keras loads it.

Loading a Keras file can run code that stands in it (Lambda layers) or import classes that it
names; such files are refused by the name of the layer, and Keras' own safe mode stays on behind
this.
"""

from collections.abc import Iterator
from typing import Any

from toolkit.errors import ModelError

# Layers that run code which stands in the file or in a file that it names.
_CODE = {
    "Lambda": "holds Python code (a Lambda layer or function)",
    "__lambda__": "holds Python code (a Lambda layer or function)",
    "TFSMLayer": "runs a SavedModel from another folder (TFSMLayer)",
    "TorchModuleWrapper": "holds a pickled PyTorch module (TorchModuleWrapper)",
    "JaxLayer": "holds JAX code (JaxLayer)",
    "FlaxLayer": "holds JAX code (FlaxLayer)",
    "TensorFlowOpLayer": "runs any TensorFlow operator by its name (TensorFlowOpLayer)",
}
# Modules of Keras that are no parts of models: download, unpack, read and write files.
_NO_PARTS = ("keras.utils", "keras.saving", "keras.src.utils", "keras.src.saving", "keras.export")
# Keras 2 stores calls of TensorFlow's functions by name. These are arithmetic; others write files
# or call Python.
_ARITHMETIC = {
    "__operators__", "bitwise", "dtypes", "image", "linalg", "math", "nn", "random", "ragged",
    "signal", "sparse", "strings", "keras.backend", "keras.activations",
}  # fmt: skip
_NOT_ARITHMETIC = {
    "function", "import_graph_def", "load_library", "load_op_library", "numpy_function", "print",
    "py_function",
}  # fmt: skip
_REMEDY = "Build the model from Keras' own layers, or allow it with --unsafe-load."
# Packages whose classes Keras itself looks up by name; "builtins" are its functions and tuples.
_KNOWN_PACKAGES = {"keras", "keras_hub", "keras_cv", "keras_nlp", "builtins"}


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
        reason = _CODE.get(name) or _called(name, entry)
        if reason:
            raise ModelError(
                f"'{origin}': the layer '{layer}' {reason}, and code in a model file is not run. "
                f"{_REMEDY}"
            )
        module = entry.get("module")
        module = module.removeprefix("tf_") if isinstance(module, str) else module  # Keras 2
        package = module.split(".")[0] if isinstance(module, str) else "keras"
        if (
            package not in _KNOWN_PACKAGES
            or ("module" in entry and module is None)
            or f"{module}.".startswith(tuple(f"{part}." for part in _NO_PARTS))
        ):
            raise ModelError(
                f"'{origin}': the layer '{layer}' uses '{name}', which is not part of Keras; "
                "classes of your own are imported with --unsafe-load --custom-objects FILE.py, the "
                "file that defines them."
            )


def _called(name: str, entry: dict[str, Any]) -> str | None:
    """Say which function of TensorFlow a layer of Keras 2 calls that is not arithmetic."""
    if name != "TFOpLambda":
        return None
    settings = entry.get("config")
    function = str(settings.get("function", "") if isinstance(settings, dict) else "")
    short = function.removeprefix("compat.v1.")
    group = short.rpartition(".")[0]
    allowed = short not in _NOT_ARITHMETIC if not group else _is_arithmetic(group)
    return None if allowed else f"calls TensorFlow's '{function}'"


def _is_arithmetic(group: str) -> bool:
    return group in _ARITHMETIC or group.split(".")[0] in _ARITHMETIC


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
