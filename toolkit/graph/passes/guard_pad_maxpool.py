"""Keeps onnxruntime from folding zero padding into a maximum pooling, which changes the result.

    MaxPool(Pad(x, 0))  ->  MaxPool(Pad(x, tiny))

Pad writes 0 at the border, MaxPool pads with minus infinity: where all values of a window are
negative the results differ. onnxruntime 1.20 to 1.31 fold them all the same (the optimizer
Pad_Fusion, https://github.com/microsoft/onnxruntime/pull/18136; bench/runtime_ceilings.py shows
it), and so does onnxoptimizer (https://github.com/onnx/optimizer/pull/318). They look for a pad
value of exactly 0; the smallest positive one that is left alone is 0 to every later computation.
ResNet50V2 is 9e-3 off without this.
"""

import numpy as np
import onnx_ir as ir

from toolkit.graph.editing import add_initializer, constant, infer_shapes, is_float

# 1e-30 is a normal float32; float16 has nothing below its smallest subnormal, 6e-8.
_TINY = {np.dtype(np.float64): 1e-30, np.dtype(np.float32): 1e-30, np.dtype(np.float16): 6e-8}


def guard_pad_maxpool(model: ir.Model) -> int:
    """Give zero padding before maximum pooling a tiny value; return how many."""
    infer_shapes(model)
    count = 0
    for node in list(model.graph.all_nodes()):
        if node.op_type != "Pad" or node.domain != "" or not isinstance(node.graph, ir.Graph):
            continue
        if not _pads_with_zero(node) or not _feeds_pooling(node.outputs[0]):
            continue
        dtype = node.outputs[0].dtype
        tiny = None if dtype is None else _TINY.get(np.dtype(dtype.numpy()))
        if tiny is None or dtype is None:
            continue
        value = add_initializer(
            node.graph, f"{node.outputs[0].name}_tiny", np.array(tiny, dtype.numpy())
        )
        node.resize_inputs(max(3, len(node.inputs)))
        node.replace_input_with(2, value)
        count += 1
    return count


def _pads_with_zero(pad: ir.Node) -> bool:
    if "mode" in pad.attributes and pad.attributes["mode"].as_string() != "constant":
        return False
    if len(pad.inputs) < 2:  # before opset 11 the padding was an attribute
        return False
    given = pad.inputs[2] if len(pad.inputs) > 2 else None
    if given is None:
        return True
    array = constant(given)
    return array is not None and is_float(array) and not array.any()


def _feeds_pooling(value: ir.Value) -> bool:
    """Tell whether a maximum pooling reads the value, past transpositions that may be moved."""
    return any(
        user.op_type == "MaxPool"
        or (user.op_type in ("Transpose", "Identity") and _feeds_pooling(user.outputs[0]))
        for user in value.consumers()
    )
