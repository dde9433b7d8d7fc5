"""`train`: one run, or every combination of options; the best by validation data is kept."""

import dataclasses
import gc
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.datasets import Dataset, load_dataset
from toolkit.errors import CheckFailedError, DataError
from toolkit.files import sha256
from toolkit.quiet_tensorflow import import_tensorflow
from toolkit.reporting.terminal import progress
from toolkit.training import curves, state
from toolkit.training.network import build_network
from toolkit.training.options import RunOptions, file_stems, names, runs, several, trainings
from toolkit.training.places import Places, check_others, check_places
from toolkit.training.recipe import read_recipe
from toolkit.training.result import RunResult, TrainResult
from toolkit.training.run import Subject, read_run, say, steps_per_epoch, test_run, train_run
from toolkit.training.source import find_source, load_source


def train(
    model: str | Path,
    output: str | Path,
    *,
    data: str | Path | None = None,
    epochs: int | list[int] | None = None,
    batch_size: int | list[int] | None = None,
    optimizer: str | list[str] | None = None,
    learning_rate: float | list[float] | None = None,
    settings: Mapping[str, object] | None = None,
    seed: int | list[int] | None = None,
    fast: bool = False,
    force: bool = False,
) -> TrainResult:
    """Train a Keras model, or one for every combination of the values in lists.

    The run with the highest validation accuracy is written to ``output``, the others to
    ``<output's stem>.sweep/``; beside ``output`` stand ``<output>.history.json`` and a picture
    of the curves, ``<output>.curves.png``. The test samples are used once, for the model that
    was chosen. An interrupted training goes on from ``<output>.state/`` when it is called again
    with the same options, and ends with the weights that it would have had. The same seed gives
    the same weights on the same machine.

    Args:
        model: A name of the zoo, or a Python file whose ``build()`` returns a Keras model. The
            TOML file beside it is its recipe.
        output: The .keras file to write.
        data: A dataset (see `load_dataset`); by default the recipe's.
        epochs: Passes over the training data.
        batch_size: Samples per step.
        optimizer: Name of a Keras optimizer.
        learning_rate: Its step size.
        settings: Arguments of ``build``; a list means several values, a tuple is one value.
        seed: Decides the first weights and the order of the samples.
        fast: Use the recipe's table for a short training.
        force: Replace files that are there.

    Raises:
        RecipeError: An option is unknown or out of range.
        ModelError: The Python file cannot be executed, or its model not built.
        DataError: The data cannot be read or does not fit the model.
        OutputError: A file cannot be written, or is there already.
        MissingPackageError: TensorFlow or matplotlib is not installed.
        CheckFailedError: The loss became infinite in every run; nothing was written.
    """
    places = check_places(Path(output), force=force)
    file = find_source(model)
    recipe = read_recipe(file)
    given = {
        "epochs": epochs,
        "batch_size": batch_size,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    combinations = trainings(recipe, fast=fast, values=given)
    curves.require()
    # The same kernels in the same order: without it two runs of one seed drift apart.
    import_tensorflow().config.experimental.enable_op_determinism()

    source = load_source(file)
    chosen = {
        name: [source.settings({name: value})[name] for value in values]
        for name, values in several(settings or {}).items()
    }
    every = runs(combinations, chosen)
    subject = Subject(source, recipe, _load(str(data or recipe.data.name)))
    if len(every) > 1:
        check_others(places, force=force)
    for options in every:  # an impossible one is told before the first is trained
        build_network(source, options, subject.data, recipe)

    plan = _plan(subject, every)
    with state.unfinished(places.model, plan, force=force) as (folder, found):
        if found:
            say(f"Going on with the training in '{folder}'; remove that folder to start anew.")
        try:
            results = _train_all(subject, every, folder)
            result = _finish(subject, every, results, folder, places)
        except KeyboardInterrupt:
            if any(folder.glob("*.npz")) or any(folder.glob("*.keras")):
                say(f"The state is in '{folder}': the same command goes on from there.")
            raise
        state.discard(folder)
    return result


def _load(name: str) -> Dataset:
    data = load_dataset(name)
    for remark in data.notes:
        say(remark)
    parts = {"training": data.training, "validation": data.validation, "test": data.test}
    for part, split in parts.items():
        if len(split) == 0:
            raise DataError(
                f"'{name}' leaves no {part} samples: one in 12 of the training data validates. "
                "Give more samples."
            )
        if split.labels is None:
            raise DataError(f"'{name}' has no labels for its {part} samples.")
    if data.classes < 2:
        raise DataError(f"'{name}' has one class only; there is nothing to learn.")
    return data


def _plan(subject: Subject, every: Sequence[RunOptions]) -> dict[str, Any]:
    """Return all that decides the result, for the comparison with an unfinished training."""
    fields = [field.name for field in dataclasses.fields(RunOptions)]
    packages = ("keras", "tensorflow", "numpy")
    document = {
        "model": str(subject.source.path),
        "model file": sha256(subject.source.path),
        "recipe": subject.recipe.model_dump(include={"data", "input", "output"}),
        "data": subject.data_document(),
        **{name: [run.to_dict()[name] for run in every] for name in fields},
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }
    # Tuples become lists, as they are when the plan is read back.
    return dict(json.loads(json.dumps(document)))


def _train_all(subject: Subject, every: Sequence[RunOptions], folder: Path) -> list[RunResult]:
    titles = names(every)
    places = [folder / stem for stem in file_stems(titles)]
    steps = [run.epochs * steps_per_epoch(subject, run) for run in every]
    data = subject.data
    say(
        f"{subject.source.name}: {len(data.training):,} training, {len(data.validation):,} "
        f"validation and {len(data.test):,} test samples of '{data.name}'"
        + (f"; {len(every)} combinations" if len(every) > 1 else "")
    )
    results = []
    with progress("Training", sum(steps)) as advance:
        for index, options in enumerate(every):
            number = f"{index + 1}/{len(every)}" if len(every) > 1 else ""
            result = read_run(places[index])
            if result is None:
                result = train_run(subject, options, titles[index], places[index], number, advance)
            else:
                advance(steps[index])
            results.append(result)
            gc.collect()  # Keras' models are full of cycles; the last one need not stay in memory
    return results


def _finish(
    subject: Subject,
    every: Sequence[RunOptions],
    results: Sequence[RunResult],
    folder: Path,
    places: Places,
) -> TrainResult:
    """Choose a run, use the test samples on it, and put every file into its place."""
    best = max(range(len(results)), key=lambda index: results[index].rank())
    chosen = results[best]
    if chosen.path is None:
        state.discard(folder)
        raise CheckFailedError(
            f"The loss of '{subject.source.name}' became infinite or not a number in the first "
            "epoch; nothing was written. Lower --learning-rate."
        )
    accuracy, interval = test_run(subject, every[best], chosen.path)
    curves.draw(folder / "curves.png", results, chosen, subject.source.name, subject.data.name)
    stems = file_stems([run.name for run in results])
    places.fill(folder, stems, best)

    targets = [
        places.model if index == best else places.others_model(stem)
        for index, stem in enumerate(stems)
    ]
    moved = tuple(
        run if run.path is None else dataclasses.replace(run, path=target)
        for run, target in zip(results, targets, strict=True)
    )
    return TrainResult(
        path=places.model,
        model=subject.source.name,
        data=subject.data.name,
        chosen=moved[best],
        runs=moved,
        test_accuracy=accuracy,
        test_accuracy_interval=interval,
        test_samples=len(subject.data.test),
        history_path=places.history,
        curves_path=places.curves,
    )
