"""The four figures that matter most when two models are compared."""

from dataclasses import dataclass

from toolkit.benchmark.result import BenchResult
from toolkit.benchmark.summary import SIGNIFICANT, percent


@dataclass(frozen=True)
class Tile:
    """A figure that stands large: its value, what it is, and what it rests on."""

    value: str
    name: str
    detail: str
    tone: str


def tiles(result: BenchResult) -> list[Tile]:
    """Return speed, size, accuracy and agreement of two models; nothing for more or fewer."""
    if len(result.comparisons) != 1 or len({variant.model for variant in result.variants}) != 2:
        return []
    entry = result.comparisons[0]
    baseline, candidate = result.variant(entry.baseline), result.variant(entry.candidate)
    low, high = entry.interval
    tone = {"faster": "good", "slower": "bad", "no verdict": ""}[entry.verdict]
    found = [
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
        found.append(
            Tile(
                f"{0 - entry.drop_points:+.2f}",
                "points of accuracy",
                f"{detail}, p = {entry.mcnemar_p:.2g}",
                tone,
            )
        )
    if entry.flips is not None and result.samples:
        found.append(
            Tile(
                percent(1 - entry.flips / result.samples),
                "same answers",
                f"{entry.flips:,} of {result.samples:,} changed",
                "",
            )
        )
    return found
