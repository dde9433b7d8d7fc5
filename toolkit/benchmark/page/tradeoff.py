"""Accuracy against time, and the Pareto front: what no other variant beats in both."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.benchmark.page.axes import Axis, Tick, around, round_microseconds, ticks
from toolkit.benchmark.result import BenchResult, Variant
from toolkit.benchmark.summary import percent


@dataclass(frozen=True)
class Point:
    """Accuracy against latency, in percent of the axes (the vertical one from the bottom).

    Attributes:
        variant: The variant.
        color: Number of its colour.
        x: Where its time stands.
        y: Where its accuracy stands.
        low: Lower end of the accuracy's interval.
        high: Upper end.
        best: Whether it is on the Pareto front.
    """

    variant: Variant
    color: int
    x: float
    y: float
    low: float
    high: float
    best: bool


@dataclass(frozen=True)
class Tradeoff:
    """All points; ``front`` holds the corners of the line that joins the best ones."""

    points: list[Point]
    speed_ticks: list[Tick]
    accuracy_ticks: list[Tick]
    front: str

    @property
    def best(self) -> list[Point]:
        """The points on the Pareto front, the fastest first."""
        return sorted((point for point in self.points if point.best), key=lambda point: point.x)


def section(result: BenchResult, colors: Mapping[str, int]) -> Tradeoff | None:
    """Return the section, or None without accuracy."""
    measured = [
        (variant, variant.accuracy.top1, variant.accuracy.top1_interval)
        for variant in result.variants
        if variant.accuracy is not None
    ]
    known = [
        (variant, top1, interval)
        for variant, top1, interval in measured
        if top1 is not None and interval is not None
    ]
    if not known:
        return None
    times = [variant.us_per_sample for variant, _, _ in known]
    speed = Axis(min(times) / 1.25, max(times) * 1.25, logarithmic=True)
    accuracy = around([end for _, _, interval in known for end in interval], floor=0.002)
    points = [
        Point(
            variant=variant,
            color=colors[variant.name],
            x=speed.percent(variant.us_per_sample),
            y=accuracy.percent(top1),
            low=accuracy.percent(interval[0]),
            high=accuracy.percent(interval[1]),
            best=not any(
                other.us_per_sample <= variant.us_per_sample
                and better >= top1
                and (other.us_per_sample < variant.us_per_sample or better > top1)
                for other, better, _ in known
            ),
        )
        for variant, top1, interval in known
    ]
    return Tradeoff(
        points=points,
        speed_ticks=ticks(speed, round_microseconds, 4),
        accuracy_ticks=ticks(accuracy, percent, apart=8.0),
        front=_front(points),
    )


def _front(points: Sequence[Point]) -> str:
    """Return the corners of the Pareto front, as SVG counts from the top left; else nothing."""
    best = sorted((point for point in points if point.best), key=lambda point: point.x)
    if len(best) < 2:
        return ""
    corners = [f"{best[0].x:.2f},{100 - best[0].y:.2f}"]
    for before, after in itertools.pairwise(best):
        corners += [f"{after.x:.2f},{100 - before.y:.2f}", f"{after.x:.2f},{100 - after.y:.2f}"]
    return " ".join(corners)
