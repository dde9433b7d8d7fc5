"""How long single calls take: a distribution per variant."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.benchmark.page.axes import Axis, Tick, microseconds, round_microseconds, ticks
from toolkit.benchmark.result import BenchResult, Variant

_NAME = 12.0  # room that the name of a mark takes on a phone, in percent of the axis


@dataclass(frozen=True)
class Mark:
    """A quantile: where it stands in percent, its name, and whether it lies off the axis."""

    at: float
    text: str
    beyond: bool


@dataclass(frozen=True)
class Distribution:
    """Latencies of one variant: the outline of its histogram and the marks on it, in percent."""

    variant: Variant
    color: int
    outline: str
    marks: list[Mark]


@dataclass(frozen=True)
class Latencies:
    """All distributions on one axis; ``several_batches`` tells that calls hold unlike samples."""

    distributions: list[Distribution]
    ticks: list[Tick]
    several_batches: bool


def section(result: BenchResult, colors: Mapping[str, int]) -> Latencies:
    """Return the section."""
    axis = Axis(result.histogram_edges_us[0], result.histogram_edges_us[-1], logarithmic=True)
    return Latencies(
        distributions=[
            _distribution(variant, colors[variant.name], axis) for variant in result.variants
        ],
        ticks=ticks(axis, round_microseconds, 4),
        several_batches=len({variant.batch for variant in result.variants}) > 1,
    )


def _distribution(variant: Variant, color: int, axis: Axis) -> Distribution:
    """Return the outline of a histogram whose bins are as wide as the axis has room for them."""
    highest = max(variant.histogram, default=0) or 1
    width = 100 / len(variant.histogram)
    corners = ["0,100"]
    for index, count in enumerate(variant.histogram):
        top = 100 - 100 * count / highest
        corners += [f"{index * width:.2f},{top:.2f}", f"{(index + 1) * width:.2f},{top:.2f}"]
    return Distribution(
        variant=variant,
        color=color,
        outline=" ".join([*corners, "100,100"]),
        marks=_marks(variant, axis),
    )


def _marks(variant: Variant, axis: Axis) -> list[Mark]:
    """Return the marks of p50, p90 and p99; p90 goes without its name where p99 is close."""
    latency = variant.latency_us
    p50, p90, p99 = (
        _mark(name, value, axis)
        for name, value in (("p50", latency.p50), ("p90", latency.p90), ("p99", latency.p99))
    )
    if abs(p99.at - p90.at) < _NAME:
        p90 = dataclasses.replace(p90, text="")
    return [p50, p90, p99]


def _mark(name: str, value: float, axis: Axis) -> Mark:
    """Return a quantile's mark; one that is off the axis stands at its end, with its value."""
    beyond = value > axis.high
    return Mark(axis.percent(value), f"{name} {microseconds(value)} →" if beyond else name, beyond)
