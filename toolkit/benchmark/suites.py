"""Suites: the files bench/<name>.toml, and how they are read.

A suite names models, variants to make of them, data, settings and limits; bench/README.md explains
the fields. Its keys are the options of `bench`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from toolkit.benchmark.plan import DEFAULTS, Plan, make_plan
from toolkit.errors import ModelError, RecipeError
from toolkit.measuring.options import Optimization
from toolkit.recipes import (
    Table,
    builtin_dir,
    builtin_names,
    closest,
    find,
    find_model,
    is_path,
    read_toml,
)
from toolkit.runtime.session import Provider


class Limits(Table):
    """What a variant may cost at most.

    Attributes:
        fail_if_slower: Its time divided by that of what it is compared with.
        fail_if_drop: The drop in top-1, in percentage points.
    """

    fail_if_slower: float | None = Field(default=None, gt=0)
    fail_if_drop: float | None = Field(default=None, ge=0, le=100)

    def __bool__(self) -> bool:
        return self.fail_if_slower is not None or self.fail_if_drop is not None


class Variant(Table):
    """A model that the suite makes, or a file under a name of its own.

    Attributes:
        name: What it is called in the result.
        model: What it is made of: a file, a zoo name, or an earlier variant's name; by default
            the first of the suite's models.
        export: Options of `toolkit.export`, to make it from a Keras model.
        quantize: Options of `toolkit.quantize`, or the name of a recipe alone.
    """

    name: str = Field(min_length=1)
    model: str | None = None
    export: dict[str, Any] | None = None
    quantize: str | dict[str, Any] | None = None


class Suite(Table):
    """What to compare, and how.

    Attributes:
        description: What the suite shows, in a sentence.
        models: Files (from the suite's folder) or zoo names; the first is the baseline.
        variants: Models to make for the bench, behind those of ``models``.
        devices: Where to measure: this machine, "local".
        thresholds: Limits of every variant against the baseline of its setting.
        data: As the options of `toolkit.benchmark.bench`, and all that follow.
    """

    description: str = Field(min_length=1)
    models: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = ()
    devices: tuple[str, ...] = ("local",)
    thresholds: Limits = Limits()
    data: str | None = None
    provider: Provider | tuple[Provider, ...] = "cpu"
    threads: int | tuple[int, ...] = 1
    batch: int | tuple[int, ...] = 1
    size: dict[str, int | tuple[int, ...]] = Field(default_factory=dict)
    spinning: bool = True
    arena: bool = True
    optimization: Optimization = "all"
    cpus: tuple[int, ...] | None = None
    profile: bool = False
    rounds: int = 100
    max_time: float = 60.0
    until_certain: bool = False
    seed: int = 0

    def plan(self, given: Mapping[str, Any]) -> Plan:
        """Return how to measure; what the caller gives goes before what the suite says.

        Raises:
            ValueError: A value is out of range.
        """
        own = {key: getattr(self, key) for key in DEFAULTS if key in self.model_fields_set}
        return make_plan({**own, **given})


def find_suite(models: Sequence[str | Path]) -> Path | None:
    """Return the path of the suite that the arguments of a bench name, or None when they do not.

    A .toml file is a suite; a bare name is the built-in suite of that name; all else is a model.

    Raises:
        RecipeError: A name is a suite's and a model's, other models stand beside a suite, or the
            file does not exist.
    """
    names = [str(model) for model in models]
    suites = [name for name in names if _is_suite(name)]
    if not suites:
        return None
    if len(names) > 1:
        other = next((name for name in names if name not in suites), suites[-1])
        raise RecipeError(
            f"'{suites[0]}' is a suite and stands alone; add '{other}' to the models of a copy "
            "of it."
        )
    path = find("bench", suites[0])
    model = builtin_dir("models") / f"{suites[0]}.onnx"
    if not is_path(suites[0]) and model.exists():
        raise RecipeError(
            f"'{suites[0]}' is a suite and a model of the zoo; say which: '{path}' or '{model}'."
        )
    return path


def find_models(models: Sequence[str | Path]) -> dict[str, Path]:
    """Return the paths of the models by short, unique names.

    Raises:
        ModelError: There is no such file.
    """
    paths = [_find(str(model)) for model in models]
    seen: dict[str, int] = {}
    unique = []
    for name in _short_names(paths):
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return dict(zip(unique, paths, strict=True))


def read_suite(path: Path) -> Suite:
    """Read a suite; paths in it start at its folder.

    Raises:
        RecipeError: It cannot be read, or has an unknown key or a value out of range.
    """
    suite = read_toml(path, Suite)
    try:
        suite.plan({})
    except ValueError as error:
        raise RecipeError(f"'{path}': {error}.") from error
    if suite.devices != ("local",):
        raise RecipeError(
            f"'{path}': 'devices' is {list(suite.devices)}; bench measures on this machine, "
            '["local"], alone.'
        )
    names = [variant.name for variant in suite.variants]
    if not suite.models and not names:
        raise RecipeError(f"'{path}' names neither 'models' nor 'variants'.")
    for index, variant in enumerate(suite.variants):
        if variant.name in names[:index]:
            raise RecipeError(f"'{path}': two variants are called '{variant.name}'.")
        if variant.model is None and not suite.models:
            raise RecipeError(f"'{path}': the variant '{variant.name}' says no 'model'.")
    return suite.model_copy(
        update={
            "models": tuple(_beside(path, name) for name in suite.models),
            "variants": tuple(_moved(path, variant) for variant in suite.variants),
            "data": None if suite.data is None else _data_beside(path, suite.data),
        }
    )


def _is_suite(name: str) -> bool:
    return name.endswith(".toml") or (not is_path(name) and name in builtin_names("bench"))


def _find(name: str) -> Path:
    try:
        return find_model(name, ".onnx")
    except ModelError as error:
        if is_path(name):
            raise
        models, suites = builtin_names("models", ".onnx"), builtin_names("bench")
        raise ModelError(
            f"'{name}' is no file, no model of the zoo and no suite."
            f"{closest(name, [*models, *suites])} Models: {', '.join(models)}; suites: "
            f"{', '.join(suites)}."
        ) from error


def _short_names(paths: Sequence[Path]) -> list[str]:
    """Return the files' names, with as many of their folders as tell them apart."""
    parts = [path.resolve().parts for path in paths]
    names = []
    for own in parts:
        others = {other for other in parts if other != own}
        depth = 1
        while any(other[-depth:] == own[-depth:] for other in others):
            depth += 1
        names.append("/".join(own[-depth:]).removesuffix(".onnx"))
    return names


def _beside(suite: Path, name: str) -> str:
    """Return a path as seen from here; a built-in name stays as it is."""
    return str(suite.parent / name) if is_path(name) else name


def _data_beside(suite: Path, name: str) -> str:
    """Return a path as seen from here: a dataset may be a folder, whose name looks like any."""
    return str(suite.parent / name) if (suite.parent / name).exists() else name


def _moved(suite: Path, variant: Variant) -> Variant:
    update: dict[str, Any] = {}
    if variant.model is not None:
        update["model"] = _beside(suite, variant.model)
    options = variant.quantize
    if isinstance(options, str):
        options = {"recipe": options}
    if options is not None:
        if isinstance(options.get("recipe"), str):
            options = {**options, "recipe": _beside(suite, options["recipe"])}
        update["quantize"] = options
    return variant.model_copy(update=update)
