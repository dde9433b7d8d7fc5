"""Refuses what cannot be converted, by the name of the Keras layer and with what to use instead.

Two nets in front of the comparison with Keras: layers that are known to have no ONNX form, and
operators that tf2onnx left in the graph.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import onnx
import onnx_ir as ir

from toolkit.errors import ModelError

# Layers that take text, or that ONNX has nothing for, with what to do instead.
_OUTSIDE = {
    "HashedCrossing": "do the crossing before the model",
    "Hashing": "do the hashing before the model",
    "IntegerLookup": "look categories up before the model",
    "StringLookup": "look words up before the model",
    "TextVectorization": "turn text into numbers before the model",
}
# What to use in place of an operator that has no ONNX form, or one for known sizes alone.
_FIXED_SIZE = (
    "give the model's input a fixed height and width, "
    'or use interpolation="bilinear" or "nearest" without antialias'
)
_REMEDIES = {
    "RFFT": "use STFTSpectrogram, which exports, or compute the spectrogram before the model",
    "ResizeArea": _FIXED_SIZE,
    "ResizeBicubic": _FIXED_SIZE,
    "ScaleAndTranslate": _FIXED_SIZE,
}
_OTHERWISE = "build that part from other layers, or do it outside of the model"


def refuse_layers(model: Any, source: str) -> None:
    """Refuse a Keras model with layers that ONNX cannot express.

    Args:
        model: A built Keras model.
        source: What to call its file.

    Raises:
        ModelError: Names the layer and what to use instead.
    """
    for layer in model._flatten_layers(include_self=False):
        name = f"'{source}': the layer '{layer.name}' ({type(layer).__name__})"
        if type(layer).__name__ in _OUTSIDE:
            raise ModelError(f"{name} has no ONNX form; {_OUTSIDE[type(layer).__name__]}.")
        policy = str(getattr(getattr(layer, "dtype_policy", None), "name", ""))
        if "bfloat16" in policy or "float8" in policy:
            raise ModelError(
                f"{name} computes in {policy}, which onnxruntime does not run on the CPU. "
                'Load the model with keras.config.set_dtype_policy("float32") and save it again.'
            )


def layer_classes(model: Any) -> dict[str, str]:
    """Return the class of each layer by its name, nested models included."""
    return {layer.name: type(layer).__name__ for layer in model._flatten_layers(include_self=False)}


def refuse_unknown(model: ir.Model, layers: Mapping[str, str], source: str) -> None:
    """Refuse a converted graph in which TensorFlow operators are left.

    Args:
        model: What tf2onnx made.
        layers: Classes of the Keras layers by name, from `layer_classes`.
        source: What to call the Keras file.

    Raises:
        ModelError: Names the layer, the operator and what to use instead.
    """
    first: ir.Node | None = None
    others: set[str] = set()
    for node in _unknown(model):
        if first is None:
            first = node
        elif node.op_type != first.op_type:
            others.add(node.op_type)
    if first is None:
        return
    also = f" (also: {', '.join(sorted(others))})" if others else ""
    raise ModelError(
        f"'{source}': {_place(first, layers)} needs TensorFlow's operator '{first.op_type}'{also}, "
        f"which ONNX does not have; {_REMEDIES.get(first.op_type, _OTHERWISE)}."
    )


def _unknown(model: ir.Model) -> Iterator[ir.Node]:
    for node in model.graph.all_nodes():
        opset = model.opset_imports.get(node.domain)
        if opset is None or not _is_operator(node.op_type, node.domain, opset):
            yield node


def _is_operator(operator: str, domain: str, opset: int) -> bool:
    try:
        onnx.defs.get_schema(operator, opset, domain)
    except onnx.defs.SchemaError:
        return False
    return True


def _place(node: ir.Node, layers: Mapping[str, str]) -> str:
    """Say where a node comes from: its name is the path of layers, then the operator's own."""
    for part in reversed((node.name or "").split("/")):
        if part in layers:
            return f"the layer '{part}' ({layers[part]})"
    return "an operation outside of its layers"
