"""`bench`: what models cost and how well they answer, measured side by side."""

import contextlib
import dataclasses
import datetime
import json as json_format
import math
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.benchmark import attaching
from toolkit.benchmark.building import Entrant, build, check_buildable
from toolkit.benchmark.candidates import Candidate, candidates, open_models, pairs
from toolkit.benchmark.checks import against_baseline, against_earlier, check_limits
from toolkit.benchmark.earlier import (
    Earlier,
    check_comparable,
    check_machine,
    read_earlier,
    same_samples,
)
from toolkit.benchmark.figures import (
    assumptions,
    comparison,
    histogram_edges_us,
    in_microseconds,
    variant,
)
from toolkit.benchmark.measurement import Measured, measure_all
from toolkit.benchmark.plan import Plan, make_plan
from toolkit.benchmark.result import BenchResult
from toolkit.benchmark.samples import Samples, choose_samples
from toolkit.benchmark.suites import Limits, Suite, find_models, find_suite, read_suite
from toolkit.errors import OutputError, RecipeError
from toolkit.files import check_output, write_text
from toolkit.measuring import environment, noise
from toolkit.measuring.nodes import side_by_side
from toolkit.measuring.options import Optimization
from toolkit.runtime.session import Provider


@dataclass(frozen=True)
class Outputs:
    """The files to write, each or None."""

    json: Path | None
    report: Path | None
    markdown: Path | None
    csv: Path | None

    def check(self, *, force: bool, inputs: Sequence[Path]) -> None:
        """Check, before the work, that each can be written.

        Raises:
            OutputError: One cannot, or two are the same file.
        """
        paths: dict[Path, str] = {}
        for field in dataclasses.fields(self):
            path = getattr(self, field.name)
            if path is None:
                continue
            if path in paths:
                raise OutputError(
                    f"'{path}' cannot be both --{paths[path]} and --{field.name}; name two files."
                )
            paths[path] = field.name
            check_output(path, force=force, inputs=inputs)


@dataclass(frozen=True)
class Request:
    """What is to be compared, and with what."""

    suite: Suite | None
    suite_path: Path | None
    plan: Plan
    limits: Limits
    earlier_path: Path | None
    earlier: Earlier | None

    @property
    def baseline_limits(self) -> Limits:
        """Limits against the baseline of this bench: the caller's, or those of the suite."""
        own = Limits() if self.suite is None else self.suite.thresholds
        if self.earlier is not None:  # the caller's are about the earlier result then
            return own
        return own.model_copy(update=self.limits.model_dump(exclude_none=True))


def bench(
    models: str | Path | Sequence[str | Path],
    *,
    data: str | Path | None = None,
    provider: Provider | Sequence[Provider] | None = None,
    threads: int | Sequence[int] | None = None,
    batch: int | Sequence[int] | None = None,
    size: Mapping[str, int | Sequence[int]] | None = None,
    spinning: bool | None = None,
    arena: bool | None = None,
    optimization: Optimization | None = None,
    cpus: Sequence[int] | None = None,
    profile: bool | None = None,
    rounds: int | None = None,
    max_time: float | None = None,
    until_certain: bool | None = None,
    seed: int | None = None,
    against: str | Path | None = None,
    fail_if_slower: float | None = None,
    fail_if_drop: float | None = None,
    any_machine: bool = False,
    json: str | Path | None = None,
    report: str | Path | None = None,
    markdown: str | Path | None = None,
    csv: str | Path | None = None,
    keep: str | Path | None = None,
    attach: bool = False,
    force: bool = False,
) -> BenchResult:
    """Compare models in accuracy, latency, memory and size; the first is the baseline.

    Latency is measured in one process, in interleaved rounds (`toolkit.measuring.latency`); load
    time and memory in processes of their own. Several values of ``provider``, ``threads``,
    ``batch`` or a ``size`` measure every combination, and models are compared within each.

    Options that are None take the value of the suite, or else of `toolkit.benchmark.plan.DEFAULTS`.

    Args:
        models: ONNX files or names of the zoo; or a suite, by its name or its .toml file.
        data: Dataset to evaluate on, by default the test part of the models' training data where
            it is at hand; "random" for random inputs without accuracy.
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
        against: The JSON file of an earlier bench to compare with.
        fail_if_slower: Limit on a variant's time divided by its earlier one; without ``against``
            by that of the baseline.
        fail_if_drop: Limit on the drop in top-1 since the earlier bench, in percentage points;
            without ``against`` from the baseline.
        any_machine: Compare with an earlier bench of another machine.
        json: Where to write the result.
        report: Where to write the HTML page.
        markdown: Where to write tables for a pull request.
        csv: Where to write one line per variant.
        keep: Folder for the models that a suite makes; without it they are removed at the end.
        attach: Write the figures into the contracts of the models; their files are replaced.
        force: Replace the files to write when they are there.

    Returns:
        The result. Its ``passed`` tells whether every limit was kept; files are written anyway.

    Raises:
        ModelError: A model is missing or damaged, or two do not do the same task.
        DataError: The data does not fit the models.
        ProviderError: A provider is not there.
        RecipeError: A suite has an unknown key, or the earlier result cannot be compared with.
        OutputError: A file cannot be written.
        MissingPackageError: onnxruntime is not installed.
        ValueError: A number is out of range, or there is no model.
    """
    started = time.perf_counter()
    for name, limit in (("fail_if_slower", fail_if_slower), ("fail_if_drop", fail_if_drop)):
        if limit is not None and not 0 <= limit < math.inf:
            raise ValueError(f"{name} is {limit}, it must be a number of at least 0")
    names = [models] if isinstance(models, (str, Path)) else list(models)
    request = _request(
        names,
        {
            "data": data, "provider": provider, "threads": threads, "batch": batch, "size": size,
            "spinning": spinning, "arena": arena, "optimization": optimization, "cpus": cpus,
            "profile": profile, "rounds": rounds, "max_time": max_time,
            "until_certain": until_certain, "seed": seed,
        },
        Limits(fail_if_slower=fail_if_slower, fail_if_drop=fail_if_drop),
        against=against,
        any_machine=any_machine,
    )  # fmt: skip
    outputs = Outputs(
        *(None if file is None else Path(file) for file in (json, report, markdown, csv))
    )
    if attach and request.suite is not None and request.suite.variants and keep is None:
        raise RecipeError("--attach writes into models that a suite removes; add --keep FOLDER.")
    if request.earlier is not None and request.earlier_path is not None:
        machine = environment.describe()
        check_machine(
            request.earlier_path,
            request.earlier,
            request.plan.options,
            machine,
            any_machine=any_machine,
        )
    with _entrants(names, request, outputs, keep=keep, force=force) as entrants:
        result, samples = _measured(entrants, request, started, attach=attach)
        _write(result, samples, outputs)
        if attach:
            attaching.attach(result)
    return result


def _request(
    names: Sequence[str | Path],
    given: Mapping[str, Any],
    limits: Limits,
    *,
    against: str | Path | None,
    any_machine: bool,
) -> Request:
    """Return what is asked for, with everything read that can be read before the work."""
    if not names:
        raise ValueError("there is no model to bench")
    given = {key: value for key, value in given.items() if value is not None}
    suite_path = find_suite(names)
    suite = None if suite_path is None else read_suite(suite_path)
    if any_machine and against is None:
        raise RecipeError("--any-machine is about an earlier result; add --against FILE.")
    return Request(
        suite=suite,
        suite_path=suite_path,
        plan=make_plan(given) if suite is None else suite.plan(given),
        limits=limits,
        earlier_path=None if against is None else Path(against),
        earlier=None if against is None else read_earlier(against),
    )


@contextlib.contextmanager
def _entrants(
    names: Sequence[str | Path],
    request: Request,
    outputs: Outputs,
    *,
    keep: str | Path | None,
    force: bool,
) -> Iterator[dict[str, Entrant]]:
    """Give the models to compare, made where a suite asks for it; check the outputs before."""
    inputs = [] if request.earlier_path is None else [request.earlier_path]
    suite, suite_path = request.suite, request.suite_path
    if suite is None or suite_path is None:
        if keep is not None:
            raise RecipeError("--keep is about the models that a suite makes; there is no suite.")
        entrants = {name: Entrant(path) for name, path in find_models(names).items()}
        outputs.check(force=force, inputs=[*inputs, *(entry.path for entry in entrants.values())])
        yield entrants
        return
    folder = None if keep is None else Path(keep)
    check_buildable(suite, suite_path, folder, force=force)
    files = find_models(suite.models).values()
    outputs.check(force=force, inputs=[*inputs, suite_path, *files])
    if folder is not None:
        yield build(suite, folder)
        return
    with tempfile.TemporaryDirectory(prefix="toolkit-bench-") as temporary:
        yield build(suite, Path(temporary))


def _measured(
    entrants: Mapping[str, Entrant], request: Request, started: float, *, attach: bool
) -> tuple[BenchResult, Samples | None]:
    plan = request.plan
    opened = {
        setting.provider: open_models(entrants, setting.provider) for setting in plan.settings
    }
    if attach:
        for loaded in opened.values():
            attaching.check_attachable(loaded)
    samples, choice = choose_samples(plan.data, opened)
    largest = max(setting.batch for setting in plan.settings)
    found = candidates(
        entrants,
        opened,
        plan.settings,
        images=None if samples is None else samples.split.images[slice(0, largest)],
    )
    _check_before(found, request, samples)
    machine = environment.describe()
    before = noise.snapshot()
    measured = measure_all(found, opened, None if samples is None else samples.split, plan)
    notices = [
        *choice,
        *assumptions(found, samples, measured.answers),
        *noise.machine_notices(before, noise.snapshot(), environment.usable_cores()),
        *noise.timing_notices(measured.timings, measured.yardstick),
    ]
    result = _result(found, measured, request, samples, machine, notices)
    return dataclasses.replace(result, seconds=time.perf_counter() - started), samples


def _check_before(found: Sequence[Candidate], request: Request, samples: Samples | None) -> None:
    labelled = samples is not None and samples.split.labels is not None
    check_limits(request.baseline_limits, compared=bool(pairs(found)), labelled=labelled)
    if request.earlier is not None and request.earlier_path is not None:
        check_comparable(request.earlier_path, request.earlier, found, samples, request.limits)


def _result(
    found: Sequence[Candidate],
    measured: Measured,
    request: Request,
    samples: Samples | None,
    machine: Mapping[str, Any],
    notices: list[str],
) -> BenchResult:
    edges = histogram_edges_us(measured.timings)
    yardstick_us = in_microseconds(block.median_ns for block in measured.yardstick)
    seed = request.plan.seed
    variants = [variant(entry, measured, edges) for entry in found]
    comparisons = [comparison(entry, baseline, measured, seed) for entry, baseline in pairs(found)]
    checks = against_baseline(variants, comparisons, request.baseline_limits)
    if request.earlier is not None:
        changes, alone = against_earlier(
            variants,
            yardstick_us,
            request.earlier,
            request.limits,
            answers=same_samples(request.earlier, samples),
            seed=seed,
        )
        checks, notices = [*checks, *changes], [*notices, *alone]
        notices += _differences(request.earlier.environment, machine)
    return BenchResult(
        variants=variants,
        comparisons=comparisons,
        checks=checks,
        suite=None if request.suite_path is None else request.suite_path.stem,
        data=None if samples is None else samples.dataset.name,
        data_sha256=None if samples is None else samples.dataset.digest,
        part=None if samples is None else samples.part,
        samples=None if samples is None else len(samples.split),
        rounds=measured.timings.rounds,
        seconds=0.0,
        runtime_rss_mib=measured.runtime.peak_rss_mib,
        yardstick_us=yardstick_us,
        histogram_edges_us=edges,
        options=dataclasses.asdict(request.plan.options),
        profile=None if measured.nodes is None else side_by_side(measured.nodes),
        notices=notices,
        environment={
            **machine,
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": shlex.join(["toolkit", *sys.argv[1:]]),
        },
    )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each thing that changed since the earlier result, but the models."""
    return [
        f"The earlier result has {key} {before.get(key)}, this one {now[key]}."
        for key in ("cpu", "cores", "system", "python", "numpy", "onnxruntime")
        if before.get(key) != now[key]
    ]


def _write(result: BenchResult, samples: Samples | None, outputs: Outputs) -> None:
    from toolkit.benchmark import page, tables

    def document() -> str:
        return json_format.dumps(result.to_dict(), indent=2, ensure_ascii=False) + "\n"

    writers: list[tuple[Path | None, Callable[[], str]]] = [
        (outputs.json, document),
        (outputs.report, lambda: page.render(result, samples)),
        (outputs.markdown, lambda: tables.markdown(result)),
        (outputs.csv, lambda: tables.csv(result)),
    ]
    for path, text in writers:
        if path is not None:
            write_text(path, text())
