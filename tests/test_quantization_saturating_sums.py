"""Products of bytes with sums of 16 bits."""

import numpy as np
import pytest

from toolkit.quantization.saturating_sums import SAFE_PAIR, Weights


def naive(rows: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exact sums, saturated sums, and how many pairs were clipped in each row."""
    exact = rows.astype(int) @ weights.astype(int)
    saturated, clipped = np.zeros_like(exact), np.zeros(len(rows), int)
    for k in range(0, rows.shape[1], 2):
        pair = rows[:, k : k + 2].astype(int) @ weights[k : k + 2].astype(int)
        within = np.clip(pair, -32768, 32767)
        saturated += within
        clipped += np.count_nonzero(pair != within, axis=1)
    return exact, saturated, clipped


@pytest.mark.parametrize(
    ("rows", "reach", "columns"), [(1, 64, 8), (7, 33, 5), (300, 18, 64), (40, 1, 3), (2, 2000, 40)]
)
def test_clipped_sums_are_those_of_the_definition(rows, reach, columns):
    random = np.random.default_rng(reach)
    values = random.integers(0, 256, (rows, reach), dtype=np.uint8)
    weights = random.integers(-128, 128, (reach, columns)).astype(np.int8)
    exact, saturated, clipped = naive(values, weights)
    found = Weights(weights).clip(values)
    assert np.array_equal(found.pairs, clipped)
    where = np.argwhere(exact != saturated)
    assert sorted(zip(found.rows, found.columns, strict=True)) == list(map(tuple, where.tolist()))
    assert np.array_equal(found.exact, exact[found.rows, found.columns])
    assert np.array_equal(found.saturated, saturated[found.rows, found.columns])


def test_blocks_of_rows_join(monkeypatch):
    from toolkit.quantization import saturating_sums

    random = np.random.default_rng(1)
    values = random.integers(0, 256, (50, 20), dtype=np.uint8)
    weights = Weights(random.integers(-128, 128, (20, 9)).astype(np.int8))
    whole = weights.clip(values)
    monkeypatch.setattr(saturating_sums, "_BLOCK", 40)
    parts = weights.clip(values)
    assert np.array_equal(parts.pairs, whole.pairs)
    assert set(zip(parts.rows, parts.columns, parts.saturated, strict=True)) == set(
        zip(whole.rows, whole.columns, whole.saturated, strict=True)
    )


@pytest.mark.parametrize(("one", "other"), [(127, 1), (64, 64), (-128, 0), (-64, -64), (127, -128)])
def test_pairs_up_to_the_safe_one_never_clip(one, other):
    weights = Weights(np.array([[one], [other]], np.int8))
    assert weights.largest_pair_sums[0] <= SAFE_PAIR
    every = np.stack(np.meshgrid(np.arange(256), np.arange(256)), axis=-1).reshape(-1, 2)
    _, _, clipped = naive(every.astype(np.uint8), np.array([[one], [other]]))
    assert not clipped.any()


@pytest.mark.parametrize(("one", "other"), [(127, 2), (65, 64), (-128, -1), (-65, -64)])
def test_pairs_above_the_safe_one_clip_on_the_brightest(one, other):
    weights = Weights(np.array([[one], [other]], np.int8))
    assert weights.largest_pair_sums[0] > SAFE_PAIR
    found = weights.clip(np.full((1, 2), 255, np.uint8))
    assert found.pairs.tolist() == [1]
    assert found.exact[0] == 255 * (one + other)
    assert found.saturated[0] == (32767 if one > 0 else -32768)


def test_sums_that_clip_both_ways_nearly_cancel():
    weights = Weights(np.array([[127], [127], [-127], [-127]], np.int8))
    found = weights.clip(np.array([[255, 255, 255, 255]], np.uint8))
    assert found.pairs.tolist() == [2]
    # 16 bits reach one further down than up.
    assert (found.exact[0], found.saturated[0]) == (0, -1)
