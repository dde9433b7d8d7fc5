"""How long one call of a model takes: warm-up, then interleaved rounds in shuffled order.

A round opens every model anew, warms it up and times a block of calls, in a random order. One
session is alive at a time: the spinning threads and the memory of another cannot disturb it, and
where its weights lie in memory, which alone is worth a percent or two, is drawn again each round.
"""

import dataclasses
import gc
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toolkit.measuring.statistics import MIN_ROUNDS

Call = Callable[[], object]
"""Runs the model once."""
Open = Callable[[], Call]
"""Opens the model with fresh memory; the call keeps it alive."""
Nanoseconds = npt.NDArray[np.int64]

_WARMUP_WINDOW_NS = 1_000_000
_WARMUP_LIMIT_NS = 1_000_000_000
_SETTLED = 0.98  # a window that is not 2 % faster than the best so far tells that it is warm
_PATIENCE = 3
_MIN_CALLS = 3
_MAX_CALLS = 2000


@dataclass(frozen=True)
class Block:
    """What one round measured of one model.

    Attributes:
        latencies_ns: Time of each call, [calls].
        cpu_ns: CPU time of the whole process during the calls, all threads together.
        load_ns: Time that opening took.
    """

    latencies_ns: Nanoseconds
    cpu_ns: int
    load_ns: int

    @property
    def median_ns(self) -> float:
        """The block's median latency."""
        return float(np.median(self.latencies_ns))


@dataclass(frozen=True)
class Timings:
    """All rounds of all models.

    Attributes:
        blocks: One block per round, by name.
        warmup_calls: Calls before each block, by name.
        looks: How often `measure` asked whether the rounds are enough.
    """

    blocks: Mapping[str, list[Block]]
    warmup_calls: Mapping[str, int]
    looks: int = 0

    @property
    def rounds(self) -> int:
        """The number of rounds."""
        return min((len(blocks) for blocks in self.blocks.values()), default=0)

    def latencies_ns(self, name: str) -> Nanoseconds:
        """Return the times of all calls of a model, [calls], in the order of the rounds."""
        return np.concatenate([block.latencies_ns for block in self.blocks[name]])

    def medians_ns(self, name: str) -> npt.NDArray[np.float64]:
        """Return the median of each round, [rounds]."""
        return np.array([block.median_ns for block in self.blocks[name]])

    def without(self, name: str) -> "Timings":
        """Return these timings without those of one model."""
        return dataclasses.replace(
            self,
            blocks={other: blocks for other, blocks in self.blocks.items() if other != name},
            warmup_calls={
                other: calls for other, calls in self.warmup_calls.items() if other != name
            },
        )

    def log_ratios(self, candidate: str, baseline: str) -> npt.NDArray[np.float64]:
        """Return log(candidate / baseline) of the medians of each round, [rounds]."""
        return np.asarray(np.log(self.medians_ns(candidate) / self.medians_ns(baseline)))


def measure(
    models: Mapping[str, Open],
    *,
    rounds: int,
    max_seconds: float,
    block_seconds: float = 0.01,
    seed: int = 0,
    enough: Callable[[Timings], bool] | None = None,
    advance: Callable[[], object] = lambda: None,
) -> Timings:
    """Time models against each other in interleaved rounds.

    Args:
        models: What opens each model, by name.
        rounds: How many rounds to run.
        max_seconds: No round starts later than this, once there are enough for an interval.
        block_seconds: Time for the calls of one model in one round; at least three calls run.
        seed: Of the order of the models in each round.
        enough: Asked after ``rounds``; False runs more rounds, and it is asked again when their
            number has grown by half.
        advance: Called after each round.

    Raises:
        ValueError: ``rounds`` is too small for an interval.
    """
    if rounds < MIN_ROUNDS:
        raise ValueError(f"rounds is {rounds}, it must be at least {MIN_ROUNDS}")
    start = time.perf_counter()
    plans = {name: _plan(opener, block_seconds) for name, opener in models.items()}
    timings = Timings(
        blocks={name: [] for name in models},
        warmup_calls={name: warmup for name, (warmup, _) in plans.items()},
    )
    order = list(models)
    shuffle = random.Random(seed).shuffle  # noqa: S311 - an order of runs, no secret
    next_look = rounds
    while True:
        shuffle(order)
        for name in order:
            timings.blocks[name].append(_block(models[name], *plans[name]))
        advance()
        late = time.perf_counter() - start > max_seconds and timings.rounds >= MIN_ROUNDS
        if late or timings.rounds >= next_look:
            timings = dataclasses.replace(timings, looks=timings.looks + 1)
            if late or enough is None or enough(timings):
                return timings
            next_look += (next_look + 1) // 2


def time_calls(call: Call, count: int) -> Nanoseconds:
    """Return the time of each of ``count`` calls, [count]; garbage collection waits."""
    clock = time.perf_counter_ns
    times = [0] * count
    collecting = gc.isenabled()
    gc.disable()
    try:
        for index in range(count):
            start = clock()
            call()
            times[index] = clock() - start
    finally:
        if collecting:
            gc.enable()
    return np.array(times, np.int64)


def warm_up(call: Call) -> tuple[int, float]:
    """Call until it gets no faster; return the number of calls and the median of the last, in ns.

    Windows of about a millisecond are compared: it is warm when three in a row were not 2 %
    faster than the best before them, or after a second.
    """
    first = int(time_calls(call, 1)[0])
    spent, count = first, 1
    best, last, patience, window = float(first), float(first), _PATIENCE, 1
    while patience and spent < _WARMUP_LIMIT_NS:
        times = time_calls(call, window)
        count, spent, last = count + window, spent + int(times.sum()), float(np.median(times))
        if last < best * _SETTLED:
            patience = _PATIENCE
        else:
            patience -= 1
        best = min(best, last)
        window = int(min(max(_WARMUP_WINDOW_NS / last, 1), 100))
    return count, last


def _plan(opener: Open, block_seconds: float) -> tuple[int, int]:
    """Return how many calls warm the model up and how many make a block."""
    warmup, latency_ns = warm_up(opener())
    calls = round(block_seconds * 1e9 / max(latency_ns, 1.0))
    return warmup, min(max(calls, _MIN_CALLS), _MAX_CALLS)


def _block(opener: Open, warmup: int, calls: int) -> Block:
    start = time.perf_counter_ns()
    call = opener()
    load_ns = time.perf_counter_ns() - start
    time_calls(call, warmup)
    cpu_start = time.process_time_ns()
    latencies = time_calls(call, calls)
    return Block(latencies, time.process_time_ns() - cpu_start, load_ns)
