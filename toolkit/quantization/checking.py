"""What quantization cost: the float and the quantized model on the same samples."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.contract import OutputSpec
from toolkit.errors import DataError
from toolkit.measuring import accuracy
from toolkit.quantization.running import Runner
from toolkit.quantization.samples import Samples
from toolkit.reporting.terminal import progress
from toolkit.runtime.scores import to_probabilities

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Comparison:
    """Two models side by side.

    Attributes:
        samples: How many samples both saw.
        right_float: How many of them the float model got right, or None without labels.
        right_int8: How many the quantized model did.
        agreement: The part of the samples to which both give the same class, or None when the
            output holds no classes.
        sqnr_db: Signal to quantization noise of the output, 10 log10(sum(f^2) / sum((f - q)^2)),
            infinite for equal outputs.
    """

    samples: int
    right_float: int | None
    right_int8: int | None
    agreement: float | None
    sqnr_db: float

    @property
    def top1_float(self) -> float | None:
        """The float model's part of right answers in [0, 1], or None without labels."""
        return None if self.right_float is None else self.right_float / self.samples

    @property
    def top1_int8(self) -> float | None:
        """The quantized model's part of right answers."""
        return None if self.right_int8 is None else self.right_int8 / self.samples

    @property
    def drop(self) -> float | None:
        """What int8 lost, in percentage points; negative when it gained.

        Rounded once, from whole numbers: 5 of 5000 samples are 0.1 points and not a bit more.
        """
        if self.right_float is None or self.right_int8 is None:
            return None
        return 100 * (self.right_float - self.right_int8) / self.samples

    @property
    def figures(self) -> str:
        """What was measured, in words."""
        found = [f"{self.sqnr_db:.1f} dB"]
        if self.agreement is not None:
            found.insert(0, f"{100 * self.agreement:.2f} % agreement")
        if self.drop is not None:
            found.insert(0, f"a drop of {self.drop:.4g} points of top-1")
        return ", ".join(found)


def has_classes(output: OutputSpec) -> bool:
    """Tell whether an output holds a score for each class."""
    return output.kind in ("probabilities", "logits") and len(output.shape) >= 2


def answers(model: Runner, samples: Samples, what: str) -> Array:
    """Return a model's first output for all samples, [N, ...]; ``what`` names the progress bar."""
    with progress(what, len(samples)) as advance:
        return model.run_all(samples, advance)[0]


def compare(expected: Array, found: Array, samples: Samples, output: OutputSpec) -> Comparison:
    """Compare what two models answered to the same samples.

    Args:
        expected: The float model's first output, [N, ...].
        found: The quantized model's.
        samples: What both were fed; their labels count.
        output: What the first output means.

    Raises:
        DataError: A label is no class of the output.
    """
    scores, others = _scores(expected, output), _scores(found, output)
    agreement = right_float = right_int8 = None
    if scores is not None and others is not None:
        agreement = accuracy.agreement(scores, others)
        if samples.labels is not None:
            _check_labels(samples.labels, scores.shape[1])
            right_float = _right(scores, samples.labels)
            right_int8 = _right(others, samples.labels)
    return Comparison(len(samples), right_float, right_int8, agreement, sqnr_db(expected, found))


def sqnr_db(reference: Array, other: Array) -> float:
    """Return the signal to noise ratio of ``other``, in decibels.

    Infinite for equal arrays, minus infinity where NaN or infinity takes the place of a number.
    """
    signal = reference.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        noise = float(np.sum((signal - other.astype(np.float64)) ** 2))
    if not np.isfinite(noise):
        return float("-inf")
    if noise == 0:
        return float("inf")
    power = float(np.sum(signal**2))
    return 10 * float(np.log10(power / noise)) if power else float("-inf")


def _scores(values: Array, output: OutputSpec) -> Array | None:
    """Return one row of scores per sample, or None when the output holds no classes."""
    if not has_classes(output) or values.ndim < 2:
        return None
    rows = values.reshape(len(values), -1)
    return to_probabilities(rows, output.kind) if rows.shape[1] == 1 else rows


def _right(scores: Array, labels: npt.NDArray[np.int64]) -> int:
    return int(np.count_nonzero(accuracy.predicted_classes(scores) == labels))


def _check_labels(labels: npt.NDArray[np.int64], classes: int) -> None:
    highest = int(labels.max())
    if highest >= classes:
        raise DataError(
            f"The labels go up to {highest}, the model has {classes} classes (0 to {classes - 1}). "
            "Give the data that the model was trained for."
        )
