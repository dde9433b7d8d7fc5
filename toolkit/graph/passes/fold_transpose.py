"""Moves a transposition before Flatten into the weights of the dense layer behind it.

    MatMul(Reshape(Transpose(x), [-1, K]), W)  ->  MatMul(Reshape(x, [-1, K]), W')

Keras flattens [N, H, W, C], ONNX convolutions give [N, C, H, W], so the converter transposes at
run time. W' is W [K, M] with its rows in the order in which x flattens without that. The batch
axis must stay in front; element-wise nodes with one input may stand between.
"""

import numpy as np
import onnx_ir as ir

from toolkit.graph.editing import add_initializer, constant, infer_shapes, repeat, sole_use
from toolkit.graph.matching import UNARY, integer, is_op, permutation


def fold_transpose(model: ir.Model) -> int:
    """Fold transpositions into weights; return how many."""
    infer_shapes(model)
    return repeat(
        lambda: sum(_fold(node) for node in list(model.graph) if is_op(node, "Transpose"))
    )


def _fold(transpose: ir.Node) -> bool:
    if not is_op(transpose, "Transpose"):
        return False
    source, graph = transpose.inputs[0], transpose.graph
    order_of_axes = permutation(transpose)
    reshape = sole_use(transpose.outputs[0])
    if (
        source is None
        or source.shape is None
        or order_of_axes is None
        or order_of_axes[0] != 0
        or reshape is None
        or reshape.op_type != "Reshape"
        or not isinstance(graph, ir.Graph)
    ):
        return False
    sizes = [size for size in list(source.shape)[1:] if isinstance(size, int)]
    if len(sizes) != len(source.shape) - 1 or not _keeps_batch(reshape, int(np.prod(sizes))):
        return False
    dense = _dense_users(reshape.outputs[0])
    if not dense:
        return False
    # Row i of the old weight belongs to element i of the transposed sample.
    order = np.arange(np.prod(sizes)).reshape(sizes)
    order = order.transpose([axis - 1 for axis in order_of_axes[1:]]).ravel()
    for node in dense:
        weight = node.inputs[1]
        old = constant(weight)
        assert weight is not None  # noqa: S101 - _dense_users saw to it
        assert old is not None  # noqa: S101
        new = np.empty_like(old)
        if integer(node, "transB", 0):
            new[:, order] = old
        else:
            new[order] = old
        node.replace_input_with(1, add_initializer(graph, f"{weight.name}_permuted", new))
    reshape.replace_input_with(0, source)
    graph.remove(transpose, safe=True)
    return True


def _keeps_batch(reshape: ir.Node, features: int) -> bool:
    """Tell whether the target is [batch, features]: [-1, K], [0, K], [N, K], [0, -1] or [N, -1]."""
    target = constant(reshape.inputs[1])
    if target is None or target.shape != (2,):
        return False
    batch, rest = (int(size) for size in target)
    if rest == features:
        return True
    source = reshape.inputs[0]
    known = source.shape[0] if source is not None and source.shape is not None else None
    return rest == -1 and (batch == 0 or batch == known)


def _dense_users(value: ir.Value) -> list[ir.Node]:
    """Return the dense layers that read the value, or nothing when anything else reads it."""
    users: list[ir.Node] = []
    if value.is_graph_output():
        return []
    for node, index in value.uses():
        if is_op(node, *UNARY):
            found = _dense_users(node.outputs[0])
            if not found:
                return []
            users.extend(found)
        elif is_op(node, "MatMul", "Gemm") and index == 0 and _constant_weight(node):
            users.append(node)
        else:
            return []
    return users


def _constant_weight(node: ir.Node) -> bool:
    weight = constant(node.inputs[1])
    return weight is not None and weight.ndim == 2 and not integer(node, "transA", 0)
