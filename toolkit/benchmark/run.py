"""`bench`: what models cost and how well they answer, measured side by side."""

import dataclasses
import datetime
import itertools
import json as json_format
import random
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar, get_args

from toolkit.benchmark import answers as answering
from toolkit.benchmark import attaching
from toolkit.benchmark.answers import Answers
from toolkit.benchmark.candidates import (
    Candidate,
    Setting,
    candidates,
    find_models,
    open_models,
)
from toolkit.benchmark.figures import (
    Measured,
    assumptions,
    comparison,
    histogram_edges_us,
    pairs,
    variant,
)
from toolkit.benchmark.nodes import side_by_side
from toolkit.benchmark.result import BenchResult
from toolkit.datasets import Split, evaluation_split, load_dataset
from toolkit.errors import OutputError
from toolkit.files import check_output, write_text
from toolkit.measuring import environment, noise
from toolkit.measuring import profile as profiling
from toolkit.measuring.cold_start import ColdStart, cold_start, median
from toolkit.measuring.latency import Call, Open, Timings, measure
from toolkit.measuring.options import Optimization, RuntimeOptions
from toolkit.measuring.profile import NodeTime
from toolkit.measuring.statistics import CONFIDENCE, MIN_ROUNDS, compare, look_confidence
from toolkit.reporting.terminal import progress
from toolkit.runtime import Model
from toolkit.runtime.session import Provider, create_session

_STARTS = 3  # processes per variant for load time and memory

Value = TypeVar("Value", str, int)


def bench(
    models: str | Path | Sequence[str | Path],
    *,
    data: str | Path | None = None,
    provider: Provider | Sequence[Provider] = "cpu",
    threads: int | Sequence[int] = 1,
    batch: int | Sequence[int] = 1,
    size: Mapping[str, int | Sequence[int]] | None = None,
    spinning: bool = True,
    arena: bool = True,
    optimization: Optimization = "all",
    cpus: Sequence[int] | None = None,
    profile: bool = False,
    rounds: int = 100,
    max_time: float = 60.0,
    until_certain: bool = False,
    seed: int = 0,
    json: str | Path | None = None,
    report: str | Path | None = None,
    attach: bool = False,
    force: bool = False,
) -> BenchResult:
    """Compare models in accuracy, latency, memory and size; the first is the baseline.

    Latency is measured in one process, in interleaved rounds (`toolkit.measuring.latency`); load
    time and memory in processes of their own. Several values of ``provider``, ``threads``,
    ``batch`` or a ``size`` measure every combination, and models are compared within each.

    Args:
        models: ONNX files, or names of the zoo.
        data: Dataset to evaluate on; without it inputs are random and accuracy is not measured.
        provider: "cpu", "cuda", "tensorrt" or "auto".
        threads: Threads inside one operator.
        batch: Samples per call.
        size: What symbolic sizes other than the batch are to be, by name.
        spinning: Whether idle threads wait in a busy loop.
        arena: Whether onnxruntime keeps memory from call to call.
        optimization: How far onnxruntime rewrites the graph: "all", "extended", "basic", "none".
        cpus: Cores that the measurement may use; None for all.
        profile: Measure the time of each node as well, after all else.
        rounds: Interleaved rounds, at least 6.
        max_time: Seconds after which no further round of the latency measurement starts.
        until_certain: Go on after ``rounds``, up to ``max_time``, until every verdict is
            "faster" or "slower". The intervals are widened for the repeated looks.
        seed: Of the order of the runs and of the bootstrap.
        json: Where to write the result.
        report: Where to write the HTML page.
        attach: Write the figures into the contracts of the models; their files are replaced.
        force: Replace ``json`` and ``report`` when they are there.

    Raises:
        ModelError: A model is missing or damaged, or two do not do the same task.
        DataError: The data does not fit the models.
        ProviderError: A provider is not there.
        OutputError: ``json`` or ``report`` cannot be written.
        MissingPackageError: onnxruntime is not installed.
        ValueError: A number is out of range, or there is no model.
    """
    started = time.perf_counter()
    settings = _settings(provider, threads, batch, size or {})
    if optimization not in get_args(Optimization):
        raise ValueError(
            f"optimization is {optimization!r}, not one of {', '.join(get_args(Optimization))}"
        )
    options = RuntimeOptions(
        spinning=spinning,
        arena=arena,
        optimization=optimization,
        cpus=None if cpus is None else tuple(cpus),
    )
    if rounds < MIN_ROUNDS:
        raise ValueError(f"rounds is {rounds}, it must be at least {MIN_ROUNDS}")
    if max_time <= 0:
        raise ValueError(f"max_time is {max_time}, it must be above 0")
    if json is not None and report is not None and Path(json) == Path(report):
        raise OutputError(f"'{json}' cannot be both the JSON file and the report; name two files.")
    paths = find_models([models] if isinstance(models, (str, Path)) else models)
    if not paths:
        raise ValueError("there is no model to bench")
    for output in (json, report):
        if output is not None:
            check_output(output, force=force, inputs=paths)
    opened = {setting.provider: open_models(paths, setting.provider) for setting in settings}
    if attach:
        for loaded in opened.values():
            attaching.check_attachable(loaded)
    first = next(iter(opened[settings[0].provider].values())).contract
    dataset = None if data is None else load_dataset(data, first)
    images, split, part = None, None, None
    if dataset is not None:
        contracts = [model.contract for loaded in opened.values() for model in loaded.values()]
        split, part = evaluation_split(dataset, *contracts)
        for loaded in opened.values():
            answering.check_data(dataset, split, loaded)
        images = split.images[slice(0, max(entry.batch for entry in settings))]
    found = candidates(paths, opened, settings, images=images)

    before = noise.snapshot()
    machine = environment.describe()
    answers = {} if split is None else _ask_all(split, opened)
    with options.pinned():
        starts, runtime = _cold_starts(found, options, seed)
        timings = _time_all(found, options, rounds, max_time, seed, until_certain=until_certain)
        nodes = _profiles(found, options) if profile else None
    measured = Measured(
        answers=answers,
        starts=starts,
        runtime=runtime,
        timings=timings,
        confidence=look_confidence(timings.looks) if until_certain else CONFIDENCE,
    )
    edges = histogram_edges_us(timings)
    result = BenchResult(
        variants=[variant(entry, measured, edges) for entry in found],
        comparisons=[
            comparison(entry, baseline, measured, seed) for entry, baseline in pairs(found)
        ],
        data=None if dataset is None else dataset.name,
        part=part,
        samples=None if split is None else len(split),
        rounds=timings.rounds,
        seconds=time.perf_counter() - started,
        runtime_rss_mib=runtime.peak_rss_mib,
        histogram_edges_us=edges,
        options=dataclasses.asdict(options),
        profile=None if nodes is None else side_by_side(nodes),
        notices=[
            *assumptions(found, dataset, answers),
            *noise.machine_notices(before, noise.snapshot(), environment.usable_cores()),
            *noise.timing_notices(timings),
        ],
        environment=machine
        | {
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": shlex.join(["toolkit", *sys.argv[1:]]),
        },
    )
    if json is not None:
        write_text(json, json_format.dumps(result.to_dict(), indent=2, ensure_ascii=False) + "\n")
    if report is not None:
        from toolkit.benchmark import page

        write_text(report, page.render(result))
    if attach:
        attaching.attach(result)
    return result


def _settings(
    provider: Provider | Sequence[Provider],
    threads: int | Sequence[int],
    batch: int | Sequence[int],
    size: Mapping[str, int | Sequence[int]],
) -> list[Setting]:
    """Return every combination of the values."""
    sizes = [
        [(name, value) for value in _several(f"size {name}", values)]
        for name, values in size.items()
    ]
    return [
        Setting(provider, threads, batch, tuple(chosen))
        for provider, threads, batch, *chosen in itertools.product(
            _several("provider", provider, get_args(Provider)),
            _several("threads", threads),
            _several("batch", batch),
            *sizes,
        )
    ]


def _several(
    name: str, values: Value | Sequence[Value], known: Sequence[Value] | None = None
) -> list[Value]:
    """Return one value or several as a list without repetitions, checked."""
    listed = [values] if isinstance(values, (str, int)) else list(values)
    for value in listed:
        if known is not None and value not in known:
            raise ValueError(f"{name} is {value!r}, not one of {', '.join(map(str, known))}")
        if isinstance(value, int) and value < 1:
            raise ValueError(f"{name} is {value}, it must be at least 1")
    if not listed:
        raise ValueError(f"{name} has no value")
    return list(dict.fromkeys(listed))


def _ask_all(
    split: Split, opened: Mapping[Provider, Mapping[str, Model]]
) -> dict[tuple[Provider, str], Answers]:
    """Return the answers of each model that classifies, by provider and name."""
    asked = {
        (provider, name): model
        for provider, models in opened.items()
        for name, model in models.items()
        if answering.classifies(model)
    }
    with progress("accuracy", len(split) * len(asked)) as advance:
        return {key: answering.ask(model, split, advance) for key, model in asked.items()}


def _cold_starts(
    found: Sequence[Candidate], options: RuntimeOptions, seed: int
) -> tuple[dict[str, ColdStart], ColdStart]:
    """Return the medians of each candidate's processes, and those of the bare runtime."""
    jobs: list[Candidate | None] = [*found, None] * _STARTS
    random.Random(seed).shuffle(jobs)  # noqa: S311 - an order of runs, no secret
    measured: dict[str | None, list[ColdStart]] = {}
    with progress("load time and memory", len(jobs)) as advance:
        for job in jobs:
            if job is None:
                start = cold_start(None, {})
            else:
                feeds = {name: (str(feed.dtype), feed.shape) for name, feed in job.feeds.items()}
                start = cold_start(
                    job.path,
                    feeds,
                    provider=job.setting.provider,
                    threads=job.setting.threads,
                    options=options,
                )
            measured.setdefault(job.name if job else None, []).append(start)
            advance()
    runtime = median(measured.pop(None))
    return {name: median(starts) for name, starts in measured.items() if name}, runtime


def _time_all(
    found: Sequence[Candidate],
    options: RuntimeOptions,
    rounds: int,
    max_time: float,
    seed: int,
    *,
    until_certain: bool,
) -> Timings:
    compared = [(entry.name, baseline.name) for entry, baseline in pairs(found)]

    def certain(timings: Timings) -> bool:
        confidence = look_confidence(timings.looks)
        return all(
            compare(timings.log_ratios(*names), confidence=confidence, seed=seed).verdict
            != "no verdict"
            for names in compared
        )

    with progress("latency", None if until_certain else rounds) as advance:
        return measure(
            {entry.name: _opener(entry, options) for entry in found},
            rounds=rounds,
            max_seconds=max_time,
            seed=seed,
            enough=certain if until_certain else None,
            advance=advance,
        )


def _profiles(found: Sequence[Candidate], options: RuntimeOptions) -> dict[str, list[NodeTime]]:
    with progress("nodes", len(found)) as advance:
        profiles = {}
        for entry in found:
            profiles[entry.name] = profiling.profile(
                entry.path,
                entry.feeds,
                provider=entry.setting.provider,
                threads=entry.setting.threads,
                options=options,
            )
            advance()
        return profiles


def _opener(candidate: Candidate, options: RuntimeOptions) -> Open:
    names = [output.name for output in candidate.contract.outputs]

    def open_model() -> Call:
        session = create_session(
            candidate.path,
            provider=candidate.setting.provider,
            threads=candidate.setting.threads,
            configure=options.configure,
        )
        run, feeds = session.run, candidate.feeds
        return lambda: run(names, feeds)

    return open_model
