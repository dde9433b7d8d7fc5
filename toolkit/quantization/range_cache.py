"""Remembers calibrated ranges, so that a second try with the same samples starts at once.

One JSON file for each combination of graph, samples and method, in the cache folder. The
cache is a convenience: a file that cannot be read or written is as good as none.
"""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from toolkit.datasets.builtin import cache_dir
from toolkit.quantization.recipe import Activations, Calibration

_FORMAT = 1  # counted up when the meaning of a range changes


def key(
    model: onnx.ModelProto,
    names: Sequence[str],
    samples: str,
    calibration: Calibration,
    activations: Activations,
) -> str:
    """Return the sha256 that stands for a calibration.

    Args:
        model: The float graph that is run.
        names: The activations.
        samples: What tells these samples from all others (`Data.key`).
        calibration: The method.
        activations: The integers that will stand for the activations.
    """
    digest = hashlib.sha256(model.SerializeToString(deterministic=True))
    options = [calibration.model_dump(), activations.model_dump()]
    digest.update(json.dumps([_FORMAT, list(names), samples, options]).encode())
    return digest.hexdigest()


def read(name: str) -> dict[str, Any] | None:
    """Return what was remembered under a key, or None."""
    try:
        document = json.loads(_path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def write(name: str, ranges: Any) -> None:
    """Remember a result (a dataclass) under a key."""
    path = _path(name)
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(dataclasses.asdict(ranges)), encoding="utf-8")
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()


def _path(name: str) -> Path:
    return cache_dir() / "calibration" / f"{name}.json"
