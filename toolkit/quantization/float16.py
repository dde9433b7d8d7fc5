"""Turns a float32 graph into a float16 one, for GPUs, by onnxruntime's converter.

Weights and activations become float16; float32 inputs and outputs keep their type behind a Cast,
unless they shall become float16, too. What float16 cannot hold stays in float32: a node that reads
or gives values beyond half of float16's largest number, 65504, as measured on the calibration and
validation samples (half, so that other samples have room), and operators that know no float16.

Ranges decide, for a CPU would not show an overflow: onnxruntime computes most of a float16 graph
in float32 there, and leaves out the conversions between.
"""

from collections.abc import Collection, Mapping

import numpy as np
import onnx
import onnx_ir as ir

from toolkit.graph.editing import constant
from toolkit.quantization.ranges import Range
from toolkit.quantization.rewriting import finished, quiet
from toolkit.runtime.session import import_onnxruntime

LARGEST = float(np.finfo(np.float16).max) / 2


def float_tensors(model: ir.Model) -> list[str]:
    """Return the names of the float32 activations of a graph."""
    return [
        str(value.name)
        for node in model.graph
        for value in node.outputs
        if value.name and value.dtype == ir.DataType.FLOAT and not value.is_graph_output()
    ]


def overflowing(model: ir.Model, ranges: Mapping[str, Range]) -> dict[str, str]:
    """Return the nodes whose values float16 cannot hold, with the reason in words."""
    found = {}
    for node in model.graph:
        largest = max(_magnitude(value, ranges) for value in (*node.inputs, *node.outputs))
        if largest > LARGEST:
            found[str(node.name)] = f"values up to {largest:.3g}, too large for float16"
    return found


def _magnitude(value: ir.Value | None, ranges: Mapping[str, Range]) -> float:
    array = constant(value)
    if array is not None and array.dtype == np.float32 and array.size:
        return float(np.abs(array).max())
    low, high = ranges.get(str(value.name), (0.0, 0.0)) if value is not None else (0.0, 0.0)
    return max(-low, high)


def to_float16(
    model: ir.Model, float32: Collection[str], *, keep_ends: bool = True
) -> onnx.ModelProto:
    """Return the model in float16.

    Args:
        model: The float32 model, with its types inferred; left unchanged.
        float32: Names of nodes that stay in float32.
        keep_ends: Whether float32 inputs and outputs stay float32.
    """
    import_onnxruntime()
    with quiet():
        from onnxruntime.transformers.float16 import (
            DEFAULT_OP_BLOCK_LIST,
            convert_float_to_float16,
        )

        converted = convert_float_to_float16(
            ir.to_proto(model),
            keep_io_types=keep_ends,
            disable_shape_infer=True,
            op_block_list=DEFAULT_OP_BLOCK_LIST,
            node_block_list=list(float32),
        )
    _drop_repeated(converted)
    _join_float32(converted)
    return finished(converted)


def _join_float32(model: onnx.ModelProto) -> None:
    """Let a float32 node read the float32 result of another, not what float16 made of it.

    The converter hands every result on in float16; between two nodes that stay in float32 it
    would overflow all the same.
    """
    narrowed = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type == "Cast" and node.name.endswith("_cast_to_fp16_node")
    }
    widened = {
        node.output[0]: narrowed[node.input[0]]
        for node in model.graph.node
        if node.op_type == "Cast"
        and node.name.endswith("_cast_to_fp32_node")
        and node.input[0] in narrowed
    }
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name in widened:
                node.input[index] = widened[name]


def _drop_repeated(model: onnx.ModelProto) -> None:
    """Drop the Casts that the converter writes once more for every float32 reader of a tensor."""
    seen: set[str] = set()
    for node in list(model.graph.node):
        if node.op_type == "Cast" and node.output[0] in seen:
            model.graph.node.remove(node)
        seen.update(node.output)
