"""An earlier result, read back from its JSON file, and whether a bench may be compared with it."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from toolkit.benchmark.candidates import Candidate
from toolkit.benchmark.result import SCHEMA, Variant
from toolkit.benchmark.samples import Samples
from toolkit.benchmark.suites import Limits
from toolkit.errors import RecipeError
from toolkit.measuring.options import RuntimeOptions
from toolkit.measuring.statistics import MIN_ROUNDS

_MACHINE = ("cpu", "cpu_features", "cores", "machine")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


_Time = Annotated[float, Field(gt=0)]


class EarlierVariant(_Part):
    """What is compared of a variant; see `toolkit.benchmark.result.Variant`."""

    name: str
    model: str
    runtime: str
    device: str
    providers: list[str] = Field(min_length=1)
    threads: int
    batch: int
    shapes: dict[str, list[int]]
    rounds_us: list[_Time] = Field(min_length=MIN_ROUNDS)
    top1: float | None
    wrong: list[int] | None


class Earlier(_Part):
    """What is compared of a result; see `toolkit.benchmark.result.BenchResult`."""

    variants: list[EarlierVariant]
    yardstick_us: list[_Time]
    options: dict[str, Any]
    environment: dict[str, Any]
    data: str | None
    data_sha256: str | None
    part: str | None
    samples: int | None

    @model_validator(mode="after")
    def _rounds_belong_together(self) -> Self:
        for variant in self.variants:
            if len(variant.rounds_us) != len(self.yardstick_us):
                raise ValueError(f"the rounds of '{variant.name}' are not those of the yardstick")
        return self

    def log_times(self, variant: EarlierVariant) -> npt.NDArray[np.float64]:
        """Return log(median time / that of the yardstick) of each round, [rounds]."""
        return log_times(variant.rounds_us, self.yardstick_us)


@dataclass(frozen=True)
class Identity:
    """What makes two variants of two benches the same: the model's name, and how it is run."""

    model: str
    runtime: str
    device: str
    provider: str
    threads: int
    batch: int
    values: tuple[int, ...]

    @classmethod
    def of(cls, variant: Variant | EarlierVariant) -> "Identity":
        """Return that of a variant."""
        return cls(
            variant.model,
            variant.runtime,
            variant.device,
            variant.providers[0],
            variant.threads,
            variant.batch,
            _values(variant.shapes),
        )


def log_times(rounds_us: Sequence[float], yardstick_us: Sequence[float]) -> npt.NDArray[np.float64]:
    """Return log(median time / that of the yardstick) of each round, [rounds]."""
    return np.asarray(np.log(rounds_us) - np.log(yardstick_us), np.float64)


def read_earlier(path: str | Path) -> Earlier:
    """Read an earlier result.

    Raises:
        RecipeError: It is no result of a bench, or one of another schema.
    """
    again = "Write a new one with `toolkit bench --json`."
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"'{path}' cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"'{path}' is no JSON file. {again}") from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        found = "no result of a bench" if schema is None else f"a '{schema}', not a '{SCHEMA}'"
        raise RecipeError(f"'{path}' is {found}. {again}")
    try:
        earlier = Earlier.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = f"'{'.'.join(map(str, first['loc']))}': " if first["loc"] else ""
        raise RecipeError(f"'{path}' is damaged: {where}{first['msg']}. {again}") from error
    return earlier


def check_machine(
    path: str | Path,
    earlier: Earlier,
    options: RuntimeOptions,
    machine: Mapping[str, Any],
    *,
    any_machine: bool,
) -> None:
    """Check that an earlier result was measured as this one will be.

    Args:
        path: The earlier result's file.
        earlier: The earlier result.
        options: How onnxruntime runs.
        machine: What this one is measured on (`toolkit.measuring.environment.describe`).
        any_machine: Whether the machines may differ.

    Raises:
        RecipeError: The machine or an option is another one.
    """
    for key in _MACHINE:
        before, now = earlier.environment.get(key), machine[key]
        if before != now and not any_machine:
            raise RecipeError(
                f"'{path}' was measured on another machine: its {key} is {_shown(before)}, here "
                f"it is {_shown(now)}. Times of two machines do not tell how a model changed; "
                "--any-machine compares them all the same."
            )
    own = json.loads(json.dumps(dataclasses.asdict(options)))
    for key, value in own.items():
        if earlier.options.get(key) != value:
            raise RecipeError(
                f"'{path}' was measured with {key} {earlier.options.get(key)}, not {value}; "
                "use the same runtime options."
            )


def check_comparable(
    path: str | Path,
    earlier: Earlier,
    found: Sequence[Candidate],
    samples: Samples | None,
    limits: Limits,
) -> None:
    """Check, before anything is measured, that there is something to compare.

    Args:
        path: The earlier result's file.
        earlier: The earlier result.
        found: What is to be measured.
        samples: What is answered, or None.
        limits: What is to be checked.

    Raises:
        RecipeError: No variant is in both, or accuracy is to be checked on other samples.
    """
    if limits.fail_if_drop is not None and not same_samples(earlier, samples):
        raise RecipeError(
            f"--fail-if-drop compares answers one by one, and '{path}' was not measured on the "
            f"labelled samples of this bench; its data is {earlier.data or 'random'}."
        )
    known = {Identity.of(variant) for variant in earlier.variants}
    if not any(_identity(entry) in known for entry in found):
        raise RecipeError(
            f"'{path}' and this bench have no variant in common: there are "
            f"{_names(variant.name for variant in earlier.variants)}, here "
            f"{_names(entry.name for entry in found)}. A variant is known by its model's name, "
            "provider, threads, batch and input sizes."
        )


def same_samples(earlier: Earlier, samples: Samples | None) -> bool:
    """Tell whether both benches answered the same labelled samples."""
    return (
        samples is not None
        and samples.split.labels is not None
        and samples.dataset.digest == earlier.data_sha256
        and (samples.part, len(samples.split)) == (earlier.part, earlier.samples)
    )


def _identity(candidate: Candidate) -> Identity:
    setting = candidate.setting
    shapes = {name: list(feed.shape) for name, feed in candidate.feeds.items()}
    return Identity(
        candidate.model,
        "onnxruntime",
        "local",
        candidate.providers[0],
        setting.threads,
        setting.batch,
        _values(shapes),
    )


def _values(shapes: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    """Return how many values each input has: names and the place of channels may change."""
    return tuple(sorted(int(np.prod(shape)) for shape in shapes.values()))


def _names(names: Iterable[str]) -> str:
    listed = [f"'{name}'" for name in names]
    return ", ".join(listed[:5]) + (", ..." if len(listed) > 5 else "")


def _shown(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "unknown"
    return f"'{value}'"
