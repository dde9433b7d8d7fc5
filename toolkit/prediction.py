"""`predict`: classify picture files."""

import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import DataError
from toolkit.recipes import find_model
from toolkit.runtime import load
from toolkit.runtime.images import read
from toolkit.runtime.session import Provider


@dataclass(frozen=True)
class FilePrediction:
    """The answer for one picture.

    Attributes:
        file: The picture, as it was named.
        label: The most probable class.
        confidence: Its probability, in [0, 1].
        top: The most probable classes with their probabilities, best first.
        preparation: What was done to the picture before the model saw it.
    """

    file: str
    label: str
    confidence: float
    top: tuple[tuple[str, float], ...]
    preparation: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "file": self.file,
            "label": self.label,
            "confidence": self.confidence,
            "top": [{"label": label, "confidence": value} for label, value in self.top],
            "preparation": list(self.preparation),
        }


@dataclass(frozen=True)
class PredictResult:
    """The answers, and the pictures for which there is none.

    Attributes:
        path: The model.
        predictions: One per picture that could be read, in the order given.
        failures: File and reason of every other one.
        assumed: What was taken for granted because the model carries no contract, or None.
    """

    path: Path
    predictions: tuple[FilePrediction, ...]
    failures: tuple[tuple[str, str], ...]
    assumed: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": "toolkit.predict/1",
            "path": str(self.path),
            "predictions": [prediction.to_dict() for prediction in self.predictions],
            "failures": [{"file": file, "error": error} for file, error in self.failures],
            "assumed": self.assumed,
        }


def predict(
    model: str | Path,
    images: Iterable[str | os.PathLike[str]],
    *,
    top: int = 1,
    raw: bool = False,
    provider: Provider = "auto",
) -> PredictResult:
    """Classify picture files.

    A picture that cannot be read does not stop the others; it is among the result's failures.

    Args:
        model: An .onnx file, or a zoo name.
        images: The picture files.
        top: How many classes to name for each.
        raw: Only convert to the input's colours and size, without the preparation that the
            model's contract asks for (an MNIST digit is otherwise inverted, cropped and centred).
        provider: Where the model runs.

    Raises:
        ModelError: The model cannot be loaded, or does not classify.
        DataError: The model takes no pictures.
        ValueError: ``top`` is below 1.
    """
    if top < 1:
        raise ValueError(f"top is {top}, it must be at least 1")
    loaded = load(find_model(str(model), ".onnx"), provider=provider)
    spec, output = loaded.contract.inputs[0], loaded.contract.outputs[0]
    if spec.image is None:
        shape = ", ".join(str(size) for size in spec.shape)
        raise DataError(
            f"'{loaded.path}' takes no pictures: its input '{spec.name}' is {spec.dtype} [{shape}]."
            " Use toolkit.load() and its run()."
        )
    predictions, failures = [], []
    for image in images:
        try:
            with warnings.catch_warnings():
                # Pillow's remarks on files that are odd but readable.
                warnings.simplefilter("ignore")
                picture = read(image, spec, raw=raw)
            answer = loaded.predict(picture.pixels)
        except DataError as error:
            failures.append((os.fspath(image), str(error)))
            continue
        best = np.argsort(-answer.probabilities, kind="stable")[:top]
        names = output.labels or [str(index) for index in range(len(answer.probabilities))]
        predictions.append(
            FilePrediction(
                file=os.fspath(image),
                label=answer.label,
                confidence=answer.confidence,
                top=tuple((names[index], float(answer.probabilities[index])) for index in best),
                preparation=picture.notes,
            )
        )
    assumed = None
    if loaded.contract.assumed:
        assumed = (
            f"'{loaded.path}' carries no contract: assumed that it takes {spec.image.color} "
            f"pictures of values 0 to 255 as {spec.image.layout}, and that '{output.name}' gives "
            f"{output.kind}"
        )
    return PredictResult(Path(loaded.path), tuple(predictions), tuple(failures), assumed)
