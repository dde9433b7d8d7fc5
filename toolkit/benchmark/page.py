"""The HTML page of a bench: one file that needs no network.

Shapes are drawn as SVG, words stand in HTML beside them: so they keep their size on a phone, can
be read out and copied, and follow the reader's light or dark theme. Everything is escaped by
jinja2; names of models and classes come from files that anyone may have made.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.benchmark.axes import Axis, around, microseconds, round_microseconds
from toolkit.benchmark.result import BenchResult, Comparison, Variant
from toolkit.benchmark.summary import SIGNIFICANT, headline, percent, sentences
from toolkit.reporting.text import printable

_COLORS = 8
_TEMPLATE = "page.html.jinja"


@dataclass(frozen=True)
class Tick:
    """A round number on an axis: where it stands in percent, and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Tile:
    """A figure that stands large: its value, what it is, and what it rests on."""

    value: str
    name: str
    detail: str
    tone: str


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
class Span:
    """A ratio with its interval, in percent of the axis."""

    comparison: Comparison
    color: int
    low: float
    at: float
    high: float


@dataclass(frozen=True)
class Point:
    """Accuracy against latency, in percent of the axes (the vertical one from the bottom)."""

    variant: Variant
    color: int
    x: float
    y: float
    low: float
    high: float
    best: bool


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix: for each cell its count and how strongly it is shaded, in percent."""

    title: str
    labels: list[str]
    rows: list[list[tuple[int, int]]]


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


def render(result: BenchResult) -> str:
    """Return the page as text."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_visible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["microseconds"] = microseconds
    environment.filters["percent"] = percent
    return environment.get_template(_TEMPLATE).render(_content(result))


def _visible(value: object) -> object:
    """Replace control characters in text that comes from a file; markup stays as it is."""
    return printable(value) if type(value) is str else value


def _content(result: BenchResult) -> dict[str, Any]:
    colors = {variant.name: index % _COLORS for index, variant in enumerate(result.variants)}
    latency_axis = Axis(
        result.histogram_edges_us[0], result.histogram_edges_us[-1], logarithmic=True
    )
    ratio_axis = _ratio_axis(result.comparisons)
    points, speed_axis, accuracy_axis = _scatter(result, colors)
    return {
        "result": result,
        "headline": headline(result),
        "sentences": sentences(result),
        "tiles": _tiles(result),
        "colors": colors,
        "several_batches": len({variant.batch for variant in result.variants}) > 1,
        "distributions": [
            _distribution(variant, colors[variant.name], latency_axis)
            for variant in result.variants
        ],
        "latency_ticks": [
            Tick(latency_axis.percent(value), round_microseconds(value))
            for value in latency_axis.ticks(4)
        ],
        "spans": [_span(entry, colors, ratio_axis) for entry in result.comparisons],
        "ratio_ticks": [
            Tick(ratio_axis.percent(value), f"{value:.3g}") for value in ratio_axis.ticks()
        ],
        "one": ratio_axis.percent(1.0),
        "points": points,
        "speed_ticks": [
            Tick(speed_axis.percent(value), round_microseconds(value))
            for value in speed_axis.ticks(4)
        ],
        "accuracy_ticks": [
            Tick(accuracy_axis.percent(value), percent(value)) for value in accuracy_axis.ticks()
        ],
        "front": _front(points),
        "matrices": _matrices(result),
        "lanes": _lanes(result, colors),
    }


def _tiles(result: BenchResult) -> list[Tile]:
    """Return the four figures that matter most when two models are compared; else none."""
    if len(result.comparisons) != 1 or len({variant.model for variant in result.variants}) != 2:
        return []
    entry = result.comparisons[0]
    baseline, candidate = result.variant(entry.baseline), result.variant(entry.candidate)
    low, high = entry.interval
    tone = {"faster": "good", "slower": "bad", "no verdict": ""}[entry.verdict]
    tiles = [
        Tile(
            f"{1 / entry.latency_ratio:.2f}×",
            "speed",
            f"{1 / high:.2f} to {1 / low:.2f}, {entry.verdict}",
            tone,
        ),
        Tile(
            percent(candidate.size_bytes / baseline.size_bytes, 0),
            "of the file size",
            f"{candidate.size_bytes / 1000:,.0f} of {baseline.size_bytes / 1000:,.0f} kB",
            "",
        ),
    ]
    if entry.drop_points is not None and entry.mcnemar_p is not None:
        chance = entry.mcnemar_p >= SIGNIFICANT
        tone = "" if chance else "bad" if entry.drop_points > 0 else "good"
        detail = "within chance" if chance else "more than chance"
        tiles.append(
            Tile(
                f"{0 - entry.drop_points:+.2f}",
                "points of accuracy",
                f"{detail}, p = {entry.mcnemar_p:.2g}",
                tone,
            )
        )
    if entry.flips is not None and result.samples:
        tiles.append(
            Tile(
                percent(1 - entry.flips / result.samples),
                "same answers",
                f"{entry.flips:,} of {result.samples:,} changed",
                "",
            )
        )
    return tiles


def _distribution(variant: Variant, color: int, axis: Axis) -> Distribution:
    """Return the outline of a histogram whose bins are as wide as the axis has room for them."""
    highest = max(variant.histogram, default=0) or 1
    width = 100 / len(variant.histogram)
    corners = ["0,100"]
    for index, count in enumerate(variant.histogram):
        top = 100 - 100 * count / highest
        corners += [f"{index * width:.2f},{top:.2f}", f"{(index + 1) * width:.2f},{top:.2f}"]
    latency = variant.latency_us
    return Distribution(
        variant=variant,
        color=color,
        outline=" ".join([*corners, "100,100"]),
        marks=[
            _mark(name, value, axis)
            for name, value in (("p50", latency.p50), ("p90", latency.p90), ("p99", latency.p99))
        ],
    )


def _mark(name: str, value: float, axis: Axis) -> Mark:
    """Return a quantile's mark; one that is off the axis stands at its end, with its value."""
    beyond = value > axis.high
    return Mark(axis.percent(value), f"{name} {microseconds(value)} →" if beyond else name, beyond)


def _ratio_axis(comparisons: list[Comparison]) -> Axis:
    ends = [end for entry in comparisons for end in entry.interval]
    return around([1.0, *ends], floor=0.1)


def _span(entry: Comparison, colors: dict[str, int], axis: Axis) -> Span:
    low, high = entry.interval
    return Span(
        comparison=entry,
        color=colors[entry.candidate],
        low=axis.percent(low),
        at=axis.percent(entry.latency_ratio),
        high=axis.percent(high),
    )


def _scatter(result: BenchResult, colors: dict[str, int]) -> tuple[list[Point], Axis, Axis]:
    """Return the points of accuracy against time per sample, and both axes."""
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
        return [], Axis(1, 2), Axis(0, 1)
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
    return points, speed, accuracy


def _front(points: list[Point]) -> str:
    """Return the corners of the Pareto front: no variant is both faster and more accurate."""
    best = sorted((point for point in points if point.best), key=lambda point: point.x)
    if len(best) < 2:
        return ""
    corners = [f"{best[0].x:.2f},{100 - best[0].y:.2f}"]
    for before, after in itertools.pairwise(best):
        corners += [f"{after.x:.2f},{100 - before.y:.2f}", f"{after.x:.2f},{100 - after.y:.2f}"]
    return " ".join(corners)


def _matrices(result: BenchResult) -> list[Matrix]:
    """Return one matrix per model: threads, batch and provider hardly change the answers."""
    matrices: dict[str, Matrix] = {}
    for variant in result.variants:
        if variant.accuracy is None or variant.accuracy.confusion is None:
            continue
        counts = variant.accuracy.confusion
        labels = variant.labels or [str(index) for index in range(len(counts))]
        matrices.setdefault(
            variant.model,
            Matrix(
                title=variant.model,
                labels=labels,
                rows=[[(count, _shade(count, row)) for count in row] for row in counts],
            ),
        )
    return list(matrices.values())


def _shade(count: int, row: list[int]) -> int:
    """Return the shade of a cell in percent; the root keeps the few mistakes visible."""
    return 0 if not count else max(8, round(100 * (count / sum(row)) ** 0.5))


def _lanes(result: BenchResult, colors: dict[str, int]) -> list[Lane]:
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
