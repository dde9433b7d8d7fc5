import itertools

import numpy as np
import pytest

from toolkit.quantization import thresholds
from toolkit.quantization.ranges import BINS, Histogram, MinMax, MovingAverage, new_collector
from toolkit.quantization.recipe import Activations, Calibration, RangeMethod


def filled(values: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.update(values)
    return histogram


def normal(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 1)).astype(np.float32)


def test_minmax_is_the_smallest_and_the_largest_value() -> None:
    collector = MinMax()
    for values in ([[1.0, -2.0]], [[0.5, 3.0]]):
        collector.update(np.array(values, np.float32))
    assert collector.range() == (-2.0, 3.0)


def test_moving_average_is_the_mean_of_each_samples_ends() -> None:
    collector = MovingAverage()
    collector.update(np.array([[0, 1], [-1, 2]], np.float32))
    collector.update(np.array([[-2, 9]], np.float32))
    assert collector.range() == (-1.0, 4.0)


@pytest.mark.parametrize("method", ["minmax", "moving_average", "percentile", "entropy", "mse"])
def test_a_range_depends_little_on_the_size_of_the_batches(method: RangeMethod) -> None:
    values = np.random.default_rng(1).normal(size=(600, 40)).astype(np.float32)
    found = []
    for size in (600, 60, 7):
        collector = new_collector(Calibration(method=method), Activations())
        for start in range(0, 600, size):
            collector.update(values[start : start + size])
        found.append(collector.range())
    tolerance = 1e-6 if method in ("minmax", "moving_average") else 0.15
    for one, other in itertools.pairwise(found):
        assert one == pytest.approx(other, rel=tolerance)


def test_a_histogram_widens_without_losing_counts() -> None:
    histogram = Histogram()
    for magnitude in (0.0, 0.001, 1.0, 50.0):
        histogram.update(np.full((10, 3), magnitude, np.float32))
        histogram.update(np.full((10, 3), -magnitude, np.float32))
    assert histogram.counts.sum() == 240
    assert len(histogram.counts) == BINS
    assert histogram.reach >= 50
    assert (histogram.low, histogram.high) == (-50.0, 50.0)


def test_a_histogram_widened_by_doubling_equals_one_made_at_once() -> None:
    values = normal(5000)
    grown = Histogram()
    grown.update(np.full((1, 1), 0.01, np.float32))
    grown.update(values)
    once = Histogram()
    once.reach = grown.reach
    once.update(np.full((1, 1), 0.01, np.float32))
    once.update(values)
    assert np.abs(np.cumsum(grown.counts) - np.cumsum(once.counts)).max() <= 1


def test_percentile_cuts_both_tails_alike() -> None:
    histogram = filled(normal(200_000))
    low, high = thresholds.percentile(
        histogram.counts, histogram.centers, (histogram.low, histogram.high), 99.0
    )
    # 0.5 % of a normal distribution lies beyond 2.576 on either side.
    assert (low, high) == pytest.approx((-2.576, 2.576), abs=0.05)


def test_percentile_cuts_the_far_end_of_values_of_one_sign() -> None:
    histogram = filled(np.abs(normal(200_000)))
    low, high = thresholds.percentile(
        histogram.counts, histogram.centers, (histogram.low, histogram.high), 99.0
    )
    assert low == histogram.low
    assert high == pytest.approx(2.576, abs=0.05)


# Least squares keeps it: of 100,000 values one error of 360 weighs more than all roundings.
@pytest.mark.parametrize("method", ["percentile", "entropy"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_single_outlier_does_not_decide_the_range(method: RangeMethod, sign: int) -> None:
    collector = new_collector(Calibration(method=method), Activations())
    collector.update(normal(100_000))
    collector.update(np.full((1, 1), sign * 400.0, np.float32))
    low, high = collector.range()
    assert max(-low, high) < 40


@pytest.mark.parametrize("method", ["percentile", "entropy", "mse"])
def test_ranges_of_relu_outputs_start_at_zero(method: RangeMethod) -> None:
    collector = new_collector(Calibration(method=method), Activations())
    collector.update(np.maximum(normal(50_000), 0))
    low, high = collector.range()
    assert low == 0
    assert 2 < high < 5


@pytest.mark.parametrize("method", ["percentile", "entropy", "mse"])
@pytest.mark.parametrize("value", [0.0, 2.5, -2.5])
def test_a_constant_activation_has_its_value_as_range(method: RangeMethod, value: float) -> None:
    collector = new_collector(Calibration(method=method), Activations())
    collector.update(np.full((4, 4), value, np.float32))
    low, high = collector.range()
    assert min(low, 0) == min(value, 0)
    assert max(high, 0) == max(value, 0)


def test_least_squares_is_no_worse_than_any_narrower_or_wider_range() -> None:
    values = np.concatenate([normal(20_000).ravel(), np.array([30.0], np.float32)])
    histogram = filled(values[:, None])
    full = (histogram.low, histogram.high)
    low, high = thresholds.least_squares(histogram.counts, histogram.centers, full, symmetric=False)

    def error(ends: tuple[float, float]) -> float:
        scale = (ends[1] - ends[0]) / 255
        codes = np.clip(np.rint(values / scale) + np.rint(-ends[0] / scale), 0, 255)
        return float(np.sum((values - (codes - np.rint(-ends[0] / scale)) * scale) ** 2))

    assert error((low, high)) < error(full)
    for factor in (0.5, 0.8, 1.25):
        assert error((low, high)) <= error((low * factor, high * factor))


def test_symmetric_least_squares_gives_a_symmetric_range() -> None:
    collector = new_collector(Calibration(method="mse"), Activations(symmetric=True))
    collector.update(normal(10_000) + 1)
    low, high = collector.range()
    assert low == -high
