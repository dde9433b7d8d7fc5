"""`evaluate`: how often a Keras or ONNX model is right, and where it is wrong."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.contract import Contract
from toolkit.datasets import Dataset, Part, Split, evaluation_split, load_dataset
from toolkit.errors import DataError, ModelError
from toolkit.files import check_output
from toolkit.keras_files import read_contract
from toolkit.measuring import accuracy
from toolkit.recipes import find_model
from toolkit.reporting.terminal import note, progress
from toolkit.runtime import Model, load
from toolkit.runtime.scores import guess_kind, to_probabilities
from toolkit.runtime.session import Provider

KERAS_SUFFIXES = (".keras", ".h5")
_BATCH = 256


@dataclass(frozen=True)
class ClassAccuracy:
    """One class: how many samples it has and how many of them the model names right."""

    label: str
    samples: int
    accuracy: float | None  # None for a class without samples


@dataclass(frozen=True)
class EvaluateResult:
    """The accuracy of a model on the samples that were evaluated.

    Attributes:
        path: The model.
        data: Name of the data.
        part: Which part of it: "test", "all", or "held out" (of a file with one set that the
            model was trained on, the fixed part that training never sees).
        samples: How many.
        top1: Fraction of samples whose highest score is at the label, in [0, 1].
        top1_interval: Its 95 % Wilson interval.
        loss: Mean cross-entropy, in nats.
        per_class: Accuracy of each class.
        confusion: Counts [classes][classes]; rows are labels, columns predictions.
        labels: Names of the classes.
        errors: The picture of the wrongly classified samples, when one was asked for.
    """

    path: Path
    data: str
    part: Part
    samples: int
    top1: float
    top1_interval: tuple[float, float]
    loss: float
    per_class: tuple[ClassAccuracy, ...]
    confusion: tuple[tuple[int, ...], ...]
    labels: tuple[str, ...]
    errors: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": "toolkit.evaluate/1",
            "path": str(self.path),
            "data": self.data,
            "part": self.part,
            "samples": self.samples,
            "top1": self.top1,
            "top1_interval": list(self.top1_interval),
            "loss": self.loss,
            "per_class": [
                {"label": entry.label, "samples": entry.samples, "accuracy": entry.accuracy}
                for entry in self.per_class
            ],
            "confusion": [list(row) for row in self.confusion],
            "labels": list(self.labels),
            "errors": self.errors,
        }


def evaluate(
    model: str | Path,
    *,
    data: str | Path | None = None,
    errors: str | Path | None = None,
    provider: Provider = "cpu",
    force: bool = False,
) -> EvaluateResult:
    """Measure the accuracy of a model on labelled data.

    Args:
        model: An .onnx, .keras or .h5 file, or a zoo name.
        data: A dataset's name or path; by default the one that the model was trained on. Its
            test set is used; of a file with one set, all of it, unless the model was trained on
            that very file.
        errors: A PNG to draw with the wrongly classified pictures, most confident mistakes first.
        provider: Where an ONNX model runs.
        force: Replace the picture when it is there.

    Raises:
        ModelError: The model cannot be loaded, or does not classify.
        DataError: The data cannot be loaded, has no labels, or does not fit the model.
        OutputError: The picture cannot be written.
    """
    path = find_model(str(model), ".onnx", *KERAS_SUFFIXES)
    picture = (
        None
        if errors is None
        else check_output(errors, force=force, inputs=[path], suffixes=[".png"])
    )
    loaded = None if path.suffix in KERAS_SUFFIXES else load(path, provider=provider)
    contract = _keras_contract(path) if loaded is None else loaded.contract
    name = data or (contract.training_data if contract is not None else None)
    if name is None:
        raise DataError(
            f"'{path}' does not tell what it was trained on; name a dataset with --data."
        )
    dataset = load_dataset(name, contract)
    for remark in dataset.notes:
        note(remark)
    split, part = evaluation_split(dataset, contract)
    if split.labels is None:
        raise DataError(f"'{dataset.name}' has no labels; accuracy needs them.")
    probabilities = _probabilities(path, contract, split, loaded)
    labels = _labels(contract, dataset, probabilities.shape[1])
    if int(split.labels.max()) >= probabilities.shape[1]:
        raise DataError(
            f"'{dataset.name}' has the label {int(split.labels.max())}, but '{path}' has "
            f"{probabilities.shape[1]} classes (0 to {probabilities.shape[1] - 1})."
        )
    predicted = accuracy.predicted_classes(probabilities)
    confusion = accuracy.confusion_matrix(predicted, split.labels, len(labels))
    if picture is not None:
        from toolkit.reporting.mistakes import draw_mistakes

        draw_mistakes(split, probabilities, labels, picture, model=path.name, data=dataset.name)
    right = int(np.trace(confusion))
    return EvaluateResult(
        path=path,
        data=dataset.name,
        part=part,
        samples=len(split),
        top1=right / len(split),
        top1_interval=accuracy.wilson_interval(right, len(split)),
        loss=accuracy.cross_entropy(probabilities, split.labels),
        per_class=tuple(
            ClassAccuracy(
                label, int(row.sum()), float(row[index] / row.sum()) if row.sum() else None
            )
            for index, (label, row) in enumerate(zip(labels, confusion, strict=True))
        ),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        labels=labels,
        errors=None if picture is None else str(picture),
    )


def _keras_contract(path: Path) -> Contract | None:
    return read_contract(path) if path.suffix == ".keras" else None


def _probabilities(
    path: Path, contract: Contract | None, split: Split, model: Model | None
) -> npt.NDArray[np.float32]:
    """Return the class probabilities [N, classes] of every sample."""
    with progress(f"evaluating {path.name}", len(split)) as advance:
        if model is None:
            from toolkit.exporting import keras_outputs

            scores = keras_outputs(path, split.images, batch_size=_BATCH, advance=advance)
            kind = contract.outputs[0].kind if contract is not None else guess_kind(scores)
            if kind not in ("probabilities", "logits"):
                raise ModelError(f"'{path}' does not classify: its output is '{kind}'.")
            return to_probabilities(scores, kind)
        parts = []
        for images, _ in split.batches(_BATCH):
            parts.append(model.probabilities(images))
            advance(len(images))
        return np.concatenate(parts)


def _labels(contract: Contract | None, dataset: Dataset, classes: int) -> tuple[str, ...]:
    """Return names for the model's classes: its own, the data's, or numbers."""
    own = contract.outputs[0].labels if contract is not None else None
    for names in (own, dataset.labels):
        if names is not None and len(names) == classes:
            return names
    return tuple(str(index) for index in range(classes))
