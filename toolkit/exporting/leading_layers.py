"""Finds the preprocessing that a Keras model does itself, in its first layers.

    Rescaling        y = x * scale + offset
    Normalization    y = (x - mean) / sqrt(variance), inverted y = x * sqrt(variance) + mean

Several in a row are one y = x * scale + offset. Runs in the child process.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.contract import Affine

# What stands before them and does nothing when a model is not trained.
_INERT = ("RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast",
          "RandomBrightness", "GaussianNoise", "Dropout", "Identity")  # fmt: skip
# A layer that divides by less than this does not take pixels of 0 to 255.
_PIXELS = 0.1

Numbers = npt.NDArray[np.float64]


def leading_preprocessing(model: Any) -> list[Affine | None]:
    """Return for each input what the model does to it first, channels last; None for nothing.

    Only what divides as pixels of 0 to 255 need it counts: a layer that scales [0, 1] to [-1, 1]
    shows that its caller divides by 255.
    """
    return [_affine_behind(model, tensor) for tensor in model.inputs]


def _affine_behind(model: Any, tensor: Any) -> Affine | None:
    channels = tensor.shape[-1] if len(tensor.shape) > 1 else None
    scale, offset = np.ones(1), np.zeros(1)
    for layer in _chain(model, tensor):
        step = _step(layer, channels)
        if step is None:
            break
        scale, offset = scale * step[0], offset * step[0] + step[1]
    if (scale == 1).all() or float(np.max(np.abs(scale))) >= _PIXELS:
        return None
    return Affine(_shortest(scale), _shortest(offset))


def _chain(model: Any, tensor: Any) -> Iterator[Any]:
    """Yield the layers that follow on a tensor, as long as each is the only one that reads it."""
    # A Sequential keeps its graph inside; a subclassed model has none.
    graph = getattr(model, "_functional", None) or model
    levels = getattr(graph, "_nodes_by_depth", {})
    nodes = [node for level in levels.values() for node in level]
    while True:
        readers = [node for node in nodes if any(entry is tensor for entry in node.input_tensors)]
        if len(readers) != 1:
            return
        layer = readers[0].operation
        if getattr(layer, "layers", None) and len(getattr(layer, "inputs", None) or ()) == 1:
            yield from _chain(layer, layer.inputs[0])
            return
        if type(layer).__name__ not in _INERT:
            yield layer
        tensor = readers[0].outputs[0]


def _step(layer: Any, channels: int | None) -> tuple[Numbers, Numbers] | None:
    """Return scale and offset of one layer, each of one value or one per channel."""
    kind = type(layer).__name__
    if kind == "Rescaling":
        pair = layer.scale, layer.offset
    elif kind == "Normalization" and getattr(layer, "mean", None) is not None:
        mean = np.asarray(layer.mean, np.float64)
        deviation = np.maximum(np.sqrt(np.asarray(layer.variance, np.float64)), 1e-7)
        pair = (deviation, mean) if layer.invert else (1 / deviation, -mean / deviation)
    else:
        return None
    numbers = [np.asarray(value, np.float64) for value in pair]
    for array in numbers:
        per_channel = array.ndim and array.shape[-1] == channels and array.size == channels
        if array.size != 1 and not per_channel:
            return None
    return numbers[0].ravel(), numbers[1].ravel()


def _shortest(numbers: Numbers) -> tuple[float, ...]:
    """Return one value where all channels have the same."""
    values = tuple(map(float, numbers))
    return values[:1] if len(set(values)) == 1 else values
