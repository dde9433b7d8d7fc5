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
from toolkit.measuring import environment, latency
from toolkit.measuring.cold_start import cold_start
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
    """Return the outputs of models on inputs.

    ``options["feeds"]`` has one object per model, from input name to array name; ``"batch"`` is
    the number of samples per run where the model leaves it open. The results are named
    "<model's index>/<output's name>".
    """
    results: Arrays = {}
    for index, (path, names) in enumerate(zip(models, options["feeds"], strict=True)):
        session = create_session(
            path, provider=options["provider"], optimize=options["optimize"]
        )
        feeds = {name: arrays[array] for name, array in names.items()}
        outputs = [output.name for output in session.get_outputs()]
        for name, values in zip(
            outputs, _in_pieces(session, outputs, feeds, options["batch"]), strict=True
        ):
            results[f"{index}/{name}"] = values
    return {}, results


def measure(models: Sequence[str], arrays: Arrays, options: dict[str, Any]) -> Answer:
    """Return the times of models against each other, in interleaved rounds.

    ``options``: ``feeds`` as for `infer`, ``threads``, ``provider``, ``rounds``, ``max_seconds``
    and ``cold_starts`` (processes per model that measure load time and memory). The results hold
    for each model "<index>/latencies_ns" of all calls, and per round "<index>/calls",
    "<index>/cpu_ns" and "<index>/load_ns".
    """
    before = sensors.read()
    openers = {
        str(index): _opener(path, {name: arrays[array] for name, array in names.items()}, options)
        for index, (path, names) in enumerate(zip(models, options["feeds"], strict=True))
    }
    timings = latency.measure(
        openers, rounds=options["rounds"], max_seconds=options["max_seconds"]
    )
    results: Arrays = {}
    for name, blocks in timings.blocks.items():
        results[f"{name}/latencies_ns"] = timings.latencies_ns(name)
        results[f"{name}/calls"] = np.array([len(block.latencies_ns) for block in blocks])
        results[f"{name}/cpu_ns"] = np.array([block.cpu_ns for block in blocks])
        results[f"{name}/load_ns"] = np.array([block.load_ns for block in blocks])
    starts = [
        [_cold_start(path, names, arrays, options) for _ in range(options["cold_starts"])]
        for path, names in zip(models, options["feeds"], strict=True)
    ]
    return {
        "seconds": timings.seconds,
        "warmup_calls": [timings.warmup_calls[str(index)] for index in range(len(models))],
        "cold_starts": starts,
        "before": before,
        "after": sensors.read(),
    }, results


FUNCTIONS: dict[str, Callable[[Sequence[str], Arrays, dict[str, Any]], Answer]] = {
    "describe": describe,
    "infer": infer,
    "measure": measure,
}


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


def _opener(path: str, feeds: Arrays, options: dict[str, Any]) -> latency.Open:
    def open_model() -> latency.Call:
        session = create_session(path, provider=options["provider"], threads=options["threads"])
        outputs = [output.name for output in session.get_outputs()]
        copies = {name: values.copy() for name, values in feeds.items()}
        return lambda: session.run(outputs, copies)

    return open_model


def _cold_start(
    path: str, names: dict[str, str], arrays: Arrays, options: dict[str, Any]
) -> dict[str, Any]:
    shapes = {name: (str(arrays[a].dtype), arrays[a].shape) for name, a in names.items()}
    start = cold_start(
        Path(path), shapes, provider=options["provider"], threads=options["threads"]
    )
    return dataclasses.asdict(start)
