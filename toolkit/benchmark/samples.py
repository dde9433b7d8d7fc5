"""The samples that a bench measures on: those that are asked for, or the models' own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.benchmark import answers as answering
from toolkit.benchmark.plan import RANDOM
from toolkit.contract import Contract
from toolkit.datasets import Dataset, Part, Split, evaluation_split, load_dataset
from toolkit.errors import DataError
from toolkit.runtime import Model
from toolkit.runtime.session import Provider


@dataclass(frozen=True)
class Samples:
    """A dataset, and the part of it that no model has seen."""

    dataset: Dataset
    split: Split
    part: Part


def choose_samples(
    data: str | Path | None, opened: Mapping[Provider, Mapping[str, Model]]
) -> tuple[Samples | None, list[str]]:
    """Return the samples to measure on, None for random inputs, and what to say about the choice.

    Args:
        data: A dataset's name or path, `RANDOM`, or None for the data that the models were
            trained on, as a contract tells, where it is at hand.
        opened: The loaded models by provider and name.

    Raises:
        DataError: ``data`` cannot be loaded, or does not fit the models.
    """
    contracts = [model.contract for models in opened.values() for model in models.values()]
    if data == RANDOM:
        return None, ["Inputs are random and accuracy was not measured, as asked for."]
    if data is not None:
        return _load(data, opened, contracts), []
    name = next((entry.training_data for entry in contracts if entry.training_data), None)
    if name is None:
        return None, ["Inputs are random and accuracy was not measured; add --data for that."]
    try:
        return _load(name, opened, contracts), []
    except DataError as error:
        reason = "Inputs are random and accuracy was not measured: the training data is not usable."
        return None, [f"{reason} {error}"]


def _load(
    data: str | Path,
    opened: Mapping[Provider, Mapping[str, Model]],
    contracts: Sequence[Contract],
) -> Samples:
    dataset = load_dataset(data, contracts[0])
    split, part = evaluation_split(dataset, *contracts)
    for models in opened.values():
        answering.check_data(dataset, split, models)
    return Samples(dataset, split, part)
