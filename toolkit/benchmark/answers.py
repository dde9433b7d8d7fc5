"""What models answer on a dataset: their accuracy, and where they differ."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.benchmark.result import Accuracy, Flip
from toolkit.datasets import Dataset, Split, match_labels
from toolkit.errors import DataError
from toolkit.measuring.accuracy import confusion_matrix, mcnemar_p, wilson_interval
from toolkit.runtime import Model

Classes = npt.NDArray[np.int64]

_PIECE = 1000
_MAX_CLASSES = 100
_MAX_FLIPS = 100


@dataclass(frozen=True)
class Answers:
    """What a model answers to each of N samples.

    Attributes:
        predicted: The class that it names, [N].
        confidence: The probability that it gives to that class, [N].
        labels: The right classes [N], or None where they are not known.
        classes: How many classes it tells apart.
    """

    predicted: Classes
    confidence: npt.NDArray[np.float32]
    labels: Classes | None
    classes: int


def check_data(dataset: Dataset, split: Split, models: Mapping[str, Model]) -> None:
    """Check that the samples of a dataset fit the models, before anything is measured.

    Raises:
        DataError: It is empty, its samples do not fit an input, or its classes not the labels.
    """
    if not len(split):
        raise DataError(f"'{dataset.name}' has no samples to evaluate on.")
    for name, model in models.items():
        if len(model.contract.inputs) != 1:
            raise DataError(
                f"'{name}' takes {len(model.contract.inputs)} inputs, '{dataset.name}' feeds one. "
                "Run bench without --data to time it on random inputs."
            )
        labels = model.contract.outputs[0].labels
        if split.labels is None or not classifies(model):
            continue
        classes = model.probabilities(split.images[slice(0, 1)]).shape[1]
        if split.labels.max() >= classes:
            raise DataError(
                f"'{dataset.name}' has {int(split.labels.max()) + 1} classes, '{name}' tells "
                f"{classes} apart. Give it the data that it was trained for."
            )
        match_labels(dataset, labels, name)


def classifies(model: Model) -> bool:
    """Tell whether a model's answers are classes."""
    return model.contract.outputs[0].kind in ("probabilities", "logits")


def ask(model: Model, split: Split, advance: Callable[[int], object]) -> Answers:
    """Run all samples of a split through a model.

    Raises:
        DataError: The samples do not fit.
    """
    predicted: list[npt.NDArray[Any]] = []
    confidence: list[npt.NDArray[np.float32]] = []
    classes = 0
    for images, _ in split.batches(_PIECE):
        probabilities = model.probabilities(images)
        classes = probabilities.shape[1]
        predicted.append(probabilities.argmax(axis=1))
        confidence.append(probabilities.max(axis=1))
        advance(len(images))
    return Answers(np.concatenate(predicted), np.concatenate(confidence), split.labels, classes)


def accuracy(answers: Answers, baseline: Answers | None) -> Accuracy:
    """Return the accuracy of a model's answers, and their agreement with the baseline's."""
    samples, labels = len(answers.predicted), answers.labels
    hits = None if labels is None else int(np.sum(answers.predicted == labels))
    return Accuracy(
        samples=samples,
        top1=None if hits is None else hits / samples,
        top1_interval=None if hits is None else wilson_interval(hits, samples),
        agreement=None
        if baseline is None
        else float(np.mean(answers.predicted == baseline.predicted)),
        confusion=None
        if labels is None or answers.classes > _MAX_CLASSES
        else confusion_matrix(answers.predicted, labels, answers.classes).tolist(),
        wrong=None
        if labels is None
        else [int(index) for index in np.flatnonzero(answers.predicted != labels)],
    )


def paired(baseline: Answers, candidate: Answers) -> tuple[float | None, float | None]:
    """Return the drop in top-1 in percentage points, and McNemar's p; None without labels."""
    if baseline.labels is None:
        return None, None
    first = baseline.predicted == baseline.labels
    second = candidate.predicted == baseline.labels
    lost, won = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    return 100 * (lost - won) / len(first), mcnemar_p(lost, won)


def flips(baseline: Answers, candidate: Answers) -> tuple[int, list[Flip]]:
    """Return how many samples get another answer, and the 100 most confident new answers."""
    where = np.flatnonzero(baseline.predicted != candidate.predicted)
    where = where[np.argsort(-candidate.confidence[where], kind="stable")]
    listed = [
        Flip(
            index=int(index),
            label=None if baseline.labels is None else int(baseline.labels[index]),
            baseline=int(baseline.predicted[index]),
            candidate=int(candidate.predicted[index]),
            baseline_confidence=float(baseline.confidence[index]),
            candidate_confidence=float(candidate.confidence[index]),
        )
        for index in where[:_MAX_FLIPS]
    ]
    return len(where), listed
