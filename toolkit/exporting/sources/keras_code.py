"""Finds the Python code that a serialized Keras model needs, before Keras loads it.

Loading a Keras file can run code that stands in it (Lambda layers) or import classes that it
names; such files are refused by the name of the layer, and Keras' own safe mode stays on behind
this.
"""

from collections.abc import Iterator
from typing import Any

from toolkit.errors import ModelError

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
