"""The outcome of a bench in words."""

from toolkit.benchmark.result import BenchResult, Comparison, Variant

SIGNIFICANT = 0.05
_SHOWN_COMPARISONS = 3


def headline(result: BenchResult) -> str:
    """Return the outcome in one sentence: the speed of the first model that is compared."""
    if not result.comparisons:
        return _alone(result.variants[0])
    return f"{_speed(result.comparisons[0])}."


def sentences(result: BenchResult) -> list[str]:
    """Return what else a reader should take away: intervals, size, accuracy, other models."""
    if not result.comparisons:
        return [_alone(variant) for variant in result.variants[1:]]
    shown = result.comparisons[:_SHOWN_COMPARISONS]
    spoken = [_details(result, shown[0])]
    spoken += [f"{_speed(entry)}; {_details(result, entry, inside=True)}" for entry in shown[1:]]
    hidden = len(result.comparisons) - len(shown)
    return [*spoken, f"{hidden} more stand in the table."] if hidden else spoken


def footnotes(result: BenchResult) -> list[str]:
    """Return what the figures rest on, and the notices, one line each."""
    machine = result.environment
    counts = {variant.threads for variant in result.variants}
    threads = f", {_plural(counts.pop(), 'thread')}" if len(counts) == 1 else ""
    data = f"; {result.samples:,} samples of {result.data}" if result.data else ""
    origin = (
        f"{machine['cpu']}{threads}, onnxruntime {machine['onnxruntime']}; "
        f"{_plural(result.rounds, 'round')}{data}."
    )
    return [origin, *(f"Note: {notice}" for notice in result.notices)]


def percent(part: float, digits: int = 2) -> str:
    """Return a fraction as text: "99.16 %"."""
    return f"{100 * part:.{digits}f} %"


def _alone(variant: Variant) -> str:
    text = (
        f"{variant.name} takes {variant.latency_us.p50:,.1f} µs at the median and "
        f"{variant.latency_us.p99:,.1f} µs in 99 of 100 calls"
    )
    if variant.accuracy is not None and variant.accuracy.top1 is not None:
        text += f", and answers {percent(variant.accuracy.top1)} rightly"
    return f"{text}."


def _speed(entry: Comparison) -> str:
    if entry.verdict == "faster":
        return (
            f"{entry.candidate} is {1 / entry.latency_ratio:.2f} times as fast as {entry.baseline}"
        )
    if entry.verdict == "slower":
        return (
            f"{entry.candidate} takes {entry.latency_ratio:.2f} times as long as {entry.baseline}"
        )
    return f"Neither {entry.candidate} nor {entry.baseline} can be called faster"


def _details(result: BenchResult, entry: Comparison, *, inside: bool = False) -> str:
    """Return the interval, the size and the accuracy, as a sentence or ``inside`` one."""
    baseline, candidate = result.variant(entry.baseline), result.variant(entry.candidate)
    low, high = entry.interval
    if entry.verdict == "faster":
        interval = f"{1 / high:.2f} to {1 / low:.2f} times as fast"
    else:
        interval = f"{low:.2f} to {high:.2f} times the time"
    parts = [f"the 95 % interval is {interval}"]
    if candidate.model != baseline.model:
        parts.append(
            f"the file has {percent(candidate.size_bytes / baseline.size_bytes, 0)} of the size"
        )
        if entry.drop_points is not None and entry.mcnemar_p is not None:
            parts.append(_accuracy(candidate, baseline, entry.drop_points, entry.mcnemar_p))
    text = "; ".join(parts) + "."
    return text if inside else text[0].upper() + text[1:]


def _accuracy(candidate: Variant, baseline: Variant, drop: float, p: float) -> str:
    ours, theirs = percent(candidate.top1 or 0.0), percent(baseline.top1 or 0.0)
    if drop == 0:
        return f"both answer {ours} rightly"
    if p >= SIGNIFICANT:
        return f"the accuracy differs by no more than chance ({ours} against {theirs})"
    change = "loses" if drop > 0 else "gains"
    return f"it {change} {abs(drop):.2f} points of accuracy ({ours} against {theirs})"


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"
