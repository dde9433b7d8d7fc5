"""Accuracy of class scores: top-1 with its interval, per class, confusion, agreement."""

import math

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.integer]

Z_95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


def predicted_classes(scores: FloatArray) -> npt.NDArray[np.int64]:
    """Return the class of each row of ``scores`` [N, classes]; the first of equals, [N]."""
    classes: npt.NDArray[np.int64] = np.argmax(scores.reshape(len(scores), -1), axis=1)
    return classes


def top1(scores: FloatArray, labels: IntArray) -> float:
    """Return the fraction of rows whose highest score is at the label, in [0, 1]."""
    return float(np.mean(predicted_classes(scores) == labels))


def agreement(scores: FloatArray, others: FloatArray) -> float:
    """Return the fraction of samples for which two models name the same class, in [0, 1]."""
    return float(np.mean(predicted_classes(scores) == predicted_classes(others)))


def wilson_interval(successes: int, total: int, z: float = Z_95) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion, in [0, 1].

    Unlike the normal approximation it stays inside [0, 1] and holds for proportions near 1.
    Source: E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference",
    JASA 22 (1927). ``z`` is the normal quantile, by default that of 95 %.

    Raises:
        ValueError: ``total`` is 0, or ``successes`` is not in [0, total].
    """
    if total <= 0 or not 0 <= successes <= total:
        raise ValueError(f"{successes} successes of {total} are no proportion")
    p = successes / total
    center = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return max(0.0, center - half), min(1.0, center + half)


def confusion_matrix(predicted: IntArray, labels: IntArray, classes: int) -> npt.NDArray[np.int64]:
    """Return counts [classes, classes]; rows are labels, columns are predictions."""
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (labels, predicted), 1)
    return matrix


def cross_entropy(probabilities: FloatArray, labels: IntArray) -> float:
    """Return the mean of -ln(probability of the label).

    Probabilities [N, classes] are clipped to [1e-7, 1] as Keras does, so that a quantized
    model's exact 0 gives a finite loss.
    """
    chosen = probabilities.reshape(len(probabilities), -1)[np.arange(len(labels)), labels]
    return float(np.mean(-np.log(np.clip(chosen.astype(np.float64), 1e-7, 1.0))))


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Return the two-sided p value of McNemar's exact test.

    Two models answered the same samples; the test asks whether one is right more often. Samples
    that both got right, or both wrong, say nothing about that. Under the null hypothesis each of
    the n = only_first + only_second others is a fair coin, so
    p = min(1, 2 P(X <= min(only_first, only_second))) with X ~ Binomial(n, 1/2).

    Args:
        only_first: Samples that only the first model got right.
        only_second: Samples that only the second got right.
    """
    n, few = only_first + only_second, min(only_first, only_second)
    # Logarithms, as binomial coefficients of thousands overflow a float.
    logs = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2)
        for k in range(few + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(value) for value in logs))


def drop_interval(lost: int, won: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of a drop in top-1 between paired answers, in percentage points.

    Of the lost + won samples that only one of two models got right, the part that was lost has a
    Clopper-Pearson interval; the drop is (lost - won) / total. The interval leaves 0 out exactly
    when `mcnemar_p` is at most 0.05. Source: C. J. Clopper and E. S. Pearson, "The Use of
    Confidence or Fiducial Limits", Biometrika 26 (1934).

    Args:
        lost: Samples that only the first model got right.
        won: Samples that only the second got right.
        total: All samples, at least 1.
    """
    differing = lost + won
    low = _smallest_part(lost, differing)
    high = 1 - _smallest_part(won, differing)
    scale = 100 * differing / total
    return scale * (2 * low - 1), scale * (2 * high - 1)


def _smallest_part(successes: int, total: int) -> float:
    """Return the smallest p for which ``successes`` or more of ``total`` are not below 2.5 %."""
    if successes == 0:
        return 0.0
    counts = np.arange(successes, total + 1)
    ways = np.array(
        [math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) for k in counts]
    )
    low, high = 0.0, 1.0
    for _ in range(50):
        p = (low + high) / 2
        chance = np.exp(ways + counts * math.log(p) + (total - counts) * math.log1p(-p)).sum()
        low, high = (p, high) if chance < 0.025 else (low, p)
    return low
