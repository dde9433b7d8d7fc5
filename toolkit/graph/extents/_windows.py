"""Convolution and pooling: windows over all axes but the first two.

A window with kernel k, stride s, dilation d and p entries of padding in front reads, for n
outputs, (n - 1) s + (k - 1) d + 1 - p entries of its input. When n is less than all, the padding
behind becomes what that leaves over.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from toolkit.graph.extents._rule import Extents, Rule, full
from toolkit.graph.matching import input_at, integer, integers, text


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


WINDOW_RULE = Rule(_has_windows, _window_needed, _window_obtained, _trim_window)
