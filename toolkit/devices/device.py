"""A device: a machine on which models run, and what it says of itself."""

import abc
import dataclasses
import io
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from toolkit import errors
from toolkit.devices import messages
from toolkit.devices.kernels import Int8Kernels, int8_kernels
from toolkit.errors import DeviceError
from toolkit.measuring.cold_start import ColdStart
from toolkit.measuring.latency import Block, Timings

Array = npt.NDArray[Any]
Feeds = Mapping[str, Array]

BATCH = 64  # samples per run where a model leaves it open


@dataclass(frozen=True)
class Description:
    """What a device is; None where its system does not tell.

    Attributes:
        spec: How it was opened.
        emulated: Whether its CPU is played by qemu: answers are real, times are not.
        temperature_c: Of the hottest sensor.
        frequency_mhz: Of the fastest core, now.
        throttled: Why the CPU is or was slowed down; empty when it was not.
    """

    spec: str
    emulated: bool
    board: str | None
    cpu: str
    cpu_features: tuple[str, ...]
    machine: str
    cores: int
    memory_mib: int | None
    system: str
    python: str
    numpy: str
    onnxruntime: str
    providers: tuple[str, ...]
    temperature_c: float | None
    frequency_mhz: float | None
    throttled: tuple[str, ...] | None
    governor: str | None

    @property
    def int8(self) -> Int8Kernels:
        """How onnxruntime computes int8 there."""
        return int8_kernels(self.cpu_features)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": "toolkit.device/1",
            **dataclasses.asdict(self),
            "int8": dataclasses.asdict(self.int8),
        }


@dataclass(frozen=True)
class Inferred:
    """What `Device.infer` brings back.

    Attributes:
        outputs: For each model its outputs, name to array [N, ...].
        device: What they were computed on.
    """

    outputs: tuple[dict[str, Array], ...]
    device: Description


@dataclass(frozen=True)
class Run:
    """One model to time, with the inputs of one call.

    Attributes:
        path: The model.
        feeds: Its inputs, as the graph takes them.
        provider: As `toolkit.runtime.session.create_session` takes it.
        threads: The same.
    """

    path: Path
    feeds: Feeds
    provider: str = "cpu"
    threads: int | None = 1


@dataclass(frozen=True)
class Measured:
    """What `Device.measure` brings back; models have the names that it was given.

    Attributes:
        timings: All rounds of all models.
        cold_starts: Import, load, first run and memory of each model, one entry per process.
        runtime: The same of numpy and onnxruntime without a model.
        environment: What it ran on, see `toolkit.measuring.environment.describe`.
        notices: What disturbed it there, in sentences.
        before: Temperature, frequency and throttling when it began, see `sensors.read`.
        after: The same at the end.
    """

    timings: Timings
    cold_starts: Mapping[str, tuple[ColdStart, ...]]
    runtime: tuple[ColdStart, ...]
    environment: Mapping[str, Any]
    notices: tuple[str, ...]
    before: Mapping[str, Any]
    after: Mapping[str, Any]


@dataclass(frozen=True)
class Reply:
    """What the runner's process left: its output, its messages, and how it ended."""

    output: bytes
    messages: str
    status: int


class Device(abc.ABC):
    """A machine that runs jobs; a context manager that lets go of it at the end.

    Attributes:
        spec: What `open_device` was given, without anything secret.
        emulated: Whether times measured there mean nothing.
    """

    emulated = False

    def __init__(self, spec: str) -> None:
        self.spec = spec

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027 - most devices have nothing to let go of
        """Let go of the device; nothing of a run is left there."""

    def describe(self) -> Description:
        """Ask the device what it is.

        Raises:
            DeviceError: It cannot be reached, or lacks what is needed.
            MissingPackageError: numpy or onnxruntime is not installed there.
        """
        found, _ = self._run("describe", (), {}, {})
        return self._described(found)

    def infer(
        self,
        runs: Sequence[tuple[Path, Feeds]],
        *,
        batch: int = BATCH,
        provider: str = "cpu",
        threads: int | None = None,
        optimize: bool = True,
        exact: bool = False,
    ) -> Inferred:
        """Run models on inputs, all in one process.

        Args:
            runs: Models and their inputs, name to array [N, ...] as the graph takes it. An array
                that several models share travels once.
            batch: Samples per run; a model with a fixed batch size gets that.
            provider: As `toolkit.runtime.session.create_session` takes it.
            threads: The same; an emulated CPU has one.
            optimize: Whether onnxruntime may rewrite the graph.
            exact: Whether x86 CPUs whose int8 sums saturate shall take slower kernels that do
                not (session option ``session.x64quantprecision``): for reference answers.

        Raises:
            ModelError: A model does not load there; the message says which opset or IR version
                its onnxruntime reads.
            DeviceError: The device cannot be reached, or the run failed.
        """
        arrays, feeds = _shared([inputs for _, inputs in runs])
        options = {
            "feeds": feeds,
            "batch": batch,
            "provider": provider,
            # Threads that spin while they wait take the time that emulation needs.
            "threads": 1 if self.emulated else threads,
            "optimize": optimize,
            "exact": exact,
        }
        found, results = self._run("infer", [path for path, _ in runs], arrays, options)
        outputs: list[dict[str, Array]] = [{} for _ in runs]
        for name, values in results.items():
            index, _, output = name.partition("/")
            outputs[int(index)][output] = values
        return Inferred(tuple(outputs), self._described(found))

    def measure(
        self,
        runs: Mapping[str, Run],
        *,
        rounds: int,
        max_seconds: float,
        cold_starts: int = 3,
        seed: int = 0,
    ) -> Measured:
        """Time models against each other on the device, in interleaved rounds.

        Args:
            runs: What to time, by name.
            rounds: See `toolkit.measuring.latency.measure`.
            max_seconds: The same.
            cold_starts: Processes per model that measure load time and memory.
            seed: Of the order of the models in each round.

        Raises:
            DeviceError: The device is emulated, cannot be reached, or the run failed.
            ModelError: A model does not load there.
        """
        if self.emulated:
            raise DeviceError(
                f"'{self.spec}' is emulated: its times say nothing about that CPU. Measure on a "
                "real one over ssh://user@host, or on this machine (local)."
            )
        arrays, feeds = _shared([run.feeds for run in runs.values()])
        options = {
            "runs": [
                {"feeds": names, "provider": run.provider, "threads": run.threads}
                for names, run in zip(feeds, runs.values(), strict=True)
            ],
            "rounds": rounds,
            "max_seconds": max_seconds,
            "cold_starts": cold_starts,
            "seed": seed,
        }
        found, results = self._run("measure", [run.path for run in runs.values()], arrays, options)
        *starts, bare = [
            tuple(ColdStart(**start) for start in each) for each in found["cold_starts"]
        ]
        return Measured(
            timings=Timings(
                blocks={name: _blocks(results, index) for index, name in enumerate(runs)},
                warmup_calls=dict(zip(runs, found["warmup_calls"], strict=True)),
            ),
            cold_starts=dict(zip(runs, starts, strict=True)),
            runtime=bare,
            environment=found["environment"],
            notices=tuple(found["notices"]),
            before=found["before"],
            after=found["after"],
        )

    def _described(self, found: Mapping[str, Any]) -> Description:
        """Return the description that `work.describe` gave."""
        fields = {field.name for field in dataclasses.fields(Description)}
        known: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in found.items()
            if name in fields
        }
        return Description(spec=self.spec, emulated=self.emulated, **known)

    @abc.abstractmethod
    def _place(self, models: Sequence[Path]) -> list[str]:
        """Bring models to the device; return their paths there."""

    @abc.abstractmethod
    def _exchange(self, job: bytes) -> Reply:
        """Start the runner on the device, give it a job, and return what it left."""

    @abc.abstractmethod
    def _remedy(self) -> str:
        """Say how a missing package gets onto the device."""

    def _run(
        self, function: str, models: Sequence[Path], arrays: Feeds, options: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """Run a function of `toolkit.devices.work` there."""
        places = self._place(models)
        document = {"function": function, "models": places, "options": options}
        reply = self._exchange(messages.pack(document, arrays))
        stream = io.BytesIO(reply.output)
        try:
            answer = messages.read_document(stream)
        except (EOFError, ValueError):
            raise self._failure(reply) from None
        if "error" in answer:
            raise self._refusal(answer, dict(zip(places, models, strict=True)))
        return answer["answer"], messages.read_arrays(stream)

    def _refusal(
        self, answer: Mapping[str, str], models: Mapping[str, Path]
    ) -> errors.ToolkitError:
        message = answer["message"]
        # The device knows a model by the place where it was put.
        for place, path in models.items():
            message = message.replace(f"'{place}'", f"'{path}'")
        message = f"On '{self.spec}': {message}"
        if answer["error"] == "MissingPackageError":
            message = f"{message}; {self._remedy()}"
        kind: type[errors.ToolkitError] = getattr(errors, answer["error"], DeviceError)
        return kind(message if message.endswith((".", ")")) else f"{message}.")

    def _failure(self, reply: Reply) -> Exception:
        """Return the error for a runner that ended without an answer."""
        lines = reply.messages.strip().splitlines()
        last = lines[-1].strip() if lines else "it said nothing"
        number = -reply.status if reply.status < 0 else reply.status - 128
        if number in signal.valid_signals():
            name = signal.Signals(number).name
            hint = " (out of memory?)" if name == "SIGKILL" else ""
            return DeviceError(f"'{self.spec}': the run was ended by {name}{hint}.")
        if "Traceback" not in reply.messages or last.startswith(("MemoryError", "OSError")):
            return DeviceError(f"'{self.spec}': the run failed with {reply.status}: {last[:300]}")
        return RuntimeError(f"a bug in what ran on '{self.spec}':\n{reply.messages}")


def _shared(feeds: Sequence[Feeds]) -> tuple[dict[str, Array], list[dict[str, str]]]:
    """Return the distinct arrays by a short name, and each model's inputs by these names."""
    names: dict[int, str] = {}
    arrays: dict[str, Array] = {}
    for inputs in feeds:
        for array in inputs.values():
            if id(array) not in names:
                names[id(array)] = name = f"a{len(names)}"
                arrays[name] = np.ascontiguousarray(array)
    return arrays, [{name: names[id(array)] for name, array in each.items()} for each in feeds]


def _blocks(results: Mapping[str, Array], index: int) -> list[Block]:
    calls = results[f"{index}/calls"]
    latencies = np.split(results[f"{index}/latencies_ns"], np.cumsum(calls)[:-1])
    cpu, load = results[f"{index}/cpu_ns"], results[f"{index}/load_ns"]
    return [
        Block(times, int(cpu_ns), int(load_ns))
        for times, cpu_ns, load_ns in zip(latencies, cpu, load, strict=True)
    ]
