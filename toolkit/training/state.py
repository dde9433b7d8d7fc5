"""An unfinished training on disk: what a killed run goes on from.

The folder ``<output>.state`` holds ``training.json`` (what is being trained, with which options),
``<run>.npz`` of the run in progress after its last whole epoch, and ``<run>.keras`` and
``<run>.json`` of the runs that are finished. Every file appears whole or not at all.
"""

import contextlib
import fcntl
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.errors import OutputError
from toolkit.files import whole_file, write_text

PLAN = "training.json"

Arrays = list[npt.NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """A run after a whole epoch.

    Attributes:
        model: Every variable of the model: weights, statistics, random seeds.
        optimizer: Every variable of the optimizer: moments, number of steps.
        best: The model's weights after its best epoch; empty before there is one.
        history: The figures of each epoch, by name.
    """

    model: Arrays
    optimizer: Arrays
    best: Arrays
    history: dict[str, list[float | None]]


@contextlib.contextmanager
def unfinished(
    output: Path, plan: dict[str, Any], *, force: bool = False
) -> Iterator[tuple[Path, bool]]:
    """Open the state folder of an output; yields it, and whether something was found in it.

    Nothing is removed at the end: `discard` does that when everything is in its place.

    Args:
        output: The model that is to be written.
        plan: What is being trained, as JSON; only the same plan is continued.
        force: Remove the state of another plan.

    Raises:
        OutputError: The folder holds the state of another plan, is in use by another process, or
            cannot be written.
    """
    folder = output.with_name(f"{output.name}.state")
    try:
        folder.mkdir(exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise OutputError(f"'{folder}' cannot be written: {error.strerror}.") from error
    try:
        _lock(handle, folder)
        try:
            found = _open(folder, plan, force=force)
            yield folder, found
        finally:
            # A folder that holds nothing to go on from says nothing.
            if folder.is_dir() and {entry.name for entry in folder.iterdir()} <= {PLAN}:
                discard(folder)
    finally:
        os.close(handle)


def discard(folder: Path) -> None:
    """Remove a state folder."""
    shutil.rmtree(folder, ignore_errors=True)


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint.

    Raises:
        OutputError: It cannot be written (permissions, a full disk); the last one stays.
    """
    groups = {"model": checkpoint.model, "optimizer": checkpoint.optimizer, "best": checkpoint.best}
    arrays = {
        f"{group}/{index:05d}": array
        for group, entries in groups.items()
        for index, array in enumerate(entries)
    }
    text = json.dumps(checkpoint.history)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, history=np.frombuffer(text.encode(), np.uint8), **arrays)  # type: ignore[arg-type]


def load(path: Path) -> Checkpoint | None:
    """Read a checkpoint; None when there is none.

    Raises:
        OutputError: The file is damaged.
    """
    if not path.exists():
        return None
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return Checkpoint(
                model=_group(file, "model"),
                optimizer=_group(file, "optimizer"),
                best=_group(file, "best"),
                history=json.loads(file["history"].tobytes()),
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise OutputError(
            f"'{path}' is damaged ({error}). Remove the folder '{path.parent}' to start anew."
        ) from error


def _group(file: Any, name: str) -> Arrays:
    return [file[key] for key in sorted(file.files) if key.startswith(f"{name}/")]


def _lock(handle: int, folder: Path) -> None:
    """Keep other trainings out until this process ends or closes the folder."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise OutputError(
            f"'{folder}' is in use by another training; wait for it, or name another output."
        ) from error


def _open(folder: Path, plan: dict[str, Any], *, force: bool) -> bool:
    """Make the folder that of a plan; tell whether it holds a state of it."""
    entries = list(folder.iterdir())
    try:
        found = json.loads((folder / PLAN).read_text(encoding="utf-8")) if entries else plan
    except (OSError, ValueError) as error:
        raise OutputError(
            f"'{folder}' is in the way: it is no state of a training. Move it away, or name "
            "another output."
        ) from error
    differences = _differences(found, plan)
    if differences and not force:
        raise OutputError(
            f"'{folder}' holds an unfinished training that differs in {', '.join(differences)}. "
            "Give the same options to go on with it, another output, or --force to drop it."
        )
    if differences:
        for entry in entries:
            entry.unlink()
    write_text(folder / PLAN, json.dumps(plan, indent=2))
    return bool(entries) and not differences


def _differences(found: Any, plan: dict[str, Any]) -> Sequence[str]:
    if not isinstance(found, dict):
        return ["everything"]
    return [f"'{name}'" for name in {**found, **plan} if found.get(name) != plan.get(name)]
