"""How much faster one model is than another, and how sure that is.

Every round gives one paired ratio: both models were opened anew and timed right after each other,
in a random order. The centre of the ratios is their interquartile mean, its interval a bootstrap
over whole rounds. Single calls are never resampled: the calls of one session share its memory
layout, which alone makes two sessions of one file differ by a percent or two, and noise of the
machine lasts longer than a call. Opening the sessions anew in each round turns both into
variation between rounds, which the interval sees.
"""

import math
import statistics
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
Verdict = Literal["faster", "slower", "no verdict"]

CONFIDENCE = 0.95
MIN_ROUNDS = 6  # with fewer, even rounds that all agree are chance more than once in 20
RESAMPLES = 4000

_CHUNK = 2_000_000  # values drawn at a time, so that thousands of rounds fit into memory


@dataclass(frozen=True)
class Ratio:
    """A candidate's time divided by the baseline's: below 1 the candidate is faster.

    Attributes:
        value: exp of the interquartile mean of the rounds' log ratios.
        low: Lower end of the interval.
        high: Upper end of the interval.
        verdict: "no verdict" when the interval contains 1.
    """

    value: float
    low: float
    high: float
    verdict: Verdict


def compare(log_ratios: FloatArray, *, confidence: float = CONFIDENCE, seed: int = 0) -> Ratio:
    """Return the ratio of two models' times, with its interval and verdict.

    Args:
        log_ratios: log(candidate / baseline) of each round, [rounds].
        confidence: That of the interval, in (0, 1).
        seed: Of the resampling; the same input gives the same interval.

    Raises:
        ValueError: There are fewer than `MIN_ROUNDS` rounds.
    """
    if len(log_ratios) < MIN_ROUNDS:
        raise ValueError(f"{len(log_ratios)} rounds give no interval, it takes {MIN_ROUNDS}")
    low, high = (math.exp(end) for end in bootstrap(log_ratios, confidence=confidence, seed=seed))
    return Ratio(math.exp(_center(log_ratios)), low, high, _verdict(low, high))


def compare_apart(
    now: FloatArray, before: FloatArray, *, confidence: float = CONFIDENCE, seed: int = 0
) -> Ratio:
    """Return the ratio of two measurements that were made apart: below 1 the later is faster.

    Args:
        now: log(time) of each round of the later one, [rounds], in any unit that both share.
        before: The same of the earlier one, [its rounds].
        confidence: That of the interval, in (0, 1).
        seed: Of the resampling.

    Raises:
        ValueError: Either has fewer than `MIN_ROUNDS` rounds.
    """
    few = min(len(now), len(before))
    if few < MIN_ROUNDS:
        raise ValueError(f"{few} rounds give no interval, it takes {MIN_ROUNDS}")
    rng = np.random.default_rng(seed)
    differences = _centers(np.asarray(now, np.float64), rng) - _centers(
        np.asarray(before, np.float64), rng
    )
    low, high = (math.exp(end) for end in _widened(differences, few, confidence))
    center = _center(now) - _center(before)
    return Ratio(math.exp(center), low, high, _verdict(low, high))


def interquartile_mean(rows: FloatArray) -> npt.NDArray[np.float64]:
    """Return the mean of the middle half of each row of [rows, values], [rows].

    A quarter of the values at either end is left out, at least one when there are four or more:
    a rival program that hits every tenth round does not move it, and it is smoother than the
    median.
    """
    cut = rows.shape[1] // 4
    middle = np.sort(rows, axis=1)[:, cut : rows.shape[1] - cut]
    return np.asarray(middle.mean(axis=1, dtype=np.float64))


def bootstrap(
    values: FloatArray, *, confidence: float = CONFIDENCE, seed: int = 0
) -> tuple[float, float]:
    """Return the bootstrap interval of the interquartile mean of ``values`` [n].

    The percentile interval of few values is too narrow; it is widened as Hesterberg proposes:
    the tail is Phi(-sqrt(n / (n - 1)) t), with t the quantile of Student's distribution with
    n - 1 degrees of freedom. Source: T. Hesterberg, "What Teachers Should Know About the
    Bootstrap", The American Statistician 69 (2015).
    """
    centers = _centers(np.asarray(values, np.float64), np.random.default_rng(seed))
    return _widened(centers, len(values), confidence)


def look_confidence(look: int, confidence: float = CONFIDENCE) -> float:
    """Return the confidence for the ``look``-th look (from 1) at a measurement that goes on.

    Who looks again and again until an interval leaves 1 finds a difference where none is. The
    error 1 - confidence is shared out over all looks: the k-th may spend 1 / (k (k + 1)) of it,
    which sums to 1.
    """
    return 1 - (1 - confidence) / (look * (look + 1))


def _centers(sample: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return the interquartile means of `RESAMPLES` resamples of a sample [n]."""
    n = len(sample)
    step = max(1, _CHUNK // n)
    return np.concatenate(
        [
            interquartile_mean(sample[rng.integers(0, n, (min(step, RESAMPLES - start), n))])
            for start in range(0, RESAMPLES, step)
        ]
    )


def _widened(centers: npt.NDArray[np.float64], n: int, confidence: float) -> tuple[float, float]:
    """Return the interval of resampled centres of ``n`` values, widened as `bootstrap` says."""
    t = _student_quantile(1 - (1 - confidence) / 2, n - 1)
    tail = statistics.NormalDist().cdf(-math.sqrt(n / (n - 1)) * t)
    low, high = np.quantile(centers, [tail, 1 - tail])
    return float(low), float(high)


def _center(values: FloatArray) -> float:
    return float(interquartile_mean(np.asarray(values, np.float64)[None])[0])


def _verdict(low: float, high: float) -> Verdict:
    return "faster" if high < 1 else "slower" if low > 1 else "no verdict"


def _student_quantile(p: float, degrees: int) -> float:
    """Return Student's quantile by the expansion in 1 / degrees.

    Source: Abramowitz and Stegun, 26.7.5. Off by less than 1 % for 5 degrees or more at 97.5 %.
    """
    z = statistics.NormalDist().inv_cdf(p)
    return (
        z
        + (z**3 + z) / (4 * degrees)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
    )
