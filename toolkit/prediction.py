"""`predict`: what a model sees in picture files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import DataError
from toolkit.recipes import find_model
from toolkit.runtime import images, load
from toolkit.runtime.session import Provider


@dataclass(frozen=True)
class Candidate:
    """One class and its probability, in [0, 1]."""

    label: str
    confidence: float


@dataclass(frozen=True)
class FilePrediction:
    """The answer for one file.

    Attributes:
        file: The file.
        top: The most probable classes, best first.
        prepared: What was done to the picture, in order.
    """

    file: str
    top: tuple[Candidate, ...]
    prepared: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of one file."""
        return {
            "file": self.file,
            "label": self.top[0].label,
            "confidence": self.top[0].confidence,
            "top": [{"label": entry.label, "confidence": entry.confidence} for entry in self.top],
            "prepared": list(self.prepared),
        }


@dataclass(frozen=True)
class PredictResult:
    """The answers, and a line for each file that could not be read."""

    path: str
    predictions: tuple[FilePrediction, ...]
    failures: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": "toolkit.predict/1",
            "path": self.path,
            "predictions": [entry.to_dict() for entry in self.predictions],
            "failures": list(self.failures),
        }


def predict(
    model: str | Path,
    files: Sequence[str | Path],
    *,
    top: int = 1,
    raw: bool = False,
    provider: Provider = "cpu",
) -> PredictResult:
    """Classify picture files.

    A file that cannot be read does not keep the others from being answered.

    Args:
        model: An .onnx file, or a zoo name.
        files: Pictures of any common format, size and colour mode.
        top: How many classes to name for each.
        raw: Only convert and resize the pictures, also where the model's contract asks for more
            (for MNIST: finding the digit, light on black, centred as MNIST was made).
        provider: Where the model runs.

    Raises:
        ModelError: The model cannot be loaded, or does not classify pictures.
        DataError: The model takes no pictures.
        ValueError: ``top`` is below 1.
    """
    if top < 1:
        raise ValueError(f"top is {top}, it must be at least 1")
    path = find_model(str(model), ".onnx")
    loaded = load(path, provider=provider)
    spec = loaded.contract.inputs[0]
    labels = loaded.contract.outputs[0].labels
    if spec.image is None:
        raise DataError(f"'{path}' takes no pictures; use toolkit.runtime from Python to run it.")
    predictions, failures = [], []
    for file in files:
        try:
            picture = images.read(file, spec, raw=raw)
        except DataError as error:
            failures.append(str(error))
            continue
        probabilities = loaded.predict(picture.pixels).probabilities
        best = np.argsort(-probabilities, kind="stable")[:top]
        candidates = tuple(
            Candidate(labels[index] if labels else str(index), float(probabilities[index]))
            for index in best
        )
        predictions.append(FilePrediction(str(file), candidates, picture.notes))
    return PredictResult(str(path), tuple(predictions), tuple(failures))
