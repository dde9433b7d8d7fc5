"""How sure the differences in speed are: ratios with their intervals."""

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.benchmark.page.axes import Axis, Tick, around, ticks
from toolkit.benchmark.result import BenchResult, Comparison


@dataclass(frozen=True)
class Span:
    """A ratio with its interval, in percent of the axis."""

    comparison: Comparison
    color: int
    low: float
    at: float
    high: float


@dataclass(frozen=True)
class Ratios:
    """All ratios on one axis.

    Attributes:
        spans: One per comparison.
        one: Where 1 stands, in percent.
        ticks: On the axis.
        several: Whether there is more than one baseline.
        answered: Comparisons of answers, beside those of time.
    """

    spans: list[Span]
    one: float
    ticks: list[Tick]
    several: bool
    answered: list[Comparison]


def section(result: BenchResult, colors: Mapping[str, int]) -> Ratios | None:
    """Return the section, or None when nothing is compared."""
    if not result.comparisons:
        return None
    ends = [end for entry in result.comparisons for end in entry.interval]
    axis = around([1.0, *ends], floor=0.1)
    return Ratios(
        spans=[_span(entry, colors[entry.candidate], axis) for entry in result.comparisons],
        one=axis.percent(1.0),
        ticks=ticks(axis, "{:.3g}".format),
        several=len({entry.baseline for entry in result.comparisons}) > 1,
        answered=[entry for entry in result.comparisons if entry.flips is not None],
    )


def _span(entry: Comparison, color: int, axis: Axis) -> Span:
    low, high = entry.interval
    return Span(
        comparison=entry,
        color=color,
        low=axis.percent(low),
        at=axis.percent(entry.latency_ratio),
        high=axis.percent(high),
    )
