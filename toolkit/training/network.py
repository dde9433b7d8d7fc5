"""A Keras model made ready to learn from a dataset, and the contract that it will carry."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from toolkit.datasets import Dataset, Split
from toolkit.errors import DataError, ModelError, RecipeError
from toolkit.runtime.feeding import to_batch
from toolkit.training.options import RunOptions
from toolkit.training.recipe import ModelRecipe
from toolkit.training.source import ModelSource

FINAL_RATE = 0.01  # where a cosine schedule ends, as a fraction of the learning rate
_EVALUATION_FACTOR = 4  # without gradients, four times the batch fits into the same memory

OnBatch = Callable[[float, float], None]


@dataclass(frozen=True)
class Network:
    """A model, compiled.

    Attributes:
        model: The Keras model.
        contract: What to feed it and what comes back, without provenance and evidence.
        batch_size: Samples per training step.
        seed: Decides the order of the samples.
    """

    model: Any
    contract: Contract
    batch_size: int
    seed: int

    def train_epoch(self, epoch: int, split: Split, on_batch: OnBatch) -> dict[str, float]:
        """Take one pass over the samples, in an order that seed and epoch decide.

        Nothing but the variables of model and optimizer is carried from one epoch to the next,
        so that a run can be continued from a file with the same result.

        Args:
            epoch: The number of epochs before this one.
            split: Training samples.
            on_batch: Called after every step with the mean loss and accuracy so far.

        Returns:
            The mean loss and accuracy over the epoch, while the weights were changing.
        """
        import keras

        class Report(keras.callbacks.Callback):  # type: ignore[misc]
            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                on_batch(float(logs["loss"]), float(logs["accuracy"]))

        order = np.random.default_rng([self.seed, epoch]).permutation(len(split))
        batches = _batches(split.take(order), self.contract.inputs[0], self.batch_size)
        history = self.model.fit(
            batches,
            initial_epoch=epoch,
            epochs=epoch + 1,
            shuffle=False,
            verbose=0,
            callbacks=[Report()],
        ).history
        return {name: float(history[name][-1]) for name in ("loss", "accuracy")}

    def evaluate(self, split: Split) -> dict[str, float]:
        """Return the mean loss and the accuracy, a fraction in [0, 1], on the samples."""
        size = _EVALUATION_FACTOR * self.batch_size
        batches = _batches(split, self.contract.inputs[0], size)
        figures = self.model.evaluate(batches, verbose=0, return_dict=True)
        # Keras computes the mean in float32; a count of samples is exact.
        right = round(float(figures["accuracy"]) * len(split))
        return {"loss": float(figures["loss"]), "accuracy": right / len(split)}


def build_network(
    source: ModelSource, options: RunOptions, data: Dataset, recipe: ModelRecipe
) -> Network:
    """Build and compile the model of a run; the same options give the same first weights.

    Raises:
        ModelError: The model cannot be built.
        DataError: The data does not fit the model.
        RecipeError: The recipe's contract facts do not fit the model.
    """
    import keras

    model = new_model(source, options, data)
    contract = _contract(model, source.name, data, recipe)
    steps = math.ceil(len(data.training) / options.batch_size) * options.epochs
    model.compile(
        optimizer=_optimizer(options, steps),
        loss=keras.losses.SparseCategoricalCrossentropy(
            from_logits=contract.outputs[0].kind == "logits"
        ),
        metrics=["accuracy"],
    )
    return Network(model, contract, options.batch_size, options.seed)


def new_model(source: ModelSource, options: RunOptions, data: Dataset) -> Any:
    """Return the untrained Keras model of a run, with the layer names that it always has."""
    import keras

    # Layers without a name of their own are numbered; start again at one.
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(options.seed)
    shape = data.training.images[:1].shape[1:]
    if len(shape) == 2:
        shape = (*shape, 1)
    model = source.make(options.settings, input_shape=shape, classes=data.classes)
    if isinstance(model, keras.Sequential) and not model.built:
        model.build((None, *shape))
    return model


def learning_rate(network: Network) -> float:
    """Return the step size that the optimizer would use next, to float32's seven digits."""
    return float(f"{float(network.model.optimizer.learning_rate):.7g}")


def _batches(split: Split, spec: InputSpec, size: int) -> Any:
    """Return the samples as Keras reads them: batch by batch, as the contract says."""
    import keras

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return math.ceil(len(split) / size)

        def __getitem__(self, index: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
            part = slice(index * size, (index + 1) * size)
            assert split.labels is not None  # noqa: S101 - checked before any training
            return to_batch(split.images[part], spec), split.labels[part]

    return Batches()


def _optimizer(options: RunOptions, steps: int) -> Any:
    import keras

    optimizer = keras.optimizers.get(options.optimizer)
    rate = options.learning_rate or float(optimizer.learning_rate)
    if options.schedule == "constant":
        return type(optimizer)(learning_rate=rate)
    warm_up = round(options.warm_up * steps)
    return type(optimizer)(
        learning_rate=keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=rate * FINAL_RATE if warm_up else rate,
            decay_steps=max(1, steps - warm_up),
            alpha=FINAL_RATE,
            warmup_target=rate if warm_up else None,
            warmup_steps=warm_up,
        )
    )


def _contract(model: Any, name: str, data: Dataset, recipe: ModelRecipe) -> Contract:
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
    spec = InputSpec(
        name=entry.name,
        dtype=str(entry.dtype),
        shape=_sizes(entry.shape),
        image=_image(entry.shape, samples, recipe if own_data else ModelRecipe()),
        by_caller=_affine(model, samples, recipe, name),
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
                kind=recipe.output.kind or _kind(model),
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


def _affine(model: Any, samples: npt.NDArray[Any], recipe: ModelRecipe, name: str) -> Affine | None:
    import keras

    if samples.dtype.kind not in "ui":
        return None
    scale = recipe.input.scale
    if scale is None:
        first = next(
            (layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)),
            None,
        )
        own = isinstance(first, keras.layers.Rescaling | keras.layers.Normalization)
        scale = 1.0 if own else 1 / 255
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


def _kind(model: Any) -> OutputKind:
    """Tell probabilities from logits by the last layer."""
    import keras

    last = model.layers[-1]
    if isinstance(last, keras.layers.Softmax):
        return "probabilities"
    softmax = getattr(last, "activation", None) is keras.activations.softmax
    return "probabilities" if softmax else "logits"
