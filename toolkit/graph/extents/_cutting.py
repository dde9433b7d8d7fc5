"""Slice and Pad: the part that is not wanted is not cut out, or not padded."""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import onnx_ir as ir

from toolkit.graph.editing import constant
from toolkit.graph.extents._rule import Extents, Rule, full, set_input
from toolkit.graph.matching import input_at, text

_ALL = 2**31 - 1  # as the end of a Slice: the whole axis


def _cuts(node: ir.Node) -> dict[int, tuple[int, int, int]] | None:
    """Return by axis (place in the lists, start, end) of a Slice with steps of 1."""
    sizes = full(node.inputs[0])
    starts, ends, axes, steps = (constant(input_at(node, index)) for index in (1, 2, 3, 4))
    if starts is None or ends is None or not sizes:
        return None
    if (axes is None and input_at(node, 3)) or (steps is None and input_at(node, 4)):
        return None
    if steps is not None and (steps != 1).any():
        return None
    cuts = {}
    for place in range(starts.size):
        axis = (place if axes is None else int(axes[place])) % len(sizes)
        size, start, end = sizes[axis], int(starts[place]), int(ends[place])
        if size is not None:
            start, end, _ = slice(start, end).indices(size)
            cuts[axis] = (place, start, end)
        elif start != 0 or end < _ALL:
            return None
    return cuts


def _slice_needed(node: ir.Node, index: int, wished: Extents) -> Extents:
    if index:
        return full(node.inputs[index])
    cuts = _cuts(node) or {}
    return tuple(
        wish if wish is None or axis not in cuts else cuts[axis][1] + wish
        for axis, wish in enumerate(wished)
    )


def _slice_obtained(node: ir.Node, given: Sequence[Extents], wished: Extents) -> Extents:
    cuts = _cuts(node) or {}
    return tuple(
        wish if axis in cuts else extent
        for axis, (extent, wish) in enumerate(zip(given[0], wished, strict=True))
    )


def _trim_slice(node: ir.Node, graph: ir.Graph, given: Extents, result: Extents) -> None:
    del given
    for index in (1, 2):  # both may be given as counted from the end
        old = constant(node.inputs[index])
        assert old is not None  # noqa: S101 - _cuts saw to it
        new = old.copy()
        for axis, (place, start, _) in (_cuts(node) or {}).items():
            new[place] = start + (result[axis] or 0) * (index - 1)
        set_input(node, index, graph, new)


def _pads(node: ir.Node) -> npt.NDArray[Any] | None:
    """Return [2, rank], in front and behind."""
    pads, rank = constant(input_at(node, 1)), len(full(node.inputs[0]))
    if pads is None or pads.size != 2 * rank or (pads < 0).any():
        return None
    if text(node, "mode", "constant") != "constant" or input_at(node, 3) is not None:
        return None
    return pads.reshape(2, rank)


def _pad_needed(node: ir.Node, index: int, wished: Extents) -> Extents:
    sizes, pads = full(node.inputs[index]), _pads(node)
    if index or pads is None:
        return sizes
    return tuple(
        None if size is None or wish is None else min(size, max(1, wish - int(front)))
        for size, wish, front in zip(sizes, wished, pads[0], strict=True)
    )


def _pad_obtained(node: ir.Node, given: Sequence[Extents], wished: Extents) -> Extents:
    pads = _pads(node)
    assert pads is not None  # noqa: S101 - is_known saw to it
    return tuple(
        extent if extent is None or wish is None else max(wish, int(front) + extent)
        for extent, wish, front in zip(given[0], wished, pads[0], strict=True)
    )


def _trim_pad(node: ir.Node, graph: ir.Graph, given: Extents, result: Extents) -> None:
    old = _pads(node)
    assert old is not None  # noqa: S101 - is_known saw to it
    pads = old.copy()
    for axis, (have, wish) in enumerate(zip(given, result, strict=True)):
        if have is not None and wish is not None:
            pads[1, axis] = wish - have - pads[0, axis]
    set_input(node, 1, graph, pads.ravel())


SLICE_RULE = Rule(lambda node: _cuts(node) is not None, _slice_needed, _slice_obtained, _trim_slice)
PAD_RULE = Rule(lambda node: _pads(node) is not None, _pad_needed, _pad_obtained, _trim_pad)
