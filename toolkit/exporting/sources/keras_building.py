"""Gives models of the user's own class the inputs that they were saved with.

A subclassed model has no symbolic inputs. What Keras stores of one is the shape that it was built
with; called on inputs of that shape, it becomes a part of a functional model around it.
"""

from typing import Any


def functional(model: Any) -> Any:
    """Return a model with inputs and outputs; one that has them already is returned as it is.

    Raises:
        ValueError: It was saved before it was ever called, so that nothing tells its inputs.
    """
    import keras

    if getattr(model, "inputs", None) and getattr(model, "outputs", None):
        return model
    config = model.get_build_config() or {}
    shapes = config.get("shapes_dict")
    if isinstance(shapes, dict) and shapes:  # a call with several arguments
        names = [name.removesuffix("_shape") for name in shapes]
        inputs = {
            name: _inputs(shape, name) for name, shape in zip(names, shapes.values(), strict=True)
        }
        return keras.Model(inputs, model(**inputs), name=model.name)
    if not config.get("input_shape"):
        raise ValueError("the model was never built: call it on data once before saving it")
    inputs = _inputs(config["input_shape"], "input")
    try:
        return keras.Model(inputs, model(inputs), name=model.name)
    except TypeError as error:
        # What call() takes beside the first argument is not stored with its shape.
        raise ValueError(
            f"its call() does not take the inputs that it was saved with alone ({error}); give it "
            "one list or dictionary of inputs, or save a functional model around it"
        ) from error


def _inputs(shape: Any, name: str) -> Any:
    """Return symbolic inputs for a shape, or for a dictionary or list of shapes."""
    import keras

    if isinstance(shape, dict):
        return {key: _inputs(entry, str(key)) for key, entry in shape.items()}
    if shape and isinstance(shape[0], list | tuple | dict):
        return [_inputs(entry, f"{name}_{index}") for index, entry in enumerate(shape)]
    # The size of the batch that it was called with says nothing about others.
    return keras.Input(tuple(shape[1:]), name=name)
