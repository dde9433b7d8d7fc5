"""Remembers calibrated ranges, so that a second try with the same samples starts at once.

One JSON file for each combination of graph, samples, method, versions and code, in the cache
folder. The cache is a convenience: a file that cannot be read or written is as good as none.
"""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from toolkit import __version__
from toolkit.datasets.builtin import cache_dir
from toolkit.errors import DataError, OutputError
from toolkit.files import sha256, write_text
from toolkit.quantization.recipe import Activations, Calibration
from toolkit.runtime.session import import_onnxruntime

# What a range depends on: how samples are divided and measured, and where ranges are cut off.
SOURCES = ("calibration.py", "ranges.py", "samples.py", "thresholds.py")


def key(
    model: onnx.ModelProto,
    names: Sequence[str],
    samples: str,
    calibration: Calibration,
    activations: Activations,
) -> str | None:
    """Return the sha256 that stands for a calibration.

    None when the toolkit is installed without its sources, of which the key is made.

    Args:
        model: The float graph that is run.
        names: The activations.
        samples: What tells these samples from all others (`Data.key`).
        calibration: The method.
        activations: The integers that will stand for the activations.
    """
    try:
        code = [sha256(Path(__file__).with_name(name)) for name in SOURCES]
    except DataError:
        return None
    versions = [__version__, str(import_onnxruntime().__version__)]
    options = [calibration.model_dump(), activations.model_dump()]
    digest = hashlib.sha256(model.SerializeToString(deterministic=True))
    digest.update(json.dumps([code, versions, list(names), samples, options]).encode())
    return digest.hexdigest()


def read(name: str) -> dict[str, Any] | None:
    """Return what was remembered under a key, or None."""
    try:
        document = json.loads(_path(name).read_text(encoding="utf-8"))
    # RuntimeError: there is no home folder, or brackets are nested too deeply.
    except (OSError, ValueError, RuntimeError):
        return None
    return document if isinstance(document, dict) else None


def write(name: str, ranges: Any) -> None:
    """Remember a result (a dataclass) under a key."""
    with contextlib.suppress(OSError, OutputError, RuntimeError):
        path = _path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(dataclasses.asdict(ranges)))


def _path(name: str) -> Path:
    return cache_dir() / "calibration" / f"{name}.json"
