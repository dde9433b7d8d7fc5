"""A Keras model made ready to learn from a dataset."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.contract import Contract, InputSpec
from toolkit.datasets import Dataset, Split
from toolkit.runtime.feeding import to_batch
from toolkit.training.interface import describe
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
    contract = describe(model, source.name, data, recipe)
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
