"""One run of a training: from its options to a model file and its figures."""

import dataclasses
import importlib.metadata
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit import __version__
from toolkit.contract import Contract, new_step
from toolkit.datasets import Dataset, sample
from toolkit.files import sha256, whole_file, write_text
from toolkit.keras_files import read_contract, write_contract
from toolkit.measuring.accuracy import wilson_interval
from toolkit.training.loop import Outcome, train_epochs
from toolkit.training.network import Network, build_network, new_model
from toolkit.training.options import RunOptions
from toolkit.training.recipe import ModelRecipe
from toolkit.training.result import History, RunResult
from toolkit.training.source import ModelSource

Advance = Callable[..., None]


@dataclass(frozen=True)
class Subject:
    """What all runs of a training share: the model's file, its recipe and the data."""

    source: ModelSource
    recipe: ModelRecipe
    data: Dataset

    def data_document(self) -> dict[str, str]:
        """Return the name and the digest of the data, for provenance."""
        return {"name": self.data.name, "sha256": self.data.digest}


def steps_per_epoch(subject: Subject, options: RunOptions) -> int:
    """Return the number of batches in an epoch."""
    return math.ceil(len(subject.data.training) / options.batch_size)


def train_run(
    subject: Subject, options: RunOptions, name: str, place: Path, number: str, advance: Advance
) -> RunResult:
    """Train one run, or finish one that was interrupted.

    Args:
        subject: What is trained.
        options: How.
        name: What sets the run apart; "" for a single one.
        place: Its files are this path with .npz (its state), .keras and .json appended.
        number: Which run it is ("2/6"), or "" for a single one.
        advance: Moves the progress bar; called once for every step of all epochs.

    Raises:
        ModelError: The model cannot be built.
        DataError: The data does not fit the model.
        OutputError: A file cannot be written.
    """
    network = build_network(subject.source, options, subject.data, subject.recipe)
    steps = steps_per_epoch(subject, options)
    counted = 0
    head = f"{number}  " if number else ""
    if number:
        say(f"run {number}  {name}")

    def on_batch(epoch: int, loss: float, accuracy: float) -> None:
        nonlocal counted
        counted += 1
        advance(
            1,
            note=f"{head}epoch {epoch + 1}/{options.epochs}"
            f"  loss {loss:.4f}  accuracy {100 * accuracy:.2f} %",
        )

    def on_epoch(history: History) -> None:
        nonlocal counted
        done = steps * len(history["loss"])
        advance(done - counted)  # epochs that a checkpoint held
        counted = done
        say(_epoch_line(history, options.epochs))

    checkpoint = _append(place, ".npz")
    outcome = train_epochs(
        network, subject.data, options.epochs, checkpoint, on_batch=on_batch, on_epoch=on_epoch
    )
    advance(steps * options.epochs - counted)  # epochs that a diverged run left out
    result = _save(subject, network, options, outcome, name, place)
    checkpoint.unlink(missing_ok=True)
    return result


def read_run(place: Path) -> RunResult | None:
    """Return the result of a run that an interrupted training had finished, or None."""
    record, model = _append(place, ".json"), _append(place, ".keras")
    if not record.exists():
        return None
    document = json.loads(record.read_text(encoding="utf-8"))
    trained = document["best_epoch"] > 0
    if trained and not model.exists():
        return None
    names = {field.name for field in dataclasses.fields(RunResult)} - {"path"}
    return RunResult(
        path=model if trained else None, **{name: document[name] for name in sorted(names)}
    )


def test_run(
    subject: Subject, options: RunOptions, path: Path
) -> tuple[float, tuple[float, float]]:
    """Measure a run's model on the test samples and put the figure into its contract.

    Returns:
        The accuracy, a fraction in [0, 1], and its 95 % Wilson interval.
    """
    network = build_network(subject.source, options, subject.data, subject.recipe)
    # Read into a model without optimizer, as the file has none.
    model = new_model(subject.source, options, subject.data)
    model.load_weights(path)
    network.model.set_weights(model.get_weights())
    test = subject.data.test
    accuracy = network.evaluate(test)["accuracy"]
    interval = wilson_interval(round(accuracy * len(test)), len(test))
    contract = read_contract(path)
    assert contract is not None  # noqa: S101 - written by _save
    evidence = _accuracy(f"{subject.data.name}, test samples", len(test), accuracy) | {
        "top1_interval": list(interval)
    }
    # A training that was stopped right behind this line has the figure already.
    kept = tuple(entry for entry in contract.evidence if entry["data"] != evidence["data"])
    write_contract(path, dataclasses.replace(contract, evidence=(*kept, evidence)))
    return accuracy, interval


def say(line: str) -> None:
    """Print a line on stderr; above the progress bar while there is one."""
    sys.stderr.write(f"{line}\n")


def _save(
    subject: Subject,
    network: Network,
    options: RunOptions,
    outcome: Outcome,
    name: str,
    place: Path,
) -> RunResult:
    """Write the best weights as a model without optimizer, and the figures beside it."""
    path, accuracy, loss, train_accuracy = None, None, None, None
    if outcome.best_epoch:
        path = _append(place, ".keras")
        accuracy = outcome.history["val_accuracy"][outcome.best_epoch - 1]
        loss = outcome.history["val_loss"][outcome.best_epoch - 1]
        network.model.set_weights(outcome.weights)
        part = sample(subject.data.training, len(subject.data.validation), seed=0)
        train_accuracy = network.evaluate(part)["accuracy"]
    result = RunResult(
        name=name,
        path=path,
        options=options.to_dict(),
        parameters=network.model.count_params(),
        history=outcome.history,
        best_epoch=outcome.best_epoch,
        validation_accuracy=accuracy,
        validation_loss=loss,
        train_accuracy=train_accuracy,
        diverged=outcome.diverged,
    )
    if path is not None:
        # A fresh model was never compiled, so that no trace of the training is saved with it.
        model = new_model(subject.source, options, subject.data)
        model.set_weights(outcome.weights)
        with whole_file(path) as temporary:
            model.save(temporary)
        write_contract(path, _contract(subject, network, result))
    document = result.history_document(subject.source.name, subject.data_document())
    write_text(_append(place, ".json"), json.dumps(document, indent=2))
    return result


def _contract(subject: Subject, network: Network, result: RunResult) -> Contract:
    packages = {name: importlib.metadata.version(name) for name in ("keras", "tensorflow")}
    step = new_step(
        "train",
        source=subject.source.path.name,
        sha256=sha256(subject.source.path),
        data=subject.data_document(),
        options=result.options,
        results={"best_epoch": result.best_epoch},
        versions={"toolkit": __version__, **packages},
    )
    samples = f"{subject.data.name}, validation samples"
    return network.contract.with_step(
        step, _accuracy(samples, len(subject.data.validation), result.validation_accuracy)
    )


def _accuracy(data: str, samples: int, top1: float | None) -> dict[str, Any]:
    return {"check": "accuracy", "data": data, "samples": samples, "top1": top1}


def _epoch_line(history: History, epochs: int) -> str:
    """Return the figures of the last epoch in a line that fits into 80 columns."""
    figures = {name: values[-1] for name, values in history.items()}
    head = f"epoch {len(history['loss'])}/{epochs}"
    if figures["loss"] is None or figures["val_loss"] is None:
        return f"{head}  the loss is no longer a number; stopped"
    accuracy, validation = (100 * (figures[name] or 0.0) for name in ("accuracy", "val_accuracy"))
    return (
        f"{head}  loss {figures['loss']:.4f}  accuracy {accuracy:.2f} %"
        f"  validation {figures['val_loss']:.4f}  {validation:.2f} %  {figures['seconds']:.0f} s"
    )


def _append(place: Path, suffix: str) -> Path:
    """Return the path with a suffix appended: a run's name may hold dots."""
    return place.with_name(place.name + suffix)
