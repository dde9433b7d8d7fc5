"""Transpose, and Reshape that adds or drops axes of size 1: axes change their places."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from toolkit.graph.editing import constant
from toolkit.graph.extents._rule import Extents, Rule, full, set_input
from toolkit.graph.matching import permutation


def _source_axes(node: ir.Node) -> list[int | None] | None:
    """Return for each output axis the input axis that it is, None for an added one of size 1."""
    if node.op_type == "Transpose":
        order = permutation(node)
        return None if order is None else list(order)
    before, after = full(node.inputs[0]), full(node.outputs[0])
    sources = [axis for axis, size in enumerate(before) if size != 1]
    targets = [axis for axis, size in enumerate(after) if size != 1]
    same = [before[axis] for axis in sources] == [after[axis] for axis in targets]
    if not same or before.count(None) > 1 or 0 in before:
        return None
    return [sources[targets.index(axis)] if axis in targets else None for axis in range(len(after))]


def _moves_axes(node: ir.Node) -> bool:
    if not full(node.inputs[0]) or _source_axes(node) is None:
        return False
    return node.op_type == "Transpose" or constant(node.inputs[1]) is not None


def _moved_needed(node: ir.Node, index: int, wished: Extents) -> Extents:
    result = list(full(node.inputs[index]))
    if index == 0:
        for place, axis in enumerate(_source_axes(node) or ()):
            if axis is not None:
                result[axis] = wished[place]
    return tuple(result)


def _moved_obtained(node: ir.Node, given: Sequence[Extents], wished: Extents) -> Extents:
    del wished
    return tuple(1 if axis is None else given[0][axis] for axis in _source_axes(node) or ())


def _trim_reshape(node: ir.Node, graph: ir.Graph, given: Extents, result: Extents) -> None:
    del given
    if node.op_type == "Reshape":
        old = constant(node.inputs[1])
        assert old is not None  # noqa: S101 - _moves_axes saw to it
        target = [
            int(entry) if extent is None else extent
            for entry, extent in zip(old, result, strict=True)
        ]
        set_input(node, 1, graph, np.array(target, np.int64))


MOVING_RULE = Rule(_moves_axes, _moved_needed, _moved_obtained, _trim_reshape)
