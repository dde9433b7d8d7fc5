"""What a bench measures: every combination of settings, how long, with which runtime options."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from toolkit.measuring.options import Optimization, RuntimeOptions
from toolkit.measuring.statistics import MIN_ROUNDS
from toolkit.runtime.session import Provider

RANDOM = "random"  # as data: random inputs, though the model's training data may be at hand

# The values of what neither the caller nor a suite says. The keys are the options of `bench`,
# of the command and of a suite.
DEFAULTS: Mapping[str, Any] = {
    "data": None,
    "provider": "cpu",
    "threads": 1,
    "batch": 1,
    "size": {},
    "spinning": True,
    "arena": True,
    "optimization": "all",
    "cpus": None,
    "profile": False,
    "rounds": 100,
    "max_time": 60.0,
    "until_certain": False,
    "seed": 0,
}

_Value = TypeVar("_Value", str, int)


@dataclass(frozen=True)
class Setting:
    """How a model is run; ``sizes`` are what its symbolic sizes other than the batch are to be."""

    provider: Provider
    threads: int
    batch: int
    sizes: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Plan:
    """How to measure; see `toolkit.benchmark.bench` for the options.

    Attributes:
        data: Name or path of a dataset, `RANDOM`, or None for the models' training data.
        settings: Every combination; models are compared within each.
        options: How onnxruntime runs.
        profile: Whether nodes are timed as well.
        rounds: Interleaved rounds.
        max_time: Seconds after which no further round starts.
        until_certain: Whether to go on until every verdict is certain.
        seed: Of the order of the runs and of the bootstrap.
    """

    data: str | Path | None
    settings: tuple[Setting, ...]
    options: RuntimeOptions
    profile: bool
    rounds: int
    max_time: float
    until_certain: bool
    seed: int


def make_plan(given: Mapping[str, Any]) -> Plan:
    """Return the plan of the options that are given, `DEFAULTS` for the others.

    Raises:
        ValueError: A value is out of range.
    """
    values = {**DEFAULTS, **given}
    if values["optimization"] not in get_args(Optimization):
        raise ValueError(
            f"optimization is {values['optimization']!r}, not one of "
            f"{', '.join(get_args(Optimization))}"
        )
    if values["rounds"] < MIN_ROUNDS:
        raise ValueError(f"rounds is {values['rounds']}, it must be at least {MIN_ROUNDS}")
    if values["max_time"] <= 0:
        raise ValueError(f"max_time is {values['max_time']}, it must be above 0")
    return Plan(
        data=values["data"],
        settings=tuple(
            _settings(values["provider"], values["threads"], values["batch"], values["size"])
        ),
        options=RuntimeOptions(
            spinning=values["spinning"],
            arena=values["arena"],
            optimization=values["optimization"],
            cpus=None if values["cpus"] is None else tuple(values["cpus"]),
        ),
        profile=values["profile"],
        rounds=values["rounds"],
        max_time=values["max_time"],
        until_certain=values["until_certain"],
        seed=values["seed"],
    )


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
    name: str, values: _Value | Sequence[_Value], known: Sequence[_Value] | None = None
) -> list[_Value]:
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
