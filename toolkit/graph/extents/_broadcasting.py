"""Element by element: extents pass through; broadcasting stretches axes of size 1.

Concat is one of them but for its own axis, which stays whole.
"""

from collections.abc import Sequence

import onnx_ir as ir

from toolkit.graph.extents._rule import Extents, Rule, full
from toolkit.graph.matching import integer


def _elementwise_needed(node: ir.Node, index: int, wished: Extents) -> Extents:
    sizes = full(node.inputs[index])
    aligned = wished[len(wished) - len(sizes) :]
    return tuple(
        size if size == 1 or size is None else wish
        for size, wish in zip(sizes, aligned, strict=True)
    )


def _elementwise_obtained(node: ir.Node, given: Sequence[Extents], wished: Extents) -> Extents:
    del wished
    result = list(full(node.outputs[0]))
    for axis in range(len(result)):
        places = [len(extents) - len(result) + axis for extents in given]
        found = [extents[place] for extents, place in zip(given, places, strict=True) if place >= 0]
        known = [extent for extent in found if extent is not None]
        if result[axis] is not None and len(known) == len(found):
            result[axis] = max(known)
    return tuple(result)


def _unary_needed(node: ir.Node, index: int, wished: Extents) -> Extents:
    return wished if index == 0 else full(node.inputs[index])


def _unary_obtained(node: ir.Node, given: Sequence[Extents], wished: Extents) -> Extents:
    del node, wished
    return given[0]


def _has_equal_rank(node: ir.Node) -> bool:
    return len(full(node.inputs[0])) == len(full(node.outputs[0]))


def _broadcasts(node: ir.Node) -> bool:
    return all(
        value is not None and value.shape is not None and len(value.shape) <= rank
        for rank in (len(full(node.outputs[0])),)
        for value in node.inputs
    )


def _concat_axis(node: ir.Node) -> int:
    return integer(node, "axis", 1) % len(full(node.outputs[0]))


def _concat_needed(node: ir.Node, index: int, wished: Extents) -> Extents:
    axis, sizes = _concat_axis(node), full(node.inputs[index])
    return (*wished[:axis], sizes[axis], *wished[axis + 1 :])


def _concat_obtained(node: ir.Node, given: Sequence[Extents], wished: Extents) -> Extents:
    axis, result = _concat_axis(node), _elementwise_obtained(node, given, wished)
    return (*result[:axis], full(node.outputs[0])[axis], *result[axis + 1 :])


UNARY_RULE = Rule(_has_equal_rank, _unary_needed, _unary_obtained)
BROADCASTING_RULE = Rule(_broadcasts, _elementwise_needed, _elementwise_obtained)
CONCAT_RULE = Rule(_broadcasts, _concat_needed, _concat_obtained)
