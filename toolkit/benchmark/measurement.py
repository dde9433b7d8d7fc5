"""Measures the candidates of a bench: answers, fresh processes, interleaved rounds, nodes."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.benchmark import answers as answering
from toolkit.benchmark.answers import Answers
from toolkit.benchmark.candidates import Candidate, pairs
from toolkit.benchmark.plan import Plan
from toolkit.datasets import Split
from toolkit.measuring import profile as profiling
from toolkit.measuring import yardstick
from toolkit.measuring.cold_start import ColdStart, cold_start, median
from toolkit.measuring.latency import Block, Call, Open, Timings, measure
from toolkit.measuring.options import RuntimeOptions
from toolkit.measuring.profile import NodeTime
from toolkit.measuring.statistics import CONFIDENCE, compare, look_confidence
from toolkit.reporting.terminal import progress
from toolkit.runtime import Model
from toolkit.runtime.session import Provider, create_session

_STARTS = 3  # processes per variant for load time and memory


@dataclass(frozen=True)
class Measured:
    """All measurements of one bench.

    Attributes:
        answers: By provider and model; models that do not classify are missing.
        starts: By candidate.
        runtime: The process without a model.
        timings: By candidate.
        yardstick: The fixed piece of work, one block per round.
        nodes: By candidate, or None when it was not asked for.
        confidence: That of the intervals of the ratios.
    """

    answers: Mapping[tuple[Provider, str], Answers]
    starts: Mapping[str, ColdStart]
    runtime: ColdStart
    timings: Timings
    yardstick: Sequence[Block]
    nodes: Mapping[str, Sequence[NodeTime]] | None
    confidence: float

    def answers_of(self, candidate: Candidate) -> Answers | None:
        """Return the answers of a candidate's model on its provider."""
        return self.answers.get((candidate.setting.provider, candidate.model))


def measure_all(
    found: Sequence[Candidate],
    opened: Mapping[Provider, Mapping[str, Model]],
    split: Split | None,
    plan: Plan,
) -> Measured:
    """Measure everything, one after the other: nothing disturbs anything else.

    Args:
        found: The candidates.
        opened: The loaded models by provider and name.
        split: Samples to answer, or None.
        plan: How to measure.
    """
    answers = {} if split is None else _ask_all(split, opened)
    with plan.options.pinned():
        starts, runtime = _cold_starts(found, plan.options, plan.seed)
        timings = _time_all(found, plan)
        nodes = _profiles(found, plan.options) if plan.profile else None
    return Measured(
        answers=answers,
        starts=starts,
        runtime=runtime,
        timings=timings.without(yardstick.NAME),
        yardstick=timings.blocks[yardstick.NAME],
        nodes=nodes,
        confidence=look_confidence(timings.looks) if plan.until_certain else CONFIDENCE,
    )


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


def _time_all(found: Sequence[Candidate], plan: Plan) -> Timings:
    compared = [(entry.name, baseline.name) for entry, baseline in pairs(found)]

    def certain(timings: Timings) -> bool:
        confidence = look_confidence(timings.looks)
        return all(
            compare(timings.log_ratios(*names), confidence=confidence, seed=plan.seed).verdict
            != "no verdict"
            for names in compared
        )

    models = {entry.name: _opener(entry, plan.options) for entry in found}
    with progress("latency", None if plan.until_certain else plan.rounds) as advance:
        return measure(
            {**models, yardstick.NAME: yardstick.open_yardstick},
            rounds=plan.rounds,
            max_seconds=plan.max_time,
            seed=plan.seed,
            enough=certain if plan.until_certain else None,
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
