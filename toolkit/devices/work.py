"""What can be done on a device: describe it, run models on inputs, time models. Travels there.

Each function takes the models' paths as the device sees them, named arrays and options from JSON,
and returns a JSON document and named arrays.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.devices import sensors
from toolkit.errors import DataError
from toolkit.measuring import environment, latency, noise
from toolkit.measuring.cold_start import ColdStart, cold_start
from toolkit.runtime.session import create_session, import_onnxruntime

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
Answer = tuple[dict[str, Any], Arrays]


def describe(models: Sequence[str], arrays: Arrays, options: dict[str, Any]) -> Answer:
    """Return what the device is: processor, memory, versions, providers, temperature."""
    return {
        **environment.describe(),
        "providers": import_onnxruntime().get_available_providers(),
        "memory_mib": sensors.memory_mib(),
        "board": sensors.board(),
        **sensors.read(),
    }, {}


def infer(models: Sequence[str], arrays: Arrays, options: dict[str, Any]) -> Answer:
    """Return what the device is, and the outputs of models on inputs.

    ``options["feeds"]`` has one object per model, from input name to array name; ``"batch"`` is
    the number of samples per run where the model leaves it open; ``"exact"`` is explained at
    `Device.infer`. The results are named "<model's index>/<output's name>".
    """
    results: Arrays = {}
    for index, (path, names) in enumerate(zip(models, options["feeds"], strict=True)):
        session = create_session(
            path,
            provider=options["provider"],
            threads=options["threads"],
            optimize=options["optimize"],
            configure=_compute_exactly if options["exact"] else None,
        )
        feeds = {name: arrays[array] for name, array in names.items()}
        outputs = [output.name for output in session.get_outputs()]
        try:
            answers = _in_pieces(session, outputs, feeds, options["batch"])
        # onnxruntime's exceptions share no base class below Exception.
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise DataError(f"'{path}' could not run: {reason}") from error
        results |= {f"{index}/{name}": each for name, each in zip(outputs, answers, strict=True)}
    return describe((), {}, {})[0], results


def measure(models: Sequence[str], arrays: Arrays, options: dict[str, Any]) -> Answer:
    """Return the times of models against each other, in interleaved rounds.

    ``options["runs"]`` has one object per model: ``feeds`` as for `infer`, ``provider`` and
    ``threads``; beside it stand ``rounds``, ``max_seconds``, ``seed`` and ``cold_starts``
    (processes per model that measure load time and memory; one more set is without a model). The
    results hold for each model "<index>/latencies_ns" of all calls, and per round
    "<index>/calls", "<index>/cpu_ns" and "<index>/load_ns".
    """
    runs = [
        _Run(path, {name: arrays[array] for name, array in run["feeds"].items()},
             run["provider"], run["threads"])
        for path, run in zip(models, options["runs"], strict=True)
    ]  # fmt: skip
    before, sensed = noise.snapshot(), sensors.read()
    timings = latency.measure(
        {str(index): run.open for index, run in enumerate(runs)},
        rounds=options["rounds"],
        max_seconds=options["max_seconds"],
        seed=options["seed"],
    )
    results: Arrays = {}
    for name, blocks in timings.blocks.items():
        results[f"{name}/latencies_ns"] = timings.latencies_ns(name)
        results[f"{name}/calls"] = np.array([len(block.latencies_ns) for block in blocks])
        results[f"{name}/cpu_ns"] = np.array([block.cpu_ns for block in blocks])
        results[f"{name}/load_ns"] = np.array([block.load_ns for block in blocks])
    answer = {
        "warmup_calls": [timings.warmup_calls[str(index)] for index in range(len(models))],
        "environment": environment.describe(),
        "before": sensed,
        "after": sensors.read(),
        "notices": noise.machine_notices(before, noise.snapshot(), environment.usable_cores()),
    }
    count = range(options["cold_starts"])
    starts = [[run.cold_start() for _ in count] for run in runs]
    starts.append([cold_start(None, {}) for _ in count])
    answer["cold_starts"] = [[dataclasses.asdict(start) for start in each] for each in starts]
    return answer, results


FUNCTIONS: dict[str, Callable[[Sequence[str], Arrays, dict[str, Any]], Answer]] = {
    "describe": describe,
    "infer": infer,
    "measure": measure,
}


def _compute_exactly(session_options: Any) -> None:
    # Kernels with sums of 32 bits in place of those that saturate (AVX2 without VNNI).
    session_options.add_session_config_entry("session.x64quantprecision", "1")


def _in_pieces(session: Any, outputs: list[str], feeds: Arrays, batch: int) -> list[Array]:
    """Run a session on samples [N, ...] piece by piece; a fixed batch size is filled up."""
    size = session.get_inputs()[0].shape[0] if session.get_inputs()[0].shape else batch
    fixed = isinstance(size, int)
    step = size if fixed else batch
    count = len(next(iter(feeds.values())))
    pieces = []
    for start in range(0, count, step):
        part = {name: values[start : start + step] for name, values in feeds.items()}
        missing = step - len(next(iter(part.values()))) if fixed else 0
        if missing:
            part = {
                name: np.concatenate([values, np.repeat(values[-1:], missing, axis=0)])
                for name, values in part.items()
            }
        pieces.append([values[: step - missing] for values in session.run(outputs, part)])
    return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]


@dataclasses.dataclass(frozen=True)
class _Run:
    """One model to time, with the inputs of one call."""

    path: str
    feeds: Arrays
    provider: Any
    threads: int | None

    def open(self) -> latency.Call:
        """Open a session; the call runs it once."""
        session = create_session(self.path, provider=self.provider, threads=self.threads)
        outputs = [output.name for output in session.get_outputs()]
        return lambda: session.run(outputs, self.feeds)

    def cold_start(self) -> ColdStart:
        """Measure load time and memory in a process of its own."""
        shapes = {name: (str(values.dtype), values.shape) for name, values in self.feeds.items()}
        return cold_start(Path(self.path), shapes, provider=self.provider, threads=self.threads)
