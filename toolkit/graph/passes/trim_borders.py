"""Cuts off the borders of pictures that no result depends on.

A pooling that rounds down ignores the last rows and columns when its windows do not reach them;
so does a convolution with a stride. What they ignore need not be computed: this pass asks from
the outputs back to the inputs how much of each tensor is read, and cuts once, as early as that
helps. The digits network: pooling reads 10x10 of 11x11, the convolution before it then 12x12, the
one before that 24x24, so 26x26 of the 28x28 pixels give the same answer with 17 % less work.

    Pool(Conv(x))            ->  Pool(Conv(Slice(x)))       no padding in between
    Pool(Conv(x, pads=1))    ->  Pool(Conv(x, pads=(1, 1, 0, 0)))

The result is exact: the values that remain are computed by the same sums. At most one node is
added, a Slice; less padding in a convolution or a Pad, and a shorter Slice that is there already,
cost nothing. The work is counted in multiplications of the convolutions; a cut must save 1 % of
them and more than a Slice takes in their place.

Left alone: dynamic heights and widths, and tensors that are read whole somewhere (an output, a
dense layer, a global pooling, a body of a loop, an unknown operator).
"""

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from toolkit.graph.editing import add_initializer, constant, infer_shapes
from toolkit.graph.extents import Extents, full, is_known, needed, obtained, trim
from toolkit.graph.matching import is_op, remove_dead, unused_name

_WORTH = 0.01
# What a Slice costs, in multiplications: 1 to 2 us per call, about 1 ns per value.
_SLICE = 20_000
_SLICE_PER_VALUE = 16

_Table = dict[ir.Value, Extents]


def trim_borders(model: ir.Model) -> int:
    """Trim the borders that nothing reads; return how many convolutions have less to do."""
    infer_shapes(model)
    graph = model.graph
    if graph.opset_imports.get("", 0) < 10:  # Slice had attributes instead of inputs
        return 0
    remove_dead(graph)
    best = max(_plans(graph), key=lambda plan: plan.saved, default=None)
    if best is None or best.saved < _WORTH * _work(graph, {}):
        return 0
    smaller = sum(
        is_op(node, "Conv") and best.extents[node.outputs[0]] != full(node.outputs[0])
        for node in graph
    )
    _apply(graph, best)
    infer_shapes(model)
    return smaller


@dataclass(frozen=True)
class _Plan:
    entry: ir.Value | None
    """Where the Slice goes, or None when no Slice is needed."""
    extents: _Table
    saved: float
    """Multiplications per sample, less what the Slice costs."""


def _plans(graph: ir.Graph) -> list[_Plan]:
    """Return one plan for each value at which the graph could be cut, and one without a Slice."""
    known = [node for node in graph if is_known(node)]
    made = {node.outputs[0] for node in known}
    read = {value for node in known for value in node.inputs if value is not None}
    sources = [
        value
        for value in sorted(read - made, key=lambda value: str(value.name))
        if constant(value) is None and full(value)
    ]
    # Cutting everywhere shows which of them can be cut at all.
    everywhere = _solve(graph, set(sources))
    candidates = [value for value in sources if everywhere[value] != full(value)]
    work = _work(graph, {})
    plans = []
    for entry in (None, *candidates):
        extents = _solve(graph, set() if entry is None else {entry})
        saved = work - _work(graph, extents)
        if entry is not None:
            saved -= _SLICE + _SLICE_PER_VALUE * math.prod(size or 1 for size in extents[entry])
        if saved > 0:
            plans.append(_Plan(entry, extents, saved))
    return plans


def _solve(graph: ir.Graph, entries: set[ir.Value]) -> _Table:
    """Return the smallest extents with which all outputs stay whole, cutting only at entries.

    What is needed and what can be had are computed in turn; where more is had than needed, that
    much is taken as needed, until the two agree. Extents only grow, so this ends; where a graph
    declares a larger shape than it computes they cannot agree, and everything stays whole.
    """
    least: _Table = {}
    while True:
        wanted = _wanted(graph, least)
        had = _had(graph, wanted, entries)
        excess = {value: extents for value, extents in had.items() if extents != wanted[value]}
        if not excess:
            return wanted
        grown = {value: _larger(wanted[value], extents) for value, extents in excess.items()}
        if all(wanted[value] == extents for value, extents in grown.items()):
            return {value: full(value) for value in wanted}
        least.update(grown)


def _wanted(graph: ir.Graph, least: _Table) -> _Table:
    """Ask from the outputs back to the inputs how much of each value is read."""
    wanted: _Table = {}

    def ask(value: ir.Value | None, extents: Extents) -> None:
        if value is not None:
            wanted[value] = _larger(wanted.get(value, least.get(value, ())), extents)

    for output in graph.outputs:
        ask(output, full(output))
    for node in reversed(list(graph)):
        whole = not is_known(node)
        for value in node.outputs:
            if any(use.node.graph is not graph for use in value.uses()) or value not in wanted:
                ask(value, full(value))
        parts = [] if whole else needed(node, wanted[node.outputs[0]])
        for index, operand in enumerate(node.inputs):
            ask(operand, full(operand) if whole else parts[index])
    for value in graph.inputs:
        if any(use.node.graph is not graph for use in value.uses()) or value not in wanted:
            ask(value, full(value))
    return wanted


def _had(graph: ir.Graph, wanted: _Table, entries: set[ir.Value]) -> _Table:
    """Compute from the inputs to the outputs how much of each value there is."""
    had = {value: extents if value in entries else full(value) for value, extents in wanted.items()}
    for node in graph:
        if is_known(node):
            given = [() if value is None else had[value] for value in node.inputs]
            result = node.outputs[0]
            had[result] = obtained(node, given, wanted[result])
    return had


def _larger(one: Extents, other: Extents) -> Extents:
    if not one or not other:
        return one or other
    return tuple(
        None if a is None or b is None else max(a, b) for a, b in zip(one, other, strict=True)
    )


def _work(graph: ir.Graph, extents: _Table) -> float:
    """Count the multiplications of all convolutions with static sizes, for one sample."""
    work = 0
    for node in graph:
        weight = full(node.inputs[1]) if is_op(node, "Conv") else ()
        sizes = full(node.outputs[0])[2:] if weight else ()
        if sizes and is_known(node):
            sizes = extents.get(node.outputs[0], full(node.outputs[0]))[2:]
        if sizes and None not in sizes and None not in weight:
            work += math.prod(size or 1 for size in (*sizes, *weight))
    return work


def _apply(graph: ir.Graph, plan: _Plan) -> None:
    extents = plan.extents
    known = [node for node in graph if is_known(node)]
    for node in known:
        first = node.inputs[0]
        trim(node, graph, () if first is None else extents[first], extents[node.outputs[0]])
    for node in known:
        _set_shape(node.outputs[0], extents[node.outputs[0]])
    if plan.entry is not None:
        _cut(graph, plan.entry, extents[plan.entry])


def _cut(graph: ir.Graph, entry: ir.Value, extents: Extents) -> None:
    axes = [axis for axis, size in enumerate(full(entry)) if extents[axis] != size]
    bounds = {"starts": [0] * len(axes), "ends": [extents[axis] for axis in axes], "axes": axes}
    inputs = [
        add_initializer(graph, f"{entry.name}_trimmed_{name}", np.array(numbers, np.int64))
        for name, numbers in bounds.items()
    ]
    cut = ir.node("Slice", [entry, *inputs])
    result, maker = cut.outputs[0], entry.producer()
    result.name = unused_name(graph, f"{entry.name}_trimmed")
    result.type, result.shape = entry.type, entry.shape.copy() if entry.shape else None
    _set_shape(result, extents)
    entry.replace_all_uses_with(result)
    cut.replace_input_with(0, entry)
    if maker is None:
        graph.insert_before(graph[0], cut)
    else:
        graph.insert_after(maker, cut)


def _set_shape(value: ir.Value, extents: Extents) -> None:
    if value.shape is not None and extents and extents != full(value):
        sizes = [
            size if extent is None else extent
            for size, extent in zip(value.shape, extents, strict=True)
        ]
        value.shape = ir.Shape(sizes)
