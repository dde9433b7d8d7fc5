"""Which operators work in any layout, and what changes in them when their input is transposed.

For v = Transpose(v', order), axis i of v is axis order[i] of v'. A node that computes f(v) is
rewritten to compute f' with f(v) = Transpose(f'(v'), order): axes in attributes and constants are
renamed, constant operands transposed.
"""

import numpy as np
import onnx_ir as ir

from toolkit.graph.editing import add_initializer, constant, rank
from toolkit.graph.matching import BROADCASTING, UNARY, input_at, integer, integers, is_op

Permutation = tuple[int, ...]

# The attribute that names one axis.
_ONE_AXIS = frozenset({"Concat", "Softmax", "LogSoftmax"})
_REDUCTIONS = frozenset(
    {
        "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
        "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
    }
)  # fmt: skip
# Where Pad and Slice take their axes; both have one entry per axis without.
_AXES_INPUT = {"Pad": 3, "Slice": 3}


def invert(order: Permutation) -> Permutation:
    """Return the permutation that undoes another."""
    return tuple(int(axis) for axis in np.argsort(order))


def is_agnostic(node: ir.Node, axes: int) -> bool:
    """Tell whether a node maps tensors with so many axes to one of the same rank in any layout."""
    if node.domain not in ("", "ai.onnx") or len(node.outputs) != 1:
        return False
    first, kind = node.inputs[0] if node.inputs else None, node.op_type
    if rank(node.outputs[0]) != axes or first is None:
        return False
    if kind in UNARY:
        return rank(first) == axes
    if kind in BROADCASTING:
        # Constants of a lower rank get leading axes; a computed scalar is the same in any layout.
        return all(
            value is not None
            and (constant(value) is not None or rank(value) in (0, axes))
            and (rank(value) or 0) <= axes
            for value in node.inputs
        )
    if kind in _ONE_AXIS:
        # Before opset 13 Softmax flattened its input at the axis.
        explicit = kind == "Concat" or _opset(node) >= 13
        return explicit and all(
            rank(value) == axes and constant(value) is None for value in node.inputs
        )
    if kind in _REDUCTIONS:
        return integer(node, "keepdims", 1) != 0 and _reduced(node, axes) is not None
    if kind in ("Pad", "Slice"):
        if rank(first) != axes or len(node.inputs) < 2:  # attributes before opset 10 and 11
            return False
        return all(constant(value) is not None for value in node.inputs[1:] if value is not None)
    return False


def reduces_to_order(node: ir.Node, value: ir.Value, order: Permutation) -> bool:
    """Tell whether a node drops axes of the value so that the others stay in order.

    With order (0, 2, 3, 1), a mean over axes 1 and 2 leaves 0 and 3, which are 0 and 1 of v'.
    """
    if not is_op(node, *_REDUCTIONS) or node.inputs[0] is not value:
        return False
    reduced = _reduced(node, len(order))
    if integer(node, "keepdims", 1) or reduced is None or node.graph is not value.graph:
        return False
    kept = [order[axis] for axis in range(len(order)) if axis not in reduced]
    return kept == sorted(kept)


def relayout(node: ir.Node, graph: ir.Graph, order: Permutation) -> None:
    """Rewrite a node that `is_agnostic` or `reduces_to_order` for the layout of v'."""
    axes, kind = len(order), node.op_type
    if kind in BROADCASTING:
        for index, value in enumerate(node.inputs):
            array = constant(value)
            if array is not None and array.ndim:
                full = array.reshape((1,) * (axes - array.ndim) + array.shape)
                moved = np.ascontiguousarray(full.transpose(invert(order)))
                _set_input(node, index, graph, moved)
    elif kind in _ONE_AXIS:
        default = 1 if kind == "Concat" else -1
        axis = order[integer(node, "axis", default) % axes]
        node.attributes["axis"] = ir.AttrInt64("axis", axis)
    elif kind in _REDUCTIONS:
        renamed = sorted(order[axis] for axis in _reduced(node, axes) or ())
        if constant(input_at(node, 1)) is not None:
            _set_input(node, 1, graph, np.array(renamed, np.int64))
        elif "axes" in node.attributes:
            node.attributes["axes"] = ir.AttrInt64s("axes", renamed)
    elif kind in ("Pad", "Slice"):
        place = _AXES_INPUT[kind]
        given = constant(input_at(node, place))
        named = range(axes) if given is None else [int(axis) % axes for axis in given]
        if given is None and kind == "Pad":  # no axes before opset 18: sort the amounts instead
            pads = constant(node.inputs[1])
            assert pads is not None  # noqa: S101 - is_agnostic saw to it
            back = list(invert(order))
            _set_input(node, 1, graph, pads.reshape(2, axes)[:, back].ravel())
            return
        if given is None:
            starts = constant(node.inputs[1])
            named = range(0 if starts is None else starts.size)
        node.resize_inputs(max(len(node.inputs), place + 1))
        _set_input(node, place, graph, np.array([order[axis] for axis in named], np.int64))


def _reduced(node: ir.Node, axes: int) -> tuple[int, ...] | None:
    """Return the axes that a reduction takes, or None when they are not known."""
    if rank(node.inputs[0]) != axes:
        return None
    if input_at(node, 1) is not None:
        array = constant(node.inputs[1])
        given = None if array is None else tuple(int(axis) for axis in array.ravel())
        if given is None:
            return None
    else:
        given = integers(node, "axes")
    if not given:
        return () if integer(node, "noop_with_empty_axes", 0) else tuple(range(axes))
    return tuple(axis % axes for axis in given)


def _set_input(node: ir.Node, index: int, graph: ir.Graph, array: np.ndarray) -> None:
    old = node.inputs[index]
    base = f"{node.outputs[0].name}_axes" if old is None else str(old.name)
    name = f"{base.removesuffix('_moved')}_moved"
    node.replace_input_with(index, add_initializer(graph, name, array))


def _opset(node: ir.Node) -> int:
    graph = node.graph
    return 0 if graph is None else graph.opset_imports.get("", 0)
