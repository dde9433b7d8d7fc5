"""Writes layer normalization as one operator, from opset 17 on.

    x inv + (-mean inv + beta),  inv = gamma / Sqrt(var + epsilon)  ->  LayerNormalization(x)

with mean and var over the last axes of x, the thirteen nodes that Keras' layer becomes. gamma and
beta may be missing; their sizes are those of the normalized axes. GlobalAveragePool takes the
mean over all axes but the first two, ReduceMean over those it names. onnxruntime's operator is
also more exact than the nodes: it centres x before it multiplies.

Left alone: other axes (the operator knows only the last ones), parts that are not constant, and
intermediate results that are read elsewhere. Source: Ba, Kiros and Hinton, "Layer Normalization",
arXiv:1607.06450.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from toolkit.graph.editing import add_initializer, constant, infer_shapes, replace
from toolkit.graph.matching import (
    constant_operand,
    input_at,
    integer,
    integers,
    is_op,
    producer,
    remove_dead,
    scalar,
)


def fuse_layer_norm(model: ir.Model) -> int:
    """Fuse layer normalizations; return how many."""
    if model.graph.opset_imports.get("", 0) < 17:
        return 0
    infer_shapes(model)
    count = sum(_fuse(node) for node in list(model.graph))
    remove_dead(model.graph)
    return count


class _Match:
    """What is learnt while the nodes are followed from the result to x."""

    def __init__(self) -> None:
        self.nodes: set[ir.Node] = set()

    def take(self, value: ir.Value | None, *types: str) -> ir.Node | None:
        """Note and return the node that computes the value."""
        node = producer(value, *types)
        if node is not None:
            self.nodes.add(node)
        return node

    def is_read_only_by(self, last: ir.Node) -> bool:
        """Tell whether nothing but the pattern and its last node needs the nodes."""
        values = [value for node in self.nodes for value in node.outputs]
        users = {use.node for value in values for use in value.uses()}
        return users <= {*self.nodes, last} and not any(value.is_graph_output() for value in values)


def _fuse(last: ir.Node) -> bool:
    graph = last.graph
    if not is_op(last, "Add") or not isinstance(graph, ir.Graph):
        return False
    left, right = last.inputs
    for scaled, shifted in ((left, right), (right, left)):
        for place in (0, 1):
            match = _Match()
            product = match.take(scaled, "Mul")  # x inv
            shift, beta = _shift(match, shifted)  # -mean inv, beta
            if product is None or shift is None:
                continue
            x, factor = product.inputs[place], product.inputs[1 - place]
            found = _inverse(match, factor, x)
            if x is None or found is None or not _is_shift(match, shift, factor, found.mean):
                continue
            if match.is_read_only_by(last) and _write(last, graph, x, found, beta):
                return True
    return False


class _Inverse:
    """The factor gamma / sqrt(var + epsilon) and where its parts are."""

    def __init__(
        self, mean: ir.Value, axis: int, epsilon: float, gamma: npt.NDArray[Any] | None
    ) -> None:
        self.mean, self.axis, self.epsilon, self.gamma = mean, axis, epsilon, gamma


def _shift(match: _Match, value: ir.Value | None) -> tuple[ir.Node | None, npt.NDArray[Any] | None]:
    """Return the node that computes ``-mean * inv``, and beta if it is added."""
    addition = match.take(value, "Add")
    if addition is None:
        return match.take(value, "Mul"), None
    operands = constant_operand(addition)
    return (None, None) if operands is None else (match.take(operands[0], "Mul"), operands[1])


def _is_shift(match: _Match, shift: ir.Node, factor: ir.Value | None, mean: ir.Value) -> bool:
    for left, right in (shift.inputs, shift.inputs[::-1]):
        negation = match.take(left, "Neg")
        if negation is not None and negation.inputs[0] is mean and right is factor:
            return True
    return False


def _inverse(match: _Match, factor: ir.Value | None, x: ir.Value | None) -> _Inverse | None:
    product, gamma, root = match.take(factor, "Mul"), None, factor
    if product is not None:
        operands = constant_operand(product)
        if operands is None:
            return None
        root, gamma = operands
    reciprocal = match.take(root, "Reciprocal")
    square_root = match.take(reciprocal.inputs[0], "Sqrt") if reciprocal else None
    addition = match.take(square_root.inputs[0], "Add") if square_root else None
    operands = constant_operand(addition) if addition else None
    epsilon = None if operands is None or operands[1].size != 1 else float(operands[1].item())
    variance = match.take(operands[0], "ReduceMean", "GlobalAveragePool") if operands else None
    squares = match.take(variance.inputs[0], "Mul", "Pow") if variance else None
    if epsilon is None or variance is None or squares is None or squares.inputs[0] is None:
        return None
    twice = squares.inputs[0] is squares.inputs[1] if is_op(squares, "Mul") else False
    if not twice and not (is_op(squares, "Pow") and scalar(squares.inputs[1]) == 2):
        return None
    difference = match.take(squares.inputs[0], "Sub")
    if difference is None or difference.inputs[0] is not x:
        return None
    mean = match.take(difference.inputs[1], "ReduceMean", "GlobalAveragePool")
    if mean is None or mean.inputs[0] is not x:
        return None
    axis = _first_axis(mean)
    if axis is None or axis != _first_axis(variance):
        return None
    return _Inverse(mean.outputs[0], axis, epsilon, gamma)


def _first_axis(node: ir.Node) -> int | None:
    """Return from which axis on the node takes the mean, or None when not over all the last."""
    source = node.inputs[0]
    if source is None or source.shape is None:
        return None
    rank = len(source.shape)
    if is_op(node, "GlobalAveragePool"):
        return 2 if rank > 2 else None
    given = constant(input_at(node, 1))  # an input since opset 18
    axes = integers(node, "axes") if given is None else tuple(int(axis) for axis in given)
    if not axes or not integer(node, "keepdims", 1):
        return None
    positive = sorted(axis % rank for axis in axes)
    return positive[0] if positive == list(range(positive[0], rank)) else None


def _parameter(array: npt.NDArray[Any], sizes: list[int], rank: int) -> npt.NDArray[Any] | None:
    """Return gamma or beta with the sizes of the normalized axes, or None when it does not fit."""
    if array.ndim > rank:
        return None
    full = array.reshape((1,) * (rank - array.ndim) + array.shape)
    lead, own = full.shape[: rank - len(sizes)], full.shape[rank - len(sizes) :]
    if any(size != 1 for size in lead) or any(
        size not in (1, wanted) for size, wanted in zip(own, sizes, strict=True)
    ):
        return None
    return np.array(np.broadcast_to(full.reshape(own), sizes))


def _write(
    last: ir.Node, graph: ir.Graph, x: ir.Value, found: _Inverse, beta: npt.NDArray[Any] | None
) -> bool:
    if x.shape is None or x.dtype is None:
        return False
    rank, name = len(x.shape), last.outputs[0].name
    sizes = [size for size in list(x.shape)[found.axis :] if isinstance(size, int)]
    if len(sizes) != rank - found.axis:
        return False
    gamma = np.ones((), x.dtype.numpy()) if found.gamma is None else found.gamma
    scale = _parameter(gamma, sizes, rank)
    bias = None if beta is None else _parameter(beta, sizes, rank)
    if scale is None or (beta is not None and bias is None):
        return False
    inputs = [x, add_initializer(graph, f"{name}_scale", scale)]
    if bias is not None:
        inputs.append(add_initializer(graph, f"{name}_bias", bias))
    attributes = {"axis": found.axis, "epsilon": found.epsilon}
    replace(last, ir.node("LayerNormalization", inputs, attributes, name=last.name))
    return True
