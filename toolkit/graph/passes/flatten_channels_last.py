"""Flattens what int8 layers give in their own layout.

    Gemm_int8(Reshape(x, [N, C H W]), W)  ->
        Gemm_int8(Reshape(Transpose_int8(x), [N, H W C]), W')

The Transpose goes to NHWC, and the rows of W' stand in that order: the same products, added in
another order. onnxruntime's int8 convolutions and poolings give NHWC; the Transpose cancels with
the one that it would add to get back to NCHW. Behind float layers it would be one node more.
"""

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from toolkit.graph.editing import add_initializer, constant
from toolkit.graph.matching import follower, integer, is_op, unused_name

_TO_NHWC = (0, 2, 3, 1)
_GIVES_NHWC = ("Conv", "MaxPool", "AveragePool")


def flatten_channels_last(model: ir.Model, int8: set[str]) -> int:
    """Let dense layers read NHWC, in place; return how many.

    Args:
        model: The float model, with shapes inferred.
        int8: Names of the nodes that will be quantized; those that are added are added to it.
    """
    reshapes = [node for node in model.graph if is_op(node, "Reshape", "Flatten")]
    return sum(_rewrite(model.graph, node, int8) for node in reshapes)


def _rewrite(graph: ir.Graph, reshape: ir.Node, int8: set[str]) -> bool:
    source, dense = reshape.inputs[0], follower(reshape.outputs[0])
    if source is None or not is_op(dense, "Gemm", "MatMul") or dense is None:
        return False
    sizes = _picture(source, reshape.outputs[0])
    maker = source.producer()
    weight = constant(dense.inputs[1])
    if maker is None or weight is None or sizes is None or weight.ndim != 2:
        return False
    if {maker.name, reshape.name, dense.name} - int8 or dense.inputs[0] is not reshape.outputs[0]:
        return False
    if not _is_nhwc(maker, int8) or integer(dense, "transA", 0):
        return False
    by_row = weight.T if integer(dense, "transB", 0) else weight
    moved = _channels_last(by_row, sizes)
    if integer(dense, "transB", 0):
        moved = np.ascontiguousarray(moved.T)
    name = f"{dense.inputs[1].name}_channels_last"  # type: ignore[union-attr]
    dense.replace_input_with(1, add_initializer(graph, name, moved))
    int8.add(_transpose(graph, source, maker, reshape))
    return True


def _transpose(graph: ir.Graph, source: ir.Value, maker: ir.Node, reshape: ir.Node) -> str:
    """Put a Transpose between a value and its Reshape; return its name."""
    node = ir.node("Transpose", [source], attributes={"perm": _TO_NHWC})
    result = node.outputs[0]
    result.name = unused_name(graph, f"{source.name}_channels_last")
    result.type = source.type
    node.name = f"{result.name}_transpose"
    graph.insert_after(maker, node)
    reshape.replace_input_with(0, result)
    return node.name


def _picture(source: ir.Value, flat: ir.Value) -> tuple[int, int, int] | None:
    """Return C, H and W when a [N, C, H, W] becomes [N, C H W] and the order matters."""
    if source.shape is None or flat.shape is None or len(source.shape) != 4:
        return None
    sizes = [size for size in source.shape[1:] if isinstance(size, int)]
    if len(sizes) != 3 or list(flat.shape[1:]) != [int(np.prod(sizes))]:
        return None
    channels, height, width = sizes
    return (channels, height, width) if channels > 1 and height * width > 1 else None


def _is_nhwc(maker: ir.Node | None, int8: set[str]) -> bool:
    """Tell whether an int8 node gives NHWC, or passes on what one gives."""
    while maker is not None and maker.name in int8 and is_op(maker, "Relu", "Clip"):
        source = maker.inputs[0]
        maker = None if source is None else source.producer()
    return is_op(maker, *_GIVES_NHWC)


def _channels_last(
    weight: npt.NDArray[np.float32], sizes: tuple[int, int, int]
) -> npt.NDArray[np.float32]:
    """Return weights [C H W, M] with their rows in the order H, W, C."""
    moved = weight.reshape(*sizes, -1).transpose(1, 2, 0, 3)
    return np.ascontiguousarray(moved.reshape(weight.shape))
