"""Small helpers that the graph passes share: constants in and out, nodes replaced."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

# onnx_ir logs a warning when shape inference leaves a value unknown, which is no news to a user.
logging.getLogger("onnx_ir").addHandler(logging.NullHandler())


def infer_shapes(model: ir.Model) -> None:
    """Fill in the dtypes and shapes that follow from the inputs; the rest stays unknown."""
    order = list(model.graph.initializers)
    ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
    # The pass takes large initializers out and puts them back behind the others; equal graphs
    # shall be equal files.
    for name in order:
        model.graph.initializers.add(model.graph.initializers.pop(name))


def repeat(rule: Callable[[], int]) -> int:
    """Apply a rule until it finds nothing more: one rewrite may make room for the next.

    Returns how often it applied, all rounds together.
    """
    total = 0
    while count := rule():
        total += count
    return total


def constant(value: ir.Value | None) -> npt.NDArray[Any] | None:
    """Return the array of an initializer or Constant node, or None for any other value."""
    if value is None:
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None or value.is_graph_input() else tensor.numpy()


def add_initializer(graph: ir.Graph, name: str, array: npt.NDArray[Any]) -> ir.Value:
    """Register an initializer under the name, or under one with a number when it is taken."""
    taken = {
        value.name
        for node in graph.all_nodes()
        for value in (*node.inputs, *node.outputs)
        if value is not None
    }
    taken.update(graph.initializers, (value.name for value in graph.inputs))
    number, unique = 0, name
    while unique in taken:
        number += 1
        unique = f"{name}_{number}"
    tensor = ir.tensor(array, name=unique)
    value = ir.Value(
        name=unique,
        shape=ir.Shape(array.shape),
        type=ir.TensorType(tensor.dtype),
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value


def replace(old: ir.Node, new: ir.Node) -> None:
    """Put a node with one output in the place of another; the output keeps name and shape.

    Nodes and initializers that only the old node used stay behind, for `remove_unused`.
    """
    graph = old.graph
    if graph is None or len(old.outputs) != 1 or len(new.outputs) != 1:
        raise ValueError("only a node with one output, inside a graph, can be replaced")
    before, after = old.outputs[0], new.outputs[0]
    after.shape, after.type = before.shape, before.type
    graph.insert_before(old, new)
    name, before.name = before.name, None
    before.replace_all_uses_with(after, replace_graph_outputs=True)
    after.name = name
    graph.remove(old, safe=True)


def sole_use(value: ir.Value) -> ir.Node | None:
    """Return the one node that reads the value, or None when it is read elsewhere too."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def rank(value: ir.Value | None) -> int | None:
    """Return the number of axes, or None when it is unknown."""
    return None if value is None or value.shape is None else len(value.shape)


def is_float(array: npt.NDArray[Any]) -> bool:
    """Tell whether an array holds floating point numbers."""
    return np.issubdtype(array.dtype, np.floating)
