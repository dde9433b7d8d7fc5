"""Makes the models of a suite: exports and quantizes what its variants ask for."""

import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.benchmark.plan import RANDOM
from toolkit.benchmark.suites import Suite, Variant, find_models
from toolkit.errors import OutputError, RecipeError
from toolkit.evaluation import KERAS_SUFFIXES
from toolkit.files import check_output
from toolkit.recipes import closest, find_model
from toolkit.reporting.terminal import note

_OURS = frozenset({"model", "output", "force"})  # what the suite decides itself


@dataclass(frozen=True)
class Entrant:
    """A model that takes part: its file, and the step that made it for this bench, or None."""

    path: Path
    made_by: str | None = None


def check_buildable(suite: Suite, path: Path, folder: Path | None, *, force: bool) -> None:
    """Check, before the work, that the suite's models are there and its steps are known.

    Args:
        suite: The suite.
        path: Its file.
        folder: Where its models are to stay, or None.
        force: Whether files that are there may be replaced.

    Raises:
        ModelError: A model is missing.
        RecipeError: A step has an unknown option, or two models have one name.
        OutputError: The folder is missing, or holds one of the files.
    """
    found = {name: Entrant(file) for name, file in find_models(suite.models).items()}
    for variant in suite.variants:
        if variant.name in found:
            raise RecipeError(f"'{path}': two models are called '{variant.name}'.")
        found[variant.name] = Entrant(_source(suite, variant, found))
        for step in ("export", "quantize"):
            _check_options(path, variant, step)
    files = _files(suite)
    if folder is not None and not folder.is_dir():
        raise OutputError(f"'{folder}' is no folder; create it first.")
    if folder is not None:
        for variant in suite.variants:
            if variant.export is not None or variant.quantize is not None:
                check_output(folder / files[variant.name], force=force)


def build(suite: Suite, folder: Path) -> dict[str, Entrant]:
    """Make the suite's variants in a folder; return all of its models by their names.

    Raises:
        ToolkitError: As `toolkit.export` and `toolkit.quantize` raise them.
    """
    found = {name: Entrant(path) for name, path in find_models(suite.models).items()}
    files = _files(suite)
    for variant in suite.variants:
        path, steps = _source(suite, variant, found), []
        if variant.export is not None:
            note(f"export    {variant.name}")
            # The float file that is quantized next must not be the one that quantizing writes.
            name = files[variant.name]
            name = name if variant.quantize is None else f"{name.removesuffix('.onnx')}.float.onnx"
            path = _made("export", path, folder / name, variant, variant.export)
            steps.append(_words("export", variant.export))
        if variant.quantize is not None:
            note(f"quantize  {variant.name}")
            options = _quantize_options(suite, variant)
            path = _made("quantize", path, folder / files[variant.name], variant, options)
            steps.append(_words("quantize", options))
        found[variant.name] = Entrant(path, ", ".join(steps) or None)
    return found


def _source(suite: Suite, variant: Variant, found: Mapping[str, Entrant]) -> Path:
    """Return the file that a variant is made of: a model so far, or a file or zoo name.

    An export starts at Keras' file; all else at an ONNX file.
    """
    name = variant.model or suite.models[0]
    if variant.export is None and name in found:
        return found[name].path
    return find_model(name, *(KERAS_SUFFIXES if variant.export is not None else (".onnx",)))


def _files(suite: Suite) -> dict[str, str]:
    """Return a file name for each variant."""
    files: dict[str, str] = {}
    for variant in suite.variants:
        stem = re.sub(r"[^\w.+-]+", "-", variant.name).strip(".-") or "variant"
        while f"{stem}.onnx" in files.values():
            stem += "-2"
        files[variant.name] = f"{stem}.onnx"
    return files


def _step(name: str) -> Callable[..., Any]:
    if name == "export":
        from toolkit.exporting import export

        return export
    from toolkit.quantization import quantize

    return quantize


def _check_options(path: Path, variant: Variant, step: str) -> None:
    options = getattr(variant, step)
    if not isinstance(options, Mapping):
        return
    known = [key for key in inspect.signature(_step(step)).parameters if key not in _OURS]
    for key in options:
        if key not in known:
            hint = closest(key, known) or f" Known: {', '.join(known)}."
            raise RecipeError(f"'{path}': unknown key '{step}.{key}' in '{variant.name}'.{hint}")


def _made(
    step: str, source: Path, output: Path, variant: Variant, options: Mapping[str, Any]
) -> Path:
    try:
        _step(step)(source, output, **options, force=True)
    except (TypeError, ValueError) as error:  # a value of the suite that the step refuses
        raise RecipeError(f"The variant '{variant.name}': {step}: {error}.") from error
    return output


def _quantize_options(suite: Suite, variant: Variant) -> dict[str, Any]:
    assert isinstance(variant.quantize, Mapping)  # noqa: S101 - read_suite has put it into a table
    data = {} if suite.data in (None, RANDOM) else {"data": suite.data}
    return {**data, **variant.quantize}


def _words(step: str, options: Mapping[str, Any]) -> str:
    """Return a step as one would type it."""
    return " ".join(
        [
            f"toolkit {step}",
            *(f"--{key.replace('_', '-')} {_value(options[key])}" for key in options),
        ]
    )


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
