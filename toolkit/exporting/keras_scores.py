"""Runs a Keras model on images, in the child process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.datasets.dataset import Images
from toolkit.errors import ModelError
from toolkit.exporting import child
from toolkit.exporting.sources import open_source

Array = npt.NDArray[Any]


def keras_outputs(
    path: str | Path,
    images: Images | Array,
    *,
    batch_size: int = 256,
    advance: Callable[[int], object] | None = None,
    timeout_s: float = child.TIMEOUT_S,
) -> Array:
    """Return a Keras model's output for each image, [N, ...].

    Args:
        path: A .keras or .h5 file.
        images: Samples [N, ...] as they stand in a dataset, such as uint8 pixels; what the
            model's contract leaves to the caller (division by 255) is done here.
        batch_size: Samples per call of the model.
        advance: Called with the number of samples worked off, for a progress bar.
        timeout_s: Seconds after which the child process is killed.

    Raises:
        ModelError: The file is no Keras model that can be loaded, or has several outputs.
        DataError: The images do not fit the model.
        MissingPackageError: TensorFlow is not installed.
    """
    path = Path(path)
    source = open_source(path)
    child.require_tensorflow()
    with child.workshop() as folder:
        _write(images, folder / child.IMAGES, batch_size)
        job = {"task": "outputs", **source.to_job(), "batch_size": batch_size}

        def listen(message: dict[str, Any]) -> None:
            if advance is not None and "done" in message:
                advance(message["done"])

        child.run(job, folder, listen, timeout_s=timeout_s)
        with np.load(folder / child.OUTPUTS) as archive:
            outputs: list[Array] = [archive[name] for name in archive.files]
    if len(outputs) != 1:
        raise ModelError(
            f"'{path}' has {len(outputs)} outputs; scores are read from models with one."
        )
    return outputs[0]


def _write(images: Images | Array, path: Path, batch_size: int) -> None:
    """Write images, which may be decoded on demand, into one .npy file."""
    first = images[0:1]
    target = np.lib.format.open_memmap(
        path, mode="w+", dtype=first.dtype, shape=(len(images), *first.shape[1:])
    )
    for start in range(0, len(images), batch_size):
        target[start : start + batch_size] = images[start : start + batch_size]
    target.flush()
