"""What tells how fast models run: here, or on any machine that can do these two things."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from toolkit.contract import Contract
from toolkit.measuring import profile as profiling
from toolkit.measuring.environment import describe
from toolkit.measuring.inputs import input_shape, random_input
from toolkit.measuring.latency import Call, Open, Timings, measure, time_calls
from toolkit.measuring.profile import NodeTime
from toolkit.measuring.statistics import Ratio, compare, look_confidence
from toolkit.quantization.samples import Samples
from toolkit.runtime.session import create_session

# Several candidates are compared in one search, and each comparison is looked at more than once.
CONFIDENCE = 0.99
_FIRST_LOOK = 10
_MAX_ROUNDS = 80
_PROFILE_SECONDS = 1.0  # of a large model, fewer calls are profiled
_FEWEST_CALLS, _MOST_CALLS = 4, 100

Feeds = Mapping[str, npt.NDArray[Any]]


class Stopwatch(Protocol):
    """Times models on one machine."""

    def compare(self, candidate: Path, baseline: Path, *, seconds: float) -> Ratio:
        """Return the candidate's time divided by the baseline's, measured side by side.

        Args:
            candidate: A model file.
            baseline: Another for the same task.
            seconds: About how long it may take.
        """

    def nodes(self, model: Path) -> list[NodeTime]:
        """Return the time of each node that runs, in order; empty when it cannot be told."""

    def machine(self) -> dict[str, Any]:
        """Return what it measured on: the CPU, the runtime's version, the threads."""


@dataclass(frozen=True)
class LocalStopwatch:
    """Times models on this machine, in this process.

    Attributes:
        feeds: The tensors of one call, by the input's name.
        threads: Threads inside one operator.
    """

    feeds: Feeds
    threads: int = 1

    def compare(self, candidate: Path, baseline: Path, *, seconds: float) -> Ratio:
        """Return the candidate's time divided by the baseline's; see `Stopwatch.compare`.

        It goes on until the interval leaves 1 out, widened for the repeated looks, or until time
        or rounds are used up.
        """

        def ratio(timings: Timings) -> Ratio:
            confidence = look_confidence(max(timings.looks, 1), CONFIDENCE)
            log_ratios = timings.log_ratios("candidate", "baseline")
            return compare(log_ratios, confidence=confidence)

        def decided(timings: Timings) -> bool:
            return timings.rounds >= _MAX_ROUNDS or ratio(timings).verdict != "no verdict"

        timings = measure(
            {"candidate": self._opener(candidate), "baseline": self._opener(baseline)},
            rounds=_FIRST_LOOK,
            max_seconds=seconds,
            enough=decided,
        )
        return ratio(timings)

    def nodes(self, model: Path) -> list[NodeTime]:
        """Return the time of each node, by onnxruntime's profiler."""
        call = self._opener(model)()
        call()
        seconds = float(time_calls(call, 1)[0]) / 1e9
        calls = int(min(max(_PROFILE_SECONDS / seconds, _FEWEST_CALLS), _MOST_CALLS))
        return profiling.profile(
            model, self.feeds, provider="cpu", threads=self.threads, calls=calls
        )

    def machine(self) -> dict[str, Any]:
        """Return what it measured on."""
        described = describe()
        return {
            "cpu": described["cpu"],
            "onnxruntime": described["onnxruntime"],
            "threads": self.threads,
        }

    def _opener(self, path: Path) -> Open:
        def open_model() -> Call:
            session = create_session(path, provider="cpu", threads=self.threads)
            names = [output.name for output in session.get_outputs()]
            run, feeds = session.run, dict(self.feeds)
            return lambda: run(names, feeds)

        return open_model


def one_call(contract: Contract, samples: Samples | None, name: str) -> dict[str, Any]:
    """Return the tensors of one call: the first samples, or random ones without any.

    Args:
        contract: The model's inputs; a batch that is left open gets one sample.
        samples: What to feed.
        name: What messages call the model.

    Raises:
        ModelError: A size other than the batch is free, and there are no samples to tell it.
    """
    if samples is None:
        return {
            spec.name: random_input(spec, input_shape(spec, _batch(spec.shape), {}, name))
            for spec in contract.inputs
        }
    batch = max(_batch(spec.shape) for spec in contract.inputs)
    return {
        tensor: np.resize(values, (batch, *values.shape[1:]))
        for tensor, values in samples.feed(slice(0, batch)).items()
    }


def _batch(shape: tuple[int | str, ...]) -> int:
    return shape[0] if shape and isinstance(shape[0], int) else 1
