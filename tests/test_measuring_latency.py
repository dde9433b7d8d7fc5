import time

import numpy as np
import pytest

from toolkit.measuring.latency import Block, Timings, measure, time_calls, warm_up


def spin(seconds):
    def call():
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            pass

    return call


def test_every_round_opens_each_model_once_in_varying_order():
    opened = []

    def opener(name):
        def open_model():
            opened.append(name)
            return spin(20e-6)

        return open_model

    timings = measure(
        {name: opener(name) for name in "ab"}, rounds=20, max_seconds=30, block_seconds=2e-4
    )
    rounds = [tuple(opened[index : index + 2]) for index in range(2, len(opened), 2)]
    assert timings.rounds == len(rounds) == 20
    assert set(rounds) == {("a", "b"), ("b", "a")}


def test_one_session_is_alive_at_a_time():
    alive = set()

    class Session:
        def __init__(self, name):
            alive.add(name)
            self.name = name
            assert len(alive) == 1

        def __call__(self):
            pass

        def __del__(self):
            alive.discard(self.name)

    measure(
        {"a": lambda: Session("a"), "b": lambda: Session("b")},
        rounds=6,
        max_seconds=30,
        block_seconds=1e-4,
    )


def test_a_slower_model_has_the_larger_ratio():
    timings = measure(
        {"fast": lambda: spin(50e-6), "slow": lambda: spin(150e-6)},
        rounds=6,
        max_seconds=30,
        block_seconds=1e-3,
    )
    assert np.exp(np.median(timings.log_ratios("slow", "fast"))) == pytest.approx(3, rel=0.3)
    assert len(timings.latencies_ns("slow")) >= 6 * 3


def test_time_runs_out_but_never_before_an_interval_is_possible():
    timings = measure(
        {"a": lambda: spin(1e-4)}, rounds=10_000, max_seconds=0.01, block_seconds=3e-4
    )
    assert 6 <= timings.rounds < 10_000


def test_more_rounds_run_until_they_are_enough():
    asked = []

    def enough(timings):
        asked.append(timings.rounds)
        return len(asked) == 3

    timings = measure(
        {"a": lambda: spin(1e-5)}, rounds=6, max_seconds=30, block_seconds=1e-4, enough=enough
    )
    assert asked == [6, 9, 14]
    assert (timings.rounds, timings.looks) == (14, 3)


def test_too_few_rounds_are_refused():
    with pytest.raises(ValueError, match="at least 6"):
        measure({}, rounds=5, max_seconds=1)


def test_warm_up_goes_on_while_calls_get_faster():
    times = iter([3e-3, 2e-3, 1e-3, 5e-4, *[1e-4] * 1000])
    count, latency_ns = warm_up(lambda: spin(next(times))())
    assert count > 5
    assert 1e5 <= latency_ns < 5e5


def test_garbage_collection_is_on_again_after_an_error():
    import gc

    def fail():
        raise RuntimeError

    with pytest.raises(RuntimeError):
        time_calls(fail, 1)
    assert gc.isenabled()


def test_blocks_are_joined_in_the_order_of_the_rounds():
    blocks = [Block(np.array([1, 2, 9]), 5, 1), Block(np.array([4, 4, 5]), 5, 1)]
    timings = Timings({"a": blocks}, {"a": 1})
    assert timings.latencies_ns("a").tolist() == [1, 2, 9, 4, 4, 5]
    assert timings.medians_ns("a").tolist() == [2, 4]
