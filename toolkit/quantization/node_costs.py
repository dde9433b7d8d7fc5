"""What each node of the float graph costs in float and in int8, from two profiles.

The figures order the tries of the search and explain its choices; they decide nothing. The
profiler counts whole microseconds, and a node that changes its precision takes conversions along,
which are only estimated here.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from toolkit.measuring.nodes import operation
from toolkit.measuring.profile import NodeTime
from toolkit.quantization.pixels import MOVES

# Two nodes to convert and to reorder, at about two microseconds each, and a nanosecond a value.
_CONVERSION_US = 4.0
_CONVERSION_US_PER_VALUE = 1e-3
_FREE = MOVES | {"Relu", "Clip", "Concat", "Split"}  # they move bytes, or vanish in the node before
_ACTIVATIONS = frozenset({"Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "Add"})


def times_by_node(profile: Sequence[NodeTime], graph: ir.Graph) -> dict[str, float]:
    """Return the time of each node of a float graph, in microseconds, by its name.

    Args:
        profile: Of the float model, or of one that was quantized from it.
        graph: The float graph. onnxruntime names what it runs after one of its nodes or tensors.

    Returns:
        Nodes that are not found under their name are missing; those that were fused into another
        are, too.
    """
    nodes = names_in(graph)
    times: dict[str, float] = {}
    for entry in profile:
        owner = owner_of(entry, nodes)
        if owner is not None:
            times[str(owner.name)] = times.get(str(owner.name), 0.0) + entry.us
    return times


def names_in(graph: ir.Graph) -> dict[str, ir.Node]:
    """Return the nodes of a graph by their names and by those of the tensors that they give."""
    nodes = {str(value.name): node for node in graph for value in node.outputs}
    return nodes | {str(node.name): node for node in graph if node.name}


def owner_of(entry: NodeTime, nodes: Mapping[str, ir.Node]) -> ir.Node | None:
    """Return the node of a float graph that a node of the running graph comes from, or None.

    Args:
        entry: Of the float model, or of one that was quantized from it.
        nodes: What `names_in` returned for the float graph.
    """
    name = re.sub(r"(_nchwc|_token_\d+|_quant)*$", "", entry.name.removeprefix("fused "))
    wanted = operation(entry.operator)
    node = nodes.get(name) or nodes.get(name.partition("_before_")[0])
    while node is not None and operation(node.op_type) != wanted:
        # A fused node may be called after the activation behind it.
        if node.op_type not in _ACTIVATIONS:
            return None
        makers = [value.producer() for value in node.inputs if value is not None]
        node = next((maker for maker in makers if maker is not None), None)
    return node


@dataclass(frozen=True)
class Unit:
    """A node that can work in float or in int8.

    Attributes:
        name: Its name.
        values: Values of its result, for one call.
        float_us: Its time in float, microseconds.
        int8_us: Its time in int8.
    """

    name: str
    values: int
    float_us: float
    int8_us: float


def units(
    graph: ir.Graph,
    names: Collection[str],
    float_us: Mapping[str, float],
    int8_us: Mapping[str, float],
) -> list[Unit]:
    """Return those of the named nodes that compute and whose times are known, in their order."""
    found = []
    for node in graph:
        name = str(node.name)
        known = name in names and name in float_us and name in int8_us
        if known and node.op_type not in _FREE:
            found.append(Unit(name, _values(node.outputs[0]), float_us[name], int8_us[name]))
    return found


def estimate(order: Sequence[Unit], in_float: Collection[str]) -> float:
    """Return the time of a placement in microseconds: of its nodes, and of the conversions.

    The nodes count as a chain; where one in float and one in int8 follow each other, the values
    between them are converted.
    """
    total = 0.0
    for index, unit in enumerate(order):
        total += unit.float_us if unit.name in in_float else unit.int8_us
        if index and (order[index - 1].name in in_float) != (unit.name in in_float):
            total += _conversion(order[index - 1])
    return total


def best_placement(order: Sequence[Unit], conversions: float = 1.0) -> frozenset[str]:
    """Return the nodes in float of the placement whose `estimate` is the smallest.

    By dynamic programming along the chain; of equals, the one with more nodes in int8.

    Args:
        order: The chain.
        conversions: A factor for the time of conversions; the larger, the fewer they are.
    """
    # For each precision of the last unit: the least time, the number in float, and their names.
    state: dict[bool, tuple[float, int, frozenset[str]]] = {}
    for index, unit in enumerate(order):
        following: dict[bool, tuple[float, int, frozenset[str]]] = {}
        for as_float in (False, True):
            own = unit.float_us if as_float else unit.int8_us
            added = frozenset({unit.name}) if as_float else frozenset[str]()
            if not index:
                following[as_float] = (own, len(added), added)
                continue
            following[as_float] = min(
                (
                    time + own + conversions * _conversion(order[index - 1]) * (before != as_float),
                    count + len(added),
                    names | added,
                )
                for before, (time, count, names) in state.items()
            )
        state = following
    return min(state.values(), key=lambda entry: entry[:2])[2] if state else frozenset()


def _conversion(unit: Unit) -> float:
    return _CONVERSION_US + _CONVERSION_US_PER_VALUE * unit.values


def _values(value: ir.Value) -> int:
    count = 1
    for size in value.shape or ():
        count *= size if isinstance(size, int) else 1
    return count
