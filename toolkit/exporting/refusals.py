"""Refuses graphs with operators that ONNX does not have, by the name of the Keras layer."""

from collections.abc import Iterator

import onnx
import onnx_ir as ir

from toolkit.errors import ModelError

# What to use in place of a layer whose operator has no ONNX form.
_REMEDIES = {
    "ScaleAndTranslate": 'resize with interpolation="bilinear", "nearest" or "bicubic", and '
    "without antialias",
    "Bucketize": "do the discretization before the model",
    "StringToHashBucketFast": "do the hashing before the model",
    "LookupTableFindV2": "look words and categories up before the model",
    "SparseCross": "do the crossing before the model",
    "RFFT": "use STFTSpectrogram, which exports, or compute the spectrogram before the model",
    "Bitcast": "take the arg-max of integers, or outside of the model",
}
_OTHERWISE = "build that part from other layers, or do it outside of the model"


def refuse_unknown(model: ir.Model, source: str) -> None:
    """Refuse a converted graph in which TensorFlow operators are left.

    Args:
        model: What tf2onnx made.
        source: What to call the Keras file.

    Raises:
        ModelError: Names the layer, the operator and what to use instead.
    """
    unknown = {node.op_type: node for node in reversed(list(_unknown(model)))}
    if not unknown:
        return
    operator, node = next(reversed(unknown.items()))
    others = sorted(set(unknown) - {operator})
    also = f" (also: {', '.join(others)})" if others else ""
    raise ModelError(
        f"'{source}': the layer '{_layer(node)}' needs TensorFlow's operator '{operator}'{also}, "
        f"which ONNX does not have; {_REMEDIES.get(operator, _OTHERWISE)}."
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


def _layer(node: ir.Node) -> str:
    """Return the path of the Keras layer: a node's name without its last part."""
    return (node.name or "").rpartition("/")[0] or str(node.name)
