"""What training reports: every run, and the one that was chosen."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

History = dict[str, list[float | None]]


@dataclass(frozen=True)
class RunResult:
    """One trained model.

    Attributes:
        name: What sets it apart from the other runs ("optimizer=sgd"); "" for a single run.
        path: Where its weights are; None when the training diverged before a first good epoch.
        options: What it was trained with; see `RunOptions`.
        parameters: Numbers in the model.
        history: By name the figure of each epoch: "loss" and "accuracy" over the epoch while the
            weights were changing, "val_loss" and "val_accuracy" at its end, "learning_rate" at
            its end, "seconds". A figure that is not finite is None.
        best_epoch: The epoch whose weights were kept, from 1; 0 when there is none.
        validation_accuracy: With those weights, a fraction in [0, 1].
        validation_loss: With those weights.
        train_accuracy: With those weights, on as many training samples as there are validation
            samples.
        diverged: The loss became infinite or not a number, and the run was stopped.
    """

    name: str
    path: Path | None
    options: dict[str, Any]
    parameters: int
    history: History
    best_epoch: int
    validation_accuracy: float | None
    validation_loss: float | None
    train_accuracy: float | None
    diverged: bool

    @property
    def seconds(self) -> float:
        """Wall time of all epochs, with validation."""
        return sum(value or 0.0 for value in self.history["seconds"])

    @property
    def overfitting_gap(self) -> float | None:
        """Training minus validation accuracy, in percentage points."""
        if self.train_accuracy is None or self.validation_accuracy is None:
            return None
        return round(100 * (self.train_accuracy - self.validation_accuracy), 6)

    def rank(self) -> tuple[float, float]:
        """Return a key that is highest for the best run: validation accuracy, then loss."""
        if self.validation_accuracy is None or self.validation_loss is None:
            return (-1.0, 0.0)
        return (self.validation_accuracy, -self.validation_loss)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document without the history."""
        return {
            "name": self.name,
            "path": None if self.path is None else str(self.path),
            "options": self.options,
            "parameters": self.parameters,
            "best_epoch": self.best_epoch,
            "validation_accuracy": self.validation_accuracy,
            "validation_loss": self.validation_loss,
            "train_accuracy": self.train_accuracy,
            "overfitting_gap": self.overfitting_gap,
            "diverged": self.diverged,
            "seconds": round(self.seconds, 3),
        }

    def history_document(self, model: str, data: dict[str, str]) -> dict[str, Any]:
        """Return the JSON document of ``<output>.history.json``."""
        document = self.to_dict()
        del document["path"]
        return {
            "schema": "toolkit.history/1",
            "model": model,
            "data": data,
            **document,
            "history": self.history,
        }


@dataclass(frozen=True)
class TrainResult:
    """The model that was chosen by validation accuracy, and what it was chosen from.

    Attributes:
        path: The model.
        model: Name of its source.
        data: Name of the dataset.
        chosen: Its run.
        runs: All runs, in the order in which they were trained.
        test_accuracy: The chosen model's, a fraction in [0, 1]; the test samples are used for
            nothing else.
        test_accuracy_interval: Its 95 % Wilson interval.
        test_samples: How many there are.
        history_path: The figures of the chosen run, epoch by epoch.
        curves_path: A picture of the curves of all runs.
    """

    path: Path
    model: str
    data: str
    chosen: RunResult
    runs: tuple[RunResult, ...]
    test_accuracy: float
    test_accuracy_interval: tuple[float, float]
    test_samples: int
    history_path: Path
    curves_path: Path

    @property
    def epochs(self) -> int:
        """Epochs that the chosen model was trained for."""
        return len(self.chosen.history["loss"])

    @property
    def seconds(self) -> float:
        """Wall time of the training of all runs."""
        return sum(run.seconds for run in self.runs)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": "toolkit.train/1",
            "path": str(self.path),
            "model": self.model,
            "data": self.data,
            "epochs": self.epochs,
            "best_epoch": self.chosen.best_epoch,
            "parameters": self.chosen.parameters,
            "test_accuracy": self.test_accuracy,
            "test_accuracy_interval": list(self.test_accuracy_interval),
            "test_samples": self.test_samples,
            "validation_accuracy": self.chosen.validation_accuracy,
            "train_accuracy": self.chosen.train_accuracy,
            "overfitting_gap": self.chosen.overfitting_gap,
            "seconds": round(self.seconds, 3),
            "options": self.chosen.options,
            "history": self.chosen.history,
            "history_path": str(self.history_path),
            "curves_path": str(self.curves_path),
            "runs": [run.to_dict() for run in self.runs],
        }
