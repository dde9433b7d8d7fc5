"""Where the time goes: the nodes of all variants side by side."""

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.benchmark.page.axes import microseconds
from toolkit.benchmark.result import BenchResult


@dataclass(frozen=True)
class Bar:
    """The time of one node: its length in percent of the longest, and what stands beside it."""

    color: int
    length: float
    text: str
    title: str


@dataclass(frozen=True)
class Lane:
    """One operation and the bars of all variants; an empty text where a variant has no node."""

    operator: str
    name: str
    bars: list[Bar]


def section(result: BenchResult, colors: Mapping[str, int]) -> list[Lane]:
    """Return one lane per operation, in the order in which they run; none without a profile."""
    rows = result.profile or []
    longest = max((node.us for row in rows for node in row.nodes.values()), default=0.0) or 1.0
    lanes = []
    for row in rows:
        bars = []
        for name, color in colors.items():
            node = row.nodes.get(name)
            if node is None:
                bars.append(Bar(color, 0.0, "", f"{name}: no such node"))
            else:
                provider = node.provider.removesuffix("ExecutionProvider")
                title = f"{name}: {node.operator} on {provider}"
                length = round(100 * node.us / longest, 2)
                bars.append(Bar(color, length, microseconds(node.us), title))
        lanes.append(Lane(row.operator, row.name, bars))
    return lanes
