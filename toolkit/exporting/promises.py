"""What a user says about a model's inputs and outputs beyond what its file tells.

Preprocessing, for a picture input, with x the pixels as decoded, 0 to 255:

    y = (x * scale - mean) / std        scale 1, mean 0, std 1 where they are not given

each one value or one per channel. Division by 255 is scale=1/255; the numbers that go with
ImageNet are scale=1/255, mean=0.485,0.456,0.406, std=0.229,0.224,0.225, or the same in pixels,
mean=123.675,116.28,103.53, std=58.395,57.12,57.375.

What is said must not be done twice: it is refused where the model's contract or its first layers
(Rescaling, Normalization) have preprocessing already. Labels replace those of the contract.

A model with one picture input, or one output, needs no names; among several, a mapping from name
to value says which.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.contract import Affine, Contract, ImageSpec, InputSpec, OutputSpec
from toolkit.errors import RecipeError
from toolkit.exporting.labels import read_labels
from toolkit.recipes import closest

Numbers = float | Sequence[float]
PerInput = Numbers | Mapping[str, Numbers]
PerOutput = str | Path | Mapping[str, str | Path]

# Names of the arithmetic, with what each is when it is not given.
_NEUTRAL = {"scale": 1.0, "mean": 0.0, "std": 1.0}
_SMALLEST, _LARGEST = 1.2e-38, 3.4e38  # normal float32 numbers


@dataclass(frozen=True)
class Promises:
    """Options about inputs and outputs, checked as far as they can be without the model.

    Attributes:
        numbers: "scale", "mean" and "std", as far as given, by the name of the input; None for a
            value without a name.
        labels: Labels by the name of the output, None likewise.
    """

    numbers: Mapping[str, Mapping[str | None, tuple[float, ...]]]
    labels: Mapping[str | None, tuple[str, ...]]

    def to_job(self) -> dict[str, Any]:
        """Return it as JSON, for the child process."""
        return {
            "numbers": {option: list(given.items()) for option, given in self.numbers.items()},
            "labels": list(self.labels.items()),
        }


def check_promises(
    scale: PerInput | None, mean: PerInput | None, std: PerInput | None, labels: PerOutput | None
) -> Promises:
    """Return the options in one form, labels read from their files.

    Raises:
        RecipeError: A number is not finite, a scale is 0, a std is not positive, or a file of
            labels is not one.
    """
    given = {"scale": scale, "mean": mean, "std": std}
    return Promises(
        numbers={
            option: {name: _numbers(option, entry) for name, entry in _by_name(value).items()}
            for option, value in given.items()
            if value is not None
        },
        labels={name: read_labels(path) for name, path in _by_name(labels).items()}
        if labels is not None
        else {},
    )


def from_job(job: Mapping[str, Any]) -> Promises:
    """Return what `Promises.to_job` wrote."""
    return Promises(
        numbers={
            option: {name: tuple(values) for name, values in given}
            for option, given in job["numbers"].items()
        },
        labels={name: tuple(values) for name, values in job["labels"]},
    )


def promise(contract: Contract, promises: Promises) -> Contract:
    """Return the contract of a source with what the user says about it.

    Raises:
        RecipeError: A name is unknown or missing, a count does not fit, an input is no picture, or
            its preprocessing is known already.
    """
    inputs = {spec.name: spec for spec in contract.inputs}
    by_input: dict[str, dict[str, tuple[float, ...]]] = {}
    pictures = [spec.name for spec in contract.inputs if _picture(spec) is not None]
    for option, given in promises.numbers.items():
        for name, values in given.items():
            target = _named(f"--{option}", name, list(inputs), pictures, "picture input")
            by_input.setdefault(target, {})[option] = values
    for name, numbers in by_input.items():
        inputs[name] = _with_preprocessing(inputs[name], numbers)
    outputs = {spec.name: spec for spec in contract.outputs}
    for name, texts in promises.labels.items():
        target = _named("--labels", name, list(outputs), list(outputs), "output")
        outputs[target] = _with_labels(outputs[target], texts)
    return dataclasses.replace(
        contract, inputs=tuple(inputs.values()), outputs=tuple(outputs.values())
    )


def _by_name(value: Any) -> Mapping[str | None, Any]:
    return value if isinstance(value, Mapping) else {None: value}


def _numbers(option: str, value: Numbers) -> tuple[float, ...]:
    numbers = tuple(map(float, value if isinstance(value, Sequence) else [value]))
    for number in numbers:
        if not math.isfinite(number) or (number == 0 and option == "scale"):
            raise RecipeError(f"--{option} {number:g} is no number to scale with.")
        if number <= 0 and option == "std":
            raise RecipeError(f"--std {number:g} is not positive.")
    if not numbers:
        raise RecipeError(f"--{option} has no value; give one, or one per channel.")
    return numbers


def _named(
    option: str, name: str | None, known: Sequence[str], fitting: Sequence[str], what: str
) -> str:
    """Return the tensor that an option is about."""
    if name is None:
        if len(fitting) == 1:
            return fitting[0]
        if not fitting:
            raise RecipeError(f"{option}: the model has no {what}; leave it out.")
        raise RecipeError(
            f"{option}: the model has {len(fitting)} {what}s ({', '.join(fitting)}); say which: "
            f"{option} {fitting[0]}=VALUE."
        )
    if name not in known:
        raise RecipeError(
            f"{option}: the model has no {what} '{name}'.{closest(name, known)} "
            f"It has {', '.join(known)}."
        )
    return name


def _picture(spec: InputSpec) -> ImageSpec | None:
    """Return how pictures map onto an input; [N, H, W] counts, where it is said to be scaled."""
    if spec.image is not None:
        return spec.image
    sizes = spec.shape[1:]
    grey = len(sizes) == 2 and all(isinstance(size, int) for size in sizes)
    return ImageSpec("NHW", "grayscale") if grey else None


def _with_preprocessing(spec: InputSpec, given: dict[str, tuple[float, ...]]) -> InputSpec:
    options = " and ".join(f"--{option}" for option in given)
    image = _picture(spec)
    if image is None or not spec.dtype.startswith("float"):
        raise RecipeError(
            f"{options}: the input '{spec.name}' {spec.dtype} {list(spec.shape)} takes no pictures "
            "as floating point numbers; leave it out."
        )
    if spec.by_caller is not None or spec.in_graph is not None:
        where = "the model's contract" if spec.by_caller is not None else "the model itself"
        raise RecipeError(
            f"{options}: the input '{spec.name}' is scaled already, by {where}; done twice, "
            "it would be wrong. Leave it out."
        )
    channels = 1 if image.color == "grayscale" else 3
    for option, values in given.items():
        if len(values) not in (1, channels):
            raise RecipeError(
                f"--{option} has {len(values)} values, the input '{spec.name}' {channels} "
                f"channel{'s' if channels > 1 else ''}; give one, or one per channel."
            )
    count = max(map(len, given.values()))
    scale, mean, std = (
        values if len(values) == count else values * count
        for values in (given.get(option, (neutral,)) for option, neutral in _NEUTRAL.items())
    )
    affine = Affine(
        tuple(a / d for a, d in zip(scale, std, strict=True)),
        tuple(-m / d + 0.0 for m, d in zip(mean, std, strict=True)),  # not -0.0
    )
    if not all(_SMALLEST < abs(value) < _LARGEST for value in affine.scale) or not all(
        abs(value) < _LARGEST for value in affine.offset
    ):
        raise RecipeError(f"{options}: scale / std or mean / std is no float32 number.")
    return dataclasses.replace(spec, image=image, by_caller=affine)


def _with_labels(spec: OutputSpec, labels: tuple[str, ...]) -> OutputSpec:
    classes = spec.shape[-1] if len(spec.shape) > 1 else None
    if classes != len(labels):
        raise RecipeError(
            f"--labels names {len(labels)} classes, the output '{spec.name}' has the shape "
            f"{list(spec.shape)}. Give a file with one label for each entry of the last axis."
        )
    return dataclasses.replace(spec, labels=labels)
