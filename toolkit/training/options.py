"""From options with several values to the runs that they mean."""

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.recipes import validate
from toolkit.training.recipe import ModelRecipe, Schedule, Training

# What the command line and `train` may vary, beside the settings of the model itself.
VARIED = ("epochs", "batch_size", "optimizer", "learning_rate", "seed")


@dataclass(frozen=True)
class RunOptions:
    """Everything that decides the weights of one run, beside the data and the model's file.

    Attributes:
        epochs: Passes over the training data.
        batch_size: Samples per step.
        optimizer: Name of the Keras optimizer.
        learning_rate: Step size, or None for the default of Keras.
        schedule: How the step size changes; see `Training`.
        warm_up: Fraction of the steps that a cosine schedule warms up for.
        seed: Decides the first weights and the order of the samples.
        settings: Arguments of the model's `build`.
    """

    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float | None
    schedule: Schedule
    warm_up: float
    seed: int
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return dataclasses.asdict(self) | {"settings": _plain(self.settings)}


def trainings(recipe: ModelRecipe, *, fast: bool, values: Mapping[str, object]) -> list[Training]:
    """Return the recipe with every combination of the values that the caller gave.

    A recipe's learning rate was chosen for its own optimizer, so another optimizer runs at the
    default of Keras unless a rate is given.

    Args:
        recipe: What holds where ``values`` says nothing.
        fast: Start from the recipe's fast table.
        values: One value or a list of values for each name in `VARIED`; None means the recipe's.

    Raises:
        RecipeError: A value is unknown or out of range.
    """
    base = recipe.training.model_dump() | (recipe.fast.model_dump() if fast else {})
    given = {name: _listed(value) for name, value in values.items() if value is not None}
    combinations = []
    for chosen in itertools.product(*given.values()):
        document = base | dict(zip(given, chosen, strict=True))
        if document["optimizer"] != base["optimizer"] and "learning_rate" not in given:
            document["learning_rate"] = None
        combinations.append(validate(document, Training, "train"))
    return combinations


def runs(
    combinations: Sequence[Training], settings: Mapping[str, Sequence[object]]
) -> list[RunOptions]:
    """Return one run for every training with every combination of the settings' values."""
    products = [
        dict(zip(settings, chosen, strict=True)) for chosen in itertools.product(*settings.values())
    ]
    return [
        RunOptions(
            epochs=training.epochs,
            batch_size=training.batch_size,
            optimizer=training.optimizer,
            learning_rate=training.learning_rate,
            schedule=training.schedule,
            warm_up=training.warm_up,
            seed=training.seed,
            settings=product,
        )
        for training in combinations
        for product in products
    ]


def several(settings: Mapping[str, object]) -> dict[str, list[object]]:
    """Return the values of each setting as a list; a list means several, a tuple one value."""
    return {name: _listed(value) for name, value in settings.items()}


def names(every: Sequence[RunOptions]) -> list[str]:
    """Return a name for each run that says what sets it apart: "optimizer=sgd filters=16-32".

    A single run is named "".
    """
    flat = [{name: getattr(run, name) for name in VARIED} | {**run.settings} for run in every]
    varied = [name for name in flat[0] if len({repr(run[name]) for run in flat}) > 1]
    # A learning rate that only follows the optimizer says nothing new.
    if "optimizer" in varied and any(run["learning_rate"] is None for run in flat):
        varied = [name for name in varied if name != "learning_rate"]
    return [" ".join(f"{name}={_shown(run[name])}" for name in varied) for run in flat]


def file_stems(every: Sequence[str]) -> list[str]:
    """Return a file name without suffix for each run's name, numbered in their order."""
    width = len(str(len(every)))
    return [
        f"{number:0{width}}_{re.sub(r'[^A-Za-z0-9.=-]+', '_', name)}".rstrip("_")
        for number, name in enumerate(every, 1)
    ]


def _listed(value: object) -> list[object]:
    """Return the different values of a list in their order, or the one value."""
    if isinstance(value, list):
        return [entry for index, entry in enumerate(value) if entry not in value[:index]]
    return [value]


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "-".join(str(entry) for entry in value)
    return str(value)


def _plain(settings: Mapping[str, object]) -> dict[str, object]:
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()
    }
