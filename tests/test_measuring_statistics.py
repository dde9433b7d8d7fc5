import math

import numpy as np
import pytest

from toolkit.measuring.statistics import (
    bootstrap,
    compare,
    compare_apart,
    interquartile_mean,
    look_confidence,
)


def test_interquartile_mean_leaves_out_a_quarter_at_either_end():
    rows = np.array([[100.0, 1, 2, 3, 4, 5, 6, -100], [1, 1, 1, 1, 3, 3, 3, 3]])
    assert interquartile_mean(rows).tolist() == [3.5, 2.0]


def test_same_seed_gives_the_same_interval():
    values = np.random.default_rng(0).normal(size=40)
    assert bootstrap(values, seed=3) == bootstrap(values, seed=3)
    assert bootstrap(values, seed=3) != bootstrap(values, seed=4)


@pytest.mark.parametrize(
    ("shift", "verdict"), [(0.0, "no verdict"), (0.05, "slower"), (-0.05, "faster")]
)
def test_verdict_follows_the_interval(shift, verdict):
    noise = np.random.default_rng(0).normal(0, 0.03, 60)
    ratio = compare(noise - noise.mean() + shift)
    assert ratio.verdict == verdict
    assert ratio.low < ratio.value < ratio.high
    assert math.isclose(ratio.value, math.exp(shift), rel_tol=0.01)


def test_every_tenth_round_hit_by_a_rival_does_not_move_the_ratio():
    rng = np.random.default_rng(0)
    values = rng.normal(0.0, 0.01, 100)
    values[::10] += 3.0  # twenty times as long
    assert abs(math.log(compare(values).value)) < 0.01


@pytest.mark.parametrize("rounds", [6, 10, 30, 100])
@pytest.mark.parametrize("noise", ["normal", "heavy tails"])
def test_equal_models_rarely_get_a_verdict(rounds, noise):
    # 95 % intervals: 5 of 100 may err. More than 21 of 200 would happen to an honest one in
    # fewer than 1 of 1,000 tests.
    rng = np.random.default_rng(rounds)
    draw = rng.standard_normal if noise == "normal" else lambda n: rng.standard_t(2, n)
    wrong = sum(
        compare(0.02 * draw(rounds), seed=seed).verdict != "no verdict" for seed in range(200)
    )
    assert wrong <= 21


def test_too_few_rounds_are_refused():
    with pytest.raises(ValueError, match="5 rounds give no interval"):
        compare(np.zeros(5))


def test_the_errors_of_all_looks_sum_to_that_of_one():
    spent = sum(1 - look_confidence(look) for look in range(1, 10_000))
    assert math.isclose(spent, 0.05, rel_tol=1e-3)
    assert look_confidence(1) == pytest.approx(0.975)


def test_measurements_made_apart_are_compared_without_pairs():
    rng = np.random.default_rng(0)
    before, now = rng.normal(0.0, 0.02, 60), rng.normal(0.1, 0.02, 40)
    slower = compare_apart(now, before)
    assert slower.verdict == "slower"
    assert slower.low < np.exp(0.1) < slower.high
    assert compare_apart(rng.normal(0.0, 0.02, 60), before).low < 1.0
    with pytest.raises(ValueError, match="5 rounds"):
        compare_apart(now[:5], before)


def test_equal_measurements_made_apart_seldom_differ():
    rng = np.random.default_rng(1)
    verdicts = [
        compare_apart(rng.normal(0, 0.05, 20), rng.normal(0, 0.05, 20)).verdict for _ in range(100)
    ]
    assert verdicts.count("no verdict") >= 90
