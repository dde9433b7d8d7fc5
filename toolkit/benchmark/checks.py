"""Limits on time and accuracy: against the baseline, and against an earlier result.

A variant fails a check when its figure is beyond the limit and the change is no chance: the 95 %
interval leaves "no change" out (or, for a limit on time below 1, the limit itself). A figure
beyond the limit whose interval holds "no change" passes: it may be noise.
"""

from collections.abc import Sequence

from toolkit.benchmark.earlier import Earlier, EarlierVariant, Identity, log_times
from toolkit.benchmark.result import Check, Comparison, Variant
from toolkit.benchmark.suites import Limits
from toolkit.errors import RecipeError
from toolkit.measuring.accuracy import drop_interval
from toolkit.measuring.statistics import compare_apart

EARLIER = "the earlier result"


def check_limits(limits: Limits, *, compared: bool, labelled: bool) -> None:
    """Check, before anything is measured, that limits against the baseline can be checked.

    Raises:
        RecipeError: There is nothing to compare with, or no labelled data for a drop.
    """
    if limits and not compared:
        raise RecipeError(
            "There is nothing to compare with: a limit needs a second model, or an earlier "
            "result (--against)."
        )
    if limits.fail_if_drop is not None and not labelled:
        raise RecipeError("A limit on the drop in accuracy needs labelled data; add --data.")


def against_baseline(
    variants: Sequence[Variant], comparisons: Sequence[Comparison], limits: Limits
) -> list[Check]:
    """Return the checks of each variant against its baseline in the same bench."""
    named = {variant.name: variant for variant in variants}
    checks: list[Check] = []
    for entry in comparisons:
        candidate, baseline = named[entry.candidate], named[entry.baseline]
        if limits.fail_if_slower is not None:
            checks.append(
                _time(candidate, entry.baseline, entry.latency_ratio, entry.interval, limits)
            )
        drop = _drop(candidate, baseline, entry.baseline, limits)
        if drop is not None and limits.fail_if_drop is not None:
            checks.append(drop)
    return checks


def against_earlier(
    variants: Sequence[Variant],
    yardstick_us: Sequence[float],
    earlier: Earlier,
    limits: Limits,
    *,
    answers: bool,
    seed: int,
) -> tuple[list[Check], list[str]]:
    """Return the checks against an earlier result, and which variants have no counterpart.

    Times are divided by those of the yardstick in the same round, so that a machine that is
    faster or slower today is no change of the model.

    Args:
        variants: Those of this bench.
        yardstick_us: The yardstick's time in each round.
        earlier: The earlier result.
        limits: What a change may be; without a limit it is told, and passes.
        answers: Whether both answered the same samples.
        seed: Of the resampling.
    """
    before = {Identity.of(variant): variant for variant in earlier.variants}
    checks: list[Check] = []
    alone: list[str] = []
    for variant in variants:
        other = before.pop(Identity.of(variant), None)
        if other is None:
            alone.append(variant.name)
            continue
        ratio = compare_apart(
            log_times(variant.rounds_us, yardstick_us), earlier.log_times(other), seed=seed
        )
        checks.append(_time(variant, EARLIER, ratio.value, (ratio.low, ratio.high), limits))
        drop = _drop(variant, other, EARLIER, limits) if answers else None
        if drop is not None:
            checks.append(drop)
    notices = [f"'{name}' is not in the earlier result." for name in alone]
    notices += [
        f"'{variant.name}' of the earlier result was not measured." for variant in before.values()
    ]
    return checks, notices


def _time(
    variant: Variant, against: str, value: float, interval: tuple[float, float], limits: Limits
) -> Check:
    limit = limits.fail_if_slower
    failed = limit is not None and value > limit and interval[0] > min(limit, 1.0)
    return Check(variant.name, against, "time", value, interval, limit, not failed)


def _drop(
    variant: Variant, other: Variant | EarlierVariant, against: str, limits: Limits
) -> Check | None:
    """Return the check of the drop in top-1, or None when one of the two has no answers."""
    ours = variant.accuracy
    theirs = other.wrong if isinstance(other, EarlierVariant) else (
        None if other.accuracy is None else other.accuracy.wrong
    )  # fmt: skip
    if ours is None or ours.wrong is None or theirs is None:
        return None
    lost, won = len(set(ours.wrong) - set(theirs)), len(set(theirs) - set(ours.wrong))
    value, interval = 100 * (lost - won) / ours.samples, drop_interval(lost, won, ours.samples)
    limit = limits.fail_if_drop
    failed = limit is not None and value > limit and interval[0] > 0
    return Check(variant.name, against, "drop", value, interval, limit, not failed)
