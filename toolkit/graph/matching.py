"""Small helpers that recognise patterns: operators, attributes, operands, and detours to remove."""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from toolkit.graph.editing import constant, sole_use

# One input, the same function for every element, whatever the element's place. Clip's bounds are
# scalars.
UNARY = frozenset(
    {
        "Abs", "Cast", "Ceil", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid",
        "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Log", "Mish", "Neg", "Not",
        "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign",
        "Sqrt", "Tanh", "ThresholdedRelu",
    }
)  # fmt: skip

# Several inputs of one shape, or stretched to one by broadcasting.
BROADCASTING = frozenset(
    {
        "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max",
        "Mean", "Min", "Mul", "Or", "Pow", "PRelu", "Sub", "Sum", "Where", "Xor",
    }
)  # fmt: skip


def is_op(node: ir.Node | None, *types: str) -> bool:
    """Tell whether a node is one of ONNX's own operators of these types."""
    return node is not None and node.domain in ("", "ai.onnx") and node.op_type in types


def producer(value: ir.Value | None, *types: str) -> ir.Node | None:
    """Return the node that computes the value, or None when it is not one of these types."""
    node = None if value is None else value.producer()
    return node if is_op(node, *types) else None


def integer(node: ir.Node, name: str, default: int) -> int:
    """Return an integer attribute."""
    return node.attributes[name].as_int() if name in node.attributes else default


def integers(node: ir.Node, name: str) -> tuple[int, ...] | None:
    """Return an attribute with a list of integers, or None when it is not given."""
    return tuple(node.attributes[name].as_ints()) if name in node.attributes else None


def number(node: ir.Node, name: str, default: float) -> float:
    """Return a float attribute."""
    return node.attributes[name].as_float() if name in node.attributes else default


def text(node: ir.Node, name: str, default: str) -> str:
    """Return a string attribute."""
    return node.attributes[name].as_string() if name in node.attributes else default


def input_at(node: ir.Node, index: int) -> ir.Value | None:
    """Return an input, or None when it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def scalar(value: ir.Value | None) -> float | None:
    """Return the number that a constant with one element holds, or None for anything else."""
    array = constant(value)
    return float(array.item()) if array is not None and array.size == 1 else None


def constant_operand(node: ir.Node) -> tuple[ir.Value, npt.NDArray[Any]] | None:
    """Split the inputs of Add or Mul into a computed value and a constant, in either order."""
    for computed, other in (node.inputs, node.inputs[::-1]):
        array = constant(other)
        if array is not None and computed is not None and constant(computed) is None:
            return computed, array
    return None


def permutation(transpose: ir.Node) -> tuple[int, ...] | None:
    """Return the permutation of a Transpose, or None when it is left out and the rank unknown."""
    given = integers(transpose, "perm")
    source = transpose.inputs[0]
    if given is None and source is not None and source.shape is not None:
        return tuple(reversed(range(len(source.shape))))
    return given


def follower(value: ir.Value) -> ir.Node | None:
    """Return the one node that reads the value in its own graph, not in the body of a loop."""
    node = sole_use(value)
    return node if node is not None and node.graph is value.graph else None


def bypass(node: ir.Node, value: ir.Value) -> bool:
    """Let everyone who reads the node's only output read an equal value; remove the node.

    A graph output keeps its name, which the value takes over. Where the value cannot, because it
    is an input, a constant or an output itself or belongs to another graph, nothing changes and
    the result is False.
    """
    old, graph = node.outputs[0], node.graph
    assert graph is not None  # noqa: S101 - passes only see nodes of a graph
    if old.is_graph_output():
        maker = value.producer()
        if maker is None or maker.graph is not graph or value.is_graph_output():
            return False
        value.type, value.shape, name = old.type, old.shape or value.shape, old.name
        old.name = None
        old.replace_all_uses_with(value, replace_graph_outputs=True)
        value.name = name
    else:
        old.replace_all_uses_with(value)
    graph.remove(node, safe=True)
    return True


def remove_dead(graph: ir.Graph) -> None:
    """Remove the nodes that nothing reads, so that later rules do not count them as readers."""
    for node in reversed(list(graph)):
        if not any(value.uses() or value.is_graph_output() for value in node.outputs):
            graph.remove(node, safe=True)


def unused_name(graph: ir.Graph, base: str) -> str:
    """Return the name, or the name with a number, that no value of the graph has."""
    values = [*graph.inputs, *(value for node in graph.all_nodes() for value in node.outputs)]
    taken = {value.name for value in values} | set(graph.initializers)
    numbered = (f"{base}_{number}" if number else base for number in itertools.count())
    return next(name for name in numbered if name not in taken)


def broadcast(array: npt.NDArray[Any], channels: int, rank: int, axis: int) -> bool:
    """Tell whether adding a constant to a tensor treats each of its channels alike.

    True when the constant has one element, or `channels` of them along the axis of a tensor of
    this rank, and leaves the tensor's rank alone.
    """
    if array.ndim > rank:
        return False
    sizes = (1,) * (rank - array.ndim) + array.shape
    return all(
        size == 1 or (place == axis and size == channels) for place, size in enumerate(sizes)
    )


def per_channel(array: npt.NDArray[Any], channels: int) -> npt.NDArray[np.float64]:
    """Return such a constant as float64 [channels]."""
    return np.broadcast_to(array.astype(np.float64).ravel(), (channels,))
