"""One run: epoch after epoch, the best weights kept, everything saved after each epoch."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from toolkit.datasets import Dataset
from toolkit.training import state
from toolkit.training.network import Network, learning_rate
from toolkit.training.result import History
from toolkit.training.state import Arrays, Checkpoint

FIGURES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds")

OnEpoch = Callable[[History], None]
OnBatch = Callable[[int, float, float], None]


@dataclass(frozen=True)
class Outcome:
    """What a run ends with.

    Attributes:
        weights: The model's weights after its best epoch; empty when there was none.
        history: The figures of each epoch.
        best_epoch: From 1; 0 when there was none.
        diverged: The loss became infinite or not a number.
    """

    weights: Arrays
    history: History
    best_epoch: int
    diverged: bool


def train_epochs(
    network: Network,
    data: Dataset,
    epochs: int,
    checkpoint: Path,
    *,
    on_batch: OnBatch,
    on_epoch: OnEpoch,
) -> Outcome:
    """Train for a number of epochs, going on from a checkpoint when there is one.

    Best means the highest accuracy on the validation data, and of equals the lowest loss. A run
    that went on from a checkpoint ends with the weights of one that was never interrupted.

    Args:
        network: A compiled model with its first weights.
        data: Training and validation samples; the test samples are not touched.
        epochs: How many in all, those before the checkpoint included.
        checkpoint: Written after each epoch, and left in place.
        on_batch: Called after each step with the epoch, and the mean loss and accuracy so far.
        on_epoch: Called after each epoch with the history.

    Raises:
        OutputError: The checkpoint cannot be written, or is damaged.
    """
    history: History = {name: [] for name in FIGURES}
    best: Arrays = []
    # Creates the optimizer's variables, which a checkpoint then fills.
    network.model.optimizer.build(network.model.trainable_variables)
    found = state.load(checkpoint)
    if found is not None:
        _restore(network, found)
        history, best = found.history, found.best
        on_epoch(history)
    for epoch in range(len(history["loss"]), epochs):
        if is_diverged(history):
            break
        started = time.perf_counter()
        figures = network.train_epoch(epoch, data.training, partial(on_batch, epoch))
        validation = network.evaluate(data.validation)
        figures |= {f"val_{name}": value for name, value in validation.items()}
        figures["learning_rate"] = learning_rate(network)
        figures["seconds"] = time.perf_counter() - started
        for name in FIGURES:
            value = figures[name]
            history[name].append(value if math.isfinite(value) else None)
        if best_epoch(history) == epoch + 1:
            best = network.model.get_weights()
        state.save(checkpoint, _checkpoint(network, best, history))
        on_epoch(history)
    return Outcome(best, history, best_epoch(history), is_diverged(history))


def best_epoch(history: History) -> int:
    """Return the epoch of the best validation figures, from 1; 0 when none is finite."""
    ranks = [
        (-1.0, 0.0) if accuracy is None or loss is None or train is None else (accuracy, -loss)
        for accuracy, loss, train in zip(
            history["val_accuracy"], history["val_loss"], history["loss"], strict=True
        )
    ]
    if not ranks or max(ranks)[0] < 0:
        return 0
    return ranks.index(max(ranks)) + 1


def is_diverged(history: History) -> bool:
    """Tell whether the last epoch's loss is infinite or not a number."""
    return bool(history["loss"]) and None in (history["loss"][-1], history["val_loss"][-1])


def _checkpoint(network: Network, best: Arrays, history: History) -> Checkpoint:
    return Checkpoint(
        model=[variable.numpy() for variable in network.model.variables],
        optimizer=[variable.numpy() for variable in network.model.optimizer.variables],
        best=best,
        history=history,
    )


def _restore(network: Network, checkpoint: Checkpoint) -> None:
    groups = (
        (network.model.variables, checkpoint.model),
        (network.model.optimizer.variables, checkpoint.optimizer),
    )
    for variables, arrays in groups:
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
