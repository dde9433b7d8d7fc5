"""What a Keras model takes and gives: the contract that it will carry, checked against the data."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.contract import (
    Affine,
    Contract,
    ImageSpec,
    InputSpec,
    OutputKind,
    OutputSpec,
    guess_image,
)
from toolkit.datasets import Dataset
from toolkit.errors import DataError, ModelError, RecipeError
from toolkit.exporting.keras_contract import output_kind
from toolkit.runtime.feeding import to_batch
from toolkit.training.recipe import ModelRecipe


def describe(model: Any, name: str, data: Dataset, recipe: ModelRecipe) -> Contract:
    """Return the contract of a model on a dataset, without provenance and evidence.

    The shapes and names are the model's; the preprocessing is the recipe's, or what `Input`
    says about a recipe without one.

    Args:
        model: A Keras model with one input and one output.
        name: What to call it.
        data: What it is to be trained on.
        recipe: Its recipe; labels and preparation of pictures hold for the recipe's own data.

    Raises:
        ModelError: The model has no fixed input, or several.
        DataError: The samples or the classes do not fit the model.
        RecipeError: The recipe has another number of labels or channels than the data.
    """
    if not getattr(model, "inputs", None):  # a subclass of keras.Model: shapes and names are open
        raise ModelError(
            f"'{name}': build() returns a {type(model).__name__} without a fixed input; "
            "return a keras.Sequential, or keras.Model(inputs, outputs)."
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelError(
            f"'{name}' has {len(model.inputs)} inputs and {len(model.outputs)} outputs; "
            "train takes models with one of each."
        )
    own_data = data.name == recipe.data.name
    entry, result = model.inputs[0], model.outputs[0]
    samples = data.training.images[:1]
    image = _image(entry.shape, samples, recipe if own_data else ModelRecipe())
    scaled = samples.dtype.kind in "ui" and np.dtype(str(entry.dtype)).kind == "f"
    spec = InputSpec(
        name=entry.name,
        dtype=str(entry.dtype),
        shape=_sizes(entry.shape),
        image=image,
        by_caller=_affine(model, samples, recipe, name, image) if scaled else None,
    )
    _check_fit(spec, samples, name, data)
    if len(result.shape) != 2 or result.shape[1] != data.classes:
        raise DataError(
            f"'{name}' gives {_product(result.shape)} values for each sample, "
            f"'{data.name}' has {data.classes} classes. Give build() a parameter 'classes', "
            "or change the last layer."
        )
    labels = data.labels
    if labels is None and own_data and recipe.output.labels is not None:
        labels = recipe.output.labels
        if len(labels) != data.classes:
            raise RecipeError(
                f"The recipe of '{name}' names {len(labels)} labels, "
                f"'{data.name}' has {data.classes} classes."
            )
    return Contract(
        name=name,
        inputs=(spec,),
        outputs=(
            OutputSpec(
                name=_output_name(model),
                dtype=str(result.dtype),
                shape=_sizes(result.shape),
                kind=recipe.output.kind or _kind(result),
                labels=labels,
            ),
        ),
    )


def _check_fit(spec: InputSpec, samples: npt.NDArray[Any], name: str, data: Dataset) -> None:
    try:
        to_batch(samples, spec)
    except DataError as error:
        wanted = "x".join(str(size) for size in spec.sample_shape)
        found = "x".join(str(size) for size in samples.shape[1:])
        raise DataError(
            f"'{name}' takes samples of {wanted}, '{data.name}' has {found} ({samples.dtype}). "
            "Give build() a parameter 'input_shape', or prepare the data to that size."
        ) from error


def _sizes(shape: Sequence[int | None]) -> tuple[int | str, ...]:
    return tuple("batch" if size is None else size for size in shape)


def _product(shape: Sequence[int | None]) -> str:
    return "x".join(str(size) for size in shape[1:])


def _image(
    shape: Sequence[int | None], samples: npt.NDArray[Any], recipe: ModelRecipe
) -> ImageSpec | None:
    """Return how pictures map onto the input, or None when the samples are no pixels."""
    if samples.dtype.kind not in "ui":
        return None
    guess = guess_image(_sizes(shape))
    if guess is None and len(shape) == 3 and samples.ndim in (3, 4):
        guess = ImageSpec("NHW", "grayscale")
    if guess is None:
        return None
    return ImageSpec(guess.layout, guess.color, recipe.input.preparation)


def _affine(
    model: Any,
    samples: npt.NDArray[Any],
    recipe: ModelRecipe,
    name: str,
    image: ImageSpec | None,
) -> Affine | None:
    """Return what the caller does to integer samples, or None when there is nothing to do."""
    import keras

    scale = recipe.input.scale
    if scale is None:
        first = next(
            (layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)),
            None,
        )
        own = isinstance(first, keras.layers.Rescaling | keras.layers.Normalization)
        scale = 1.0 if own or image is None else 1 / 255
    affine = Affine(_values(scale), _values(recipe.input.offset))
    channels = samples.shape[3] if samples.ndim == 4 else 1
    for values in (affine.scale, affine.offset):
        if len(values) not in (1, channels):
            raise RecipeError(
                f"The recipe of '{name}' has {len(values)} values of scale or offset, "
                f"the data {channels} channels; give one, or one per channel."
            )
    if set(affine.scale) == {1.0} and set(affine.offset) == {0.0}:
        return None
    return affine


def _values(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


def _output_name(model: Any) -> str:
    """Return the name of the layer that gives the output; a Sequential has no `output_names`."""
    found = getattr(model, "output_names", None)
    return str(found[0] if found else model.layers[-1].name)


def _kind(output: Any) -> OutputKind:
    """Tell probabilities from logits; whatever is trained as a classifier is one of them."""
    return "probabilities" if output_kind(output) == "probabilities" else "logits"
