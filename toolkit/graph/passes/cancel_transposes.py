"""Removes transpositions that undo each other, and moves others until they do.

    Transpose(Transpose(x, p), q)  ->  Transpose(x, q after p), or x where that changes nothing
    Transpose(constant)            ->  the transposed constant
    Transpose(x) of axes of size 1 ->  Reshape(x): the order in memory stays

and, for connected nodes that treat all axes alike or name theirs in an attribute or a constant:

    Transpose(f(Transpose(x, p)), q)  ->  f(x), its axes renamed, where q undoes p

f may be many nodes with several inputs and outputs: element-wise arithmetic, Concat, Pad, Slice,
Softmax and reductions. They change their layout together if that leaves fewer transpositions than
before, counting those that must be added where a value enters or leaves in the old layout.
Constants are transposed here. A reduction that drops axes ends such a group, and needs no
transposition behind it when the axes left are in order.

Left alone: graphs where that would not help, operands of unknown or different rank, the bodies of
loops, and everything that a graph output must show in its own layout.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from toolkit.graph.editing import add_initializer, constant, infer_shapes, rank, replace
from toolkit.graph.layouts import Permutation, invert, is_agnostic, reduces_to_order, relayout
from toolkit.graph.matching import bypass, is_op, permutation, producer, remove_dead, unused_name


def cancel_transposes(model: ir.Model) -> int:
    """Remove transpositions or replace them by something cheaper; return how many changes."""
    infer_shapes(model)
    graph, count, changed = model.graph, 0, True
    while changed:
        changed = False
        for node in list(graph):
            if node.graph is graph and is_op(node, "Transpose"):
                # Each change leaves fewer transpositions of computed values, so this ends.
                done = _simplify(node) or _move(node)
                changed, count = changed or done, count + done
        remove_dead(graph)
    count += sum(_reshape(node) for node in list(graph) if is_op(node, "Transpose"))
    if count:
        infer_shapes(model)
    return count


def _simplify(node: ir.Node) -> bool:
    """Apply a rule about one transposition, or one after another."""
    order, source, graph = permutation(node), node.inputs[0], node.graph
    if order is None or source is None or not isinstance(graph, ir.Graph):
        return False
    if order == tuple(range(len(order))):
        return bypass(node, source)
    array = constant(source)
    if array is not None and not node.outputs[0].is_graph_output():
        name = f"{source.name}_transposed"
        moved = np.ascontiguousarray(array.transpose(order))
        node.outputs[0].replace_all_uses_with(add_initializer(graph, name, moved))
        graph.remove(node, safe=True)
        return True
    inner = producer(source, "Transpose")
    first = None if inner is None else permutation(inner)
    if inner is None or first is None or inner.inputs[0] is None or inner.graph is not graph:
        return False
    both = tuple(first[axis] for axis in order)
    if both == tuple(range(len(both))) and bypass(node, inner.inputs[0]):
        return True
    node.replace_input_with(0, inner.inputs[0])
    node.attributes["perm"] = ir.AttrInt64s("perm", both)
    return True


@dataclass
class _Region:
    """Nodes that change their layout together.

    Every value v inside becomes v' with v = Transpose(v', order).
    """

    order: Permutation
    nodes: dict[ir.Node, None] = field(default_factory=dict)

    def inputs(self) -> Iterator[ir.Value]:
        """Yield each computed value that enters from outside, once."""
        seen: dict[ir.Value, None] = {}
        for node in self.nodes:
            for value in node.inputs:
                if (
                    value is not None
                    and constant(value) is None
                    and value.producer() not in self.nodes
                    and rank(value) == len(self.order)
                ):
                    seen[value] = None
        return iter(seen)

    def outside_users(self, value: ir.Value) -> list[ir.Node]:
        return [use.node for use in value.uses() if use.node not in self.nodes]

    def gain(self) -> int:
        """Return how many transpositions fewer there would be."""
        gain = 0
        for value in self.inputs():
            node = _transposes(value, self.order)
            if node is None:
                gain -= 1
            elif not self.outside_users(value) and not value.is_graph_output():
                gain += 1
        for node in self.nodes:
            gain += self._gain_behind(node.outputs[0])
        return gain

    def _gain_behind(self, value: ir.Value) -> int:
        undone, stays = 0, value.is_graph_output()
        for user in self.outside_users(value):
            if is_op(user, "Transpose") and user.graph is value.graph:
                undone += permutation(user) == invert(self.order)
            elif not reduces_to_order(user, value, self.order):
                stays = True
        return undone - stays


def _transposes(value: ir.Value, order: Permutation) -> ir.Node | None:
    node = producer(value, "Transpose")
    return node if node is not None and permutation(node) == order else None


def _move(node: ir.Node) -> bool:
    """Change the layout of nodes around a transposition if that leaves fewer."""
    order = permutation(node)
    if order is None or node.graph is None or order == tuple(range(len(order))):
        return False
    best = max(
        (_grow(node, order, upstream) for upstream in (True, False)),
        key=lambda region: region.gain(),
    )
    if not best.nodes or best.gain() <= 0:
        return False
    _apply(best, node.graph)
    return True


def _grow(transpose: ir.Node, order: Permutation, upstream: bool) -> _Region:
    """Collect the nodes behind a transposition, and with `upstream` those that feed them too."""
    region = _Region(order)
    waiting = list(transpose.outputs[0].consumers())
    while waiting:
        node = waiting.pop()
        if node in region.nodes or node.graph is not transpose.graph:
            continue
        if not is_agnostic(node, len(order)):
            continue
        region.nodes[node] = None
        waiting.extend(node.outputs[0].consumers())
        if upstream:
            makers = [value.producer() for value in node.inputs if value is not None]
            waiting.extend(maker for maker in makers if maker is not None)
    return region


def _apply(region: _Region, graph: ir.Graph | ir.Function) -> None:
    assert isinstance(graph, ir.Graph)  # noqa: S101 - regions grow in the main graph
    order, back = region.order, invert(region.order)
    entries: dict[ir.Value, ir.Value] = {}
    for value in list(region.inputs()):
        found = _transposes(value, order)
        if found is not None and found.inputs[0] is not None:
            entries[value] = found.inputs[0]
            continue
        new = ir.node("Transpose", [value], {"perm": list(back)})
        _set_shape(new.outputs[0], value, back)
        maker = value.producer()
        if maker is None:
            graph.insert_before(graph[0], new)
        else:
            graph.insert_after(maker, new)
        entries[value] = new.outputs[0]
    for node in region.nodes:
        for index, operand in enumerate(node.inputs):
            if operand in entries:
                node.replace_input_with(index, entries[operand])
        relayout(node, graph, order)
    for node in region.nodes:
        value = node.outputs[0]
        _leave(region, graph, value)


def _leave(region: _Region, graph: ir.Graph, value: ir.Value) -> None:
    """Give the users outside of the region a value in the layout that they expect."""
    order = region.order
    users = region.outside_users(value)
    old_shape = value.shape
    _set_shape(value, value, invert(order))
    reductions = [user for user in users if reduces_to_order(user, value, order)]
    for user in reductions:
        relayout(user, graph, order)
    others = [user for user in users if user not in reductions]
    if not others and not value.is_graph_output():
        return
    new = ir.node("Transpose", [value], {"perm": list(order)})
    after = new.outputs[0]
    after.shape, after.type = old_shape, value.type
    graph.insert_after(value.producer() or graph[0], new)
    if value.is_graph_output():
        name, value.name = value.name, unused_name(graph, f"{value.name}_moved")
        for place, output in enumerate(graph.outputs):
            if output is value:
                graph.outputs[place] = after
        after.name = name
    for use in list(value.uses()):
        if use.node in others:
            use.node.replace_input_with(use.idx, after)


def _set_shape(value: ir.Value, like: ir.Value, order: Permutation) -> None:
    value.type = like.type
    shape = None if like.shape is None else list(like.shape)
    value.shape = None if shape is None else ir.Shape([shape[axis] for axis in order])


def _reshape(node: ir.Node) -> bool:
    """Replace a transposition that only moves axes of size 1."""
    order, source, graph = permutation(node), node.inputs[0], node.graph
    if order is None or source is None or source.shape is None or not isinstance(graph, ir.Graph):
        return False
    shape = list(source.shape)
    kept = [axis for axis in order if shape[axis] != 1]
    dynamic = [axis for axis in kept if not isinstance(shape[axis], int)]
    # A size of 0 would be read as "copy", and two unknown ones cannot both be left open.
    if kept != sorted(kept) or len(dynamic) > 1 or 0 in shape:
        return False
    target = [size if isinstance(size := shape[axis], int) else -1 for axis in order]
    value = add_initializer(graph, f"{node.outputs[0].name}_shape", np.array(target, np.int64))
    new = ir.node("Reshape", [source, value], name=node.name)
    replace(node, new)
    return True
