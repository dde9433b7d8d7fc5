"""Datasets in the idx format of the original MNIST files, plain or gzipped.

Format: two zero bytes, a type byte (0x08 is unsigned byte), the number of axes, each size as a
big-endian 32-bit integer, then the values. Source: LeCun, Cortes, Burges, "The MNIST database".
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from toolkit.datasets.dataset import Dataset, from_one_set, from_sets
from toolkit.datasets.npz import split
from toolkit.errors import DataError

_PARTS = ("train", "t10k")


def is_file(path: Path) -> bool:
    """Tell whether a file is named as an idx file of images."""
    return "images" in path.name and "idx" in path.name


def is_folder(path: Path) -> bool:
    """Tell whether a folder holds the four files train-* and t10k-*."""
    return all(_find(path, part, "images") is not None for part in _PARTS)


def load_folder(
    path: Path, name: str | None = None, labels: tuple[str, ...] | None = None
) -> Dataset:
    """Load train-images, train-labels, t10k-images and t10k-labels (idx3/idx1, .gz or plain).

    Raises:
        DataError: A file is missing or damaged.
    """
    parts = []
    for part in _PARTS:
        images, targets = _find(path, part, "images"), _find(path, part, "labels")
        if images is None or targets is None:
            raise DataError(f"'{path}' lacks the {part} images or labels in idx format.")
        parts.append(split(read(images), read(targets), images))
    return from_sets(name or str(path), parts[0], parts[1], labels)


def load_file(path: Path) -> Dataset:
    """Load one idx file of images; labels stand beside it under the usual name, if at all."""
    twin = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    targets = read(twin) if twin.exists() else None
    return from_one_set(str(path), split(read(path), targets, path))


def read(path: Path) -> npt.NDArray[np.uint8]:
    """Read an idx file of unsigned bytes.

    Raises:
        DataError: It is no idx file, holds another type, or is truncated.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"'{path}' cannot be read, or is damaged: {error}.") from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or content[3] == 0:
        raise DataError(f"'{path}' is no idx file of unsigned bytes.")
    axes = content[3]
    start = 4 + 4 * axes
    if len(content) < start:
        raise DataError(f"'{path}' is truncated.")
    shape = struct.unpack(f">{axes}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise DataError(
            f"'{path}' is truncated or damaged: {len(content) - start} bytes for the shape "
            f"{list(shape)}."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _find(folder: Path, part: str, what: str) -> Path | None:
    axes = "idx3" if what == "images" else "idx1"
    for separator in "-.":
        for ending in ("", ".gz"):
            path = folder / f"{part}-{what}{separator}{axes}-ubyte{ending}"
            if path.is_file():
                return path
    return None
