"""Collectors: the range of one activation, from batches that are not kept.

A collector holds a fixed number of values, however many samples it sees.
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from toolkit.quantization import thresholds
from toolkit.quantization.recipe import Activations, Calibration

Range = tuple[float, float]
"""Smallest and largest value that the integers must represent."""
Array = npt.NDArray[Any]

BINS = 4096


class Collector(Protocol):
    """Sees batches of one activation and tells its range."""

    def update(self, values: Array) -> None:
        """Take in the values of some samples, [n, ...]."""

    def range(self) -> Range:
        """Return the range of what was seen so far."""


class MinMax:
    """The smallest and the largest value."""

    def __init__(self) -> None:
        self._low, self._high = np.inf, -np.inf

    def update(self, values: Array) -> None:
        """Take in the values of some samples, [n, ...]."""
        self._low = min(self._low, float(values.min()))
        self._high = max(self._high, float(values.max()))

    def range(self) -> Range:
        """Return the range of what was seen so far."""
        return self._low, self._high


class MovingAverage:
    """The mean over samples of each sample's smallest and largest value.

    A single odd sample widens the range by its share alone. Unlike an exponential average the
    result depends neither on the order of the samples nor on the batch size.
    """

    def __init__(self) -> None:
        self._low = self._high = 0.0
        self._count = 0

    def update(self, values: Array) -> None:
        """Take in the values of some samples, [n, ...]."""
        samples = values.reshape(len(values), -1)
        self._low += float(samples.min(axis=1).sum(dtype=np.float64))
        self._high += float(samples.max(axis=1).sum(dtype=np.float64))
        self._count += len(samples)

    def range(self) -> Range:
        """Return the range of what was seen so far."""
        return self._low / self._count, self._high / self._count


class Histogram:
    """How often each value occurs, in a fixed number of bins.

    The bins span [-reach, reach]. A value beyond that doubles the reach: two neighbouring bins
    become one, which is exact, so that one pass over the data is enough.

    Attributes:
        counts: Occurrences, int64 [BINS].
        reach: Largest magnitude that the bins cover.
        low: Smallest value seen.
        high: Largest value seen.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)
        self.reach = 0.0
        self.low, self.high = np.inf, -np.inf

    def update(self, values: Array) -> None:
        """Take in the values of some samples, [n, ...]."""
        flat = values.ravel()
        low, high = float(flat.min()), float(flat.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._widen(max(-low, high))
        if self.reach == 0.0:  # nothing but zeros so far
            self.counts[BINS // 2] += flat.size
            return
        scaled = (flat.astype(np.float64) / self.reach + 1) * (BINS / 2)
        bins = np.minimum(scaled.astype(np.int64), BINS - 1)
        self.counts += np.bincount(bins, minlength=BINS)

    def _widen(self, magnitude: float) -> None:
        if self.reach == 0.0:
            self.reach = magnitude
        while magnitude > self.reach:
            pairs = self.counts.reshape(-1, 2).sum(axis=1)
            quarter = BINS // 4
            self.counts = np.zeros(BINS, np.int64)
            self.counts[quarter : quarter + BINS // 2] = pairs
            self.reach *= 2

    @property
    def centers(self) -> npt.NDArray[np.float64]:
        """The middle of each bin, [BINS]."""
        return (np.arange(BINS, dtype=np.float64) + 0.5) * (2 * self.reach / BINS) - self.reach


class _Clipped(Histogram):
    """A histogram whose range is where a method says that the rest may be cut off."""

    def __init__(self, calibration: Calibration, activations: Activations) -> None:
        super().__init__()
        self._calibration = calibration
        self._activations = activations

    def range(self) -> Range:
        """Return the range of what was seen so far."""
        if not self.low < self.high:
            return self.low, self.high
        full = (self.low, self.high)
        if self._calibration.method == "percentile":
            return thresholds.percentile(
                self.counts, self.centers, full, self._calibration.percentile
            )
        if self._calibration.method == "entropy":
            return thresholds.entropy(self.counts, self.centers, full)
        return thresholds.least_squares(
            self.counts, self.centers, full, symmetric=self._activations.symmetric
        )


def new_collector(calibration: Calibration, activations: Activations) -> Collector:
    """Return an empty collector for a calibration method."""
    if calibration.method == "minmax":
        return MinMax()
    if calibration.method == "moving_average":
        return MovingAverage()
    return _Clipped(calibration, activations)
