"""The outcome of a bench in words."""

from toolkit.benchmark.result import BenchResult, Comparison, Variant

_SIGNIFICANT = 0.05
_SHOWN_COMPARISONS = 3


def sentences(result: BenchResult) -> list[str]:
    """Return what a reader should take away, the most important first."""
    if not result.comparisons:
        return [_alone(variant) for variant in result.variants]
    spoken = [_spoken(result, entry) for entry in result.comparisons[:_SHOWN_COMPARISONS]]
    hidden = len(result.comparisons) - len(spoken)
    return [*spoken, f"{hidden} more stand in the table."] if hidden else spoken


def footnotes(result: BenchResult) -> list[str]:
    """Return what the figures rest on, and the notices, one line each."""
    machine = result.environment
    threads = sorted({variant.threads for variant in result.variants})
    data = f"; {result.samples:,} samples of {result.data}" if result.data else ""
    return [
        f"{machine['cpu']}, {_plural(max(threads), 'thread') if len(threads) == 1 else 'threads'}"
        f"{'' if len(threads) == 1 else ' as named'}, onnxruntime {machine['onnxruntime']}; "
        f"{_plural(result.rounds, 'round')}{data}.",
        *(f"Note: {notice}" for notice in result.notices),
    ]


def _alone(variant: Variant) -> str:
    text = (
        f"{variant.name} takes {variant.latency_us.p50:,.1f} µs at the median and "
        f"{variant.latency_us.p99:,.1f} µs in 99 of 100 calls"
    )
    if variant.top1 is not None and variant.accuracy is not None:
        low, high = variant.accuracy.top1_interval or (0.0, 1.0)
        text += f", and answers {variant.top1:.2%} rightly ({low:.2%} to {high:.2%})"
    return f"{text}."


def _spoken(result: BenchResult, entry: Comparison) -> str:
    baseline, candidate = result.variant(entry.baseline), result.variant(entry.candidate)
    parts = [_speed(entry)]
    if candidate.model != baseline.model:
        parts.append(_size(candidate, baseline))
        if entry.drop_points is not None and entry.mcnemar_p is not None:
            parts.append(_accuracy(candidate, baseline, entry.drop_points, entry.mcnemar_p))
    return f"{'; '.join(parts)}."


def _speed(entry: Comparison) -> str:
    low, high = entry.interval
    if entry.verdict == "faster":
        return (
            f"{entry.candidate} is {1 / entry.latency_ratio:.2f} times as fast as "
            f"{entry.baseline} (95 % interval {1 / high:.2f} to {1 / low:.2f})"
        )
    if entry.verdict == "slower":
        return (
            f"{entry.candidate} takes {entry.latency_ratio:.2f} times as long as "
            f"{entry.baseline} (95 % interval {low:.2f} to {high:.2f})"
        )
    return (
        f"Neither {entry.candidate} nor {entry.baseline} can be called faster "
        f"(ratio of their times {low:.3f} to {high:.3f})"
    )


def _size(candidate: Variant, baseline: Variant) -> str:
    part = candidate.size_bytes / baseline.size_bytes
    return f"its file has {part:.0%} of the size"


def _accuracy(candidate: Variant, baseline: Variant, drop: float, p: float) -> str:
    values = f"{candidate.top1:.2%} against {baseline.top1:.2%}"
    if drop == 0:
        return f"both answer {candidate.top1:.2%} rightly"
    if p >= _SIGNIFICANT:
        return f"its accuracy differs by no more than chance ({values})"
    return f"it {'loses' if drop > 0 else 'gains'} {abs(drop):.2f} points of accuracy ({values})"


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"
