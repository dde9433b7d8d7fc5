"""Multiplies tensors of any rank by a weight without reshaping them.

    Reshape(MatMul(Reshape(x, [-1, K]), W), [..., M])          ->  MatMul(x, W)
    Reshape(Add(MatMul(Reshape(x, [-1, K]), W), b), [..., M])  ->  Add(MatMul(x, W), b)

for x [..., K] and a target shape that is x's own but for the last axis, whether it stands there as
a constant or is computed at run time. ONNX's MatMul treats leading axes as a batch, as numpy's
does; Keras' Dense on more than two axes becomes TensorFlow's Tensordot, which does not. The nodes
that computed the target are then unused.
"""

import onnx_ir as ir

from toolkit.graph.editing import constant, infer_shapes, rank, repeat
from toolkit.graph.matching import (
    bypass,
    constant_operand,
    follower,
    integer,
    is_op,
    producer,
    remove_dead,
)
from toolkit.graph.shape_values import Entries, entries, sizes


def unwrap_dense(model: ir.Model) -> int:
    """Remove the reshaping around products; return around how many."""
    return repeat(lambda: _unwrap_all(model))


def _unwrap_all(model: ir.Model) -> int:
    infer_shapes(model)
    count = sum(_unwrap(node) for node in list(model.graph))
    if count:
        remove_dead(model.graph)
    return count


def _unwrap(last: ir.Node) -> bool:
    if not is_op(last, "Reshape"):
        return False
    result = last.inputs[0]
    addition = producer(result, "Add")
    if addition is not None:
        operands = constant_operand(addition)
        # [M] adds to the last axis whatever the rank; [1, M] would too, but [N, 1] would not.
        if operands is None or operands[1].ndim > 1 or follower(addition.outputs[0]) is not last:
            return False
        result = operands[0]
    product = producer(result, "MatMul")
    first = None if product is None else producer(product.inputs[0], "Reshape")
    if product is None or first is None or follower(first.outputs[0]) is not product:
        return False
    if follower(product.outputs[0]) is not (addition or last):
        return False
    source, before, after = first.inputs[0], sizes(first.inputs[0]), sizes(product.inputs[1])
    if source is None or before is None or after is None or len(before) < 3 or len(after) != 2:
        return False
    if not _joins_leading(first, before) or not _splits_again(last, (*before[:-1], after[1])):
        return False
    columns = last.outputs[0].shape
    product.replace_input_with(0, source)
    for node in (product, addition):
        if node is not None:  # of rank 2 until now
            node.outputs[0].shape = columns
    return bypass(last, (addition or product).outputs[0])


def _joins_leading(reshape: ir.Node, shape: Entries) -> bool:
    """Tell whether the target is [-1, K], or [N, K] with the product of all other sizes."""
    target = constant(reshape.inputs[1])
    return target is not None and target.shape == (2,) and int(target[1]) == shape[-1]


def _splits_again(reshape: ir.Node, wanted: Entries) -> bool:
    """Tell whether the target is the wanted shape; at most one size may be left to -1."""
    target = entries(reshape.inputs[1])
    if target is None or len(target) != len(wanted) or integer(reshape, "allowzero", 0):
        return False
    other = [
        found
        for found, size in zip(target, wanted, strict=True)
        if found is None or size is None or found != size
    ]
    return other in ([], [-1]) and rank(reshape.inputs[0]) == 2
