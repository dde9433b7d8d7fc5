"""How much of its inputs an operator reads for the first part of its output.

Everything here is about extents: how many entries, counted from the start, of each axis. For an
operator that `is_known`,

    needed    extents of the output            ->  extents of each input that they depend on
    obtained  extents of the inputs, and wished -> extents of the output that can be had
    trim      rewrites the node so that it gives exactly those

A window of a convolution or pooling with kernel k, stride s, dilation d and p entries of padding
in front reads, for n outputs, (n - 1) s + (k - 1) d + 1 - p entries of its input. When n is less
than all, the padding behind becomes what that leaves over. An extent of None stands for a dynamic
axis, which is never trimmed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from toolkit.graph.editing import add_initializer, constant
from toolkit.graph.matching import (
    BROADCASTING,
    UNARY,
    input_at,
    integer,
    integers,
    permutation,
    text,
)

Extents = tuple[int | None, ...]

_ALL = 2**31 - 1  # as the end of a Slice: the whole axis


def full(value: ir.Value | None) -> Extents:
    """Return the sizes of a tensor's axes; () where the rank is unknown."""
    if value is None or value.shape is None:
        return ()
    return tuple(size if isinstance(size, int) else None for size in value.shape)


def is_known(node: ir.Node) -> bool:
    """Tell whether the node can be trimmed: its type, attributes and constants allow it."""
    if node.domain not in ("", "ai.onnx") or not node.inputs or not full(node.outputs[0]):
        return False
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        return False
    if any(0 in full(value) for value in (node.outputs[0], *node.inputs)):
        return False
    rule = _RULES.get(node.op_type)
    return rule is not None and rule.known(node)


def needed(node: ir.Node, wished: Extents) -> list[Extents]:
    """Return for each input how much of it the wished part of the output depends on."""
    return [
        () if value is None else _RULES[node.op_type].needed(node, index, wished)
        for index, value in enumerate(node.inputs)
    ]


def obtained(node: ir.Node, given: Sequence[Extents], wished: Extents) -> Extents:
    """Return the output's extents when the inputs have the given ones; at least the wished."""
    return _RULES[node.op_type].obtained(node, given, wished)


def trim(node: ir.Node, graph: ir.Graph, given: Extents, result: Extents) -> None:
    """Rewrite attributes and constants for a trimmed first input and a trimmed output."""
    rule = _RULES[node.op_type]
    if rule.trim is not None and (given != full(node.inputs[0]) or result != full(node.outputs[0])):
        rule.trim(node, graph, given, result)


@dataclass(frozen=True)
class _Rule:
    known: Callable[[ir.Node], bool]
    needed: Callable[[ir.Node, int, Extents], Extents]
    obtained: Callable[[ir.Node, Sequence[Extents], Extents], Extents]
    trim: Callable[[ir.Node, ir.Graph, Extents, Extents], None] | None = None


def _always(node: ir.Node) -> bool:
    return bool(full(node.inputs[0]))


# Element-wise nodes; broadcasting stretches axes of size 1, on the left too.


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


# Concat: its own axis stays whole.


def _concat_axis(node: ir.Node) -> int:
    return integer(node, "axis", 1) % len(full(node.outputs[0]))


def _concat_needed(node: ir.Node, index: int, wished: Extents) -> Extents:
    axis, sizes = _concat_axis(node), full(node.inputs[index])
    return (*wished[:axis], sizes[axis], *wished[axis + 1 :])


def _concat_obtained(node: ir.Node, given: Sequence[Extents], wished: Extents) -> Extents:
    axis, result = _concat_axis(node), _elementwise_obtained(node, given, wished)
    return (*result[:axis], full(node.outputs[0])[axis], *result[axis + 1 :])


# Transpose and Reshape: axes change their places.


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
        _set_input(node, 1, graph, np.array(target, np.int64))


# Convolution and pooling: windows over all axes but the first two.


@dataclass(frozen=True)
class _Window:
    reach: int  # (k - 1) d + 1
    stride: int
    before: int
    after: int
    rounds_up: bool

    def reads(self, outputs: int) -> int:
        """Return how many entries so many outputs depend on, padding behind included."""
        return max(1, (outputs - 1) * self.stride + self.reach - self.before)

    def outputs(self, inputs: int) -> int | None:
        """Return how many outputs there are without padding behind; None if one hangs over."""
        steps, rest = divmod(inputs + self.before - self.reach, self.stride)
        return None if rest and self.rounds_up else steps + 1


def _windows(node: ir.Node) -> list[_Window] | None:
    axes = len(full(node.inputs[0])) - 2
    weight = input_at(node, 1)
    kernel = integers(node, "kernel_shape") or (
        () if weight is None or weight.shape is None else full(weight)[2:]
    )
    if axes < 1 or len(kernel) != axes:
        return None
    strides = integers(node, "strides") or (1,) * axes
    dilations = integers(node, "dilations") or (1,) * axes
    pads = integers(node, "pads") or (0,) * (2 * axes)
    if text(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    return [
        _Window(
            (size - 1) * dilations[axis] + 1,
            strides[axis],
            pads[axis],
            pads[axes + axis],
            integer(node, "ceil_mode", 0) != 0,
        )
        for axis, size in enumerate(kernel)
        if size is not None
    ]


def _has_windows(node: ir.Node) -> bool:
    windows = _windows(node)
    return windows is not None and len(windows) == len(full(node.inputs[0])) - 2


def _window_needed(node: ir.Node, index: int, wished: Extents) -> Extents:
    sizes = full(node.inputs[index])
    if index:
        return sizes
    channels = sizes[1] if node.op_type == "Conv" else wished[1]
    return (
        wished[0],
        channels,
        *(
            None if size is None or wish is None else min(size, window.reads(wish))
            for size, wish, window in zip(sizes[2:], wished[2:], _windows(node) or (), strict=True)
        ),
    )


def _window_obtained(node: ir.Node, given: Sequence[Extents], wished: Extents) -> Extents:
    sizes, whole = full(node.inputs[0]), full(node.outputs[0])
    result = [given[0][0], whole[1] if node.op_type == "Conv" else given[0][1]]
    for axis, window in enumerate(_windows(node) or (), 2):
        size, have, all_of_it, wish = sizes[axis], given[0][axis], whole[axis], wished[axis]
        if size is None or have is None or all_of_it is None or wish is None:
            result.append(all_of_it)
            continue
        found: int | None = all_of_it
        if have < size:
            found = window.outputs(have)
        elif wish < all_of_it and window.reads(wish) <= size + window.after:
            found = wish if window.reads(wish) >= size else window.outputs(size)
        result.append(all_of_it if found is None else found)
    return tuple(result)


def _trim_window(node: ir.Node, graph: ir.Graph, given: Extents, result: Extents) -> None:
    del graph
    windows, sizes, whole = _windows(node) or [], full(node.inputs[0]), full(node.outputs[0])
    after = [window.after for window in windows]
    for axis, window in enumerate(windows, 2):
        have, wish = given[axis], result[axis]
        if have is not None and wish is not None and (have, wish) != (sizes[axis], whole[axis]):
            after[axis - 2] = max(0, window.reads(wish) - have)
    pads = [window.before for window in windows] + after
    node.attributes.pop("auto_pad", None)
    node.attributes["pads"] = ir.AttrInt64s("pads", pads)


# Slice and Pad: the part that is not wanted is not cut out, or not padded.


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
        _set_input(node, index, graph, new)


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
    _set_input(node, 1, graph, pads.ravel())


def _set_input(node: ir.Node, index: int, graph: ir.Graph, array: npt.NDArray[Any]) -> None:
    name = f"{str(node.outputs[0].name).removesuffix('_trimmed')}_{node.op_type.lower()}_trimmed"
    node.replace_input_with(index, add_initializer(graph, name, array))


_RULES = (
    dict.fromkeys(UNARY, _Rule(_has_equal_rank, _unary_needed, _unary_obtained))
    | dict.fromkeys(BROADCASTING, _Rule(_broadcasts, _elementwise_needed, _elementwise_obtained))
    | dict.fromkeys(
        ("Conv", "MaxPool", "AveragePool"),
        _Rule(_has_windows, _window_needed, _window_obtained, _trim_window),
    )
    | dict.fromkeys(
        ("Transpose", "Reshape"),
        _Rule(_moves_axes, _moved_needed, _moved_obtained, _trim_reshape),
    )
    | {
        "Concat": _Rule(_broadcasts, _concat_needed, _concat_obtained),
        "Slice": _Rule(
            lambda node: _cuts(node) is not None, _slice_needed, _slice_obtained, _trim_slice
        ),
        "Pad": _Rule(lambda node: _pads(node) is not None, _pad_needed, _pad_obtained, _trim_pad),
    }
)
