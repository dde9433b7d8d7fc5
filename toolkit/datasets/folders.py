"""Datasets in folders: one sub-folder of images per class, read on demand."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from toolkit.datasets.dataset import Dataset, Index, Split, from_one_set, from_sets
from toolkit.errors import DataError
from toolkit.runtime.images import decode

Form = tuple[tuple[int, int], str]  # width and height, Pillow's mode "L" or "RGB"

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}
_TRAINING = ("train", "training")
_TEST = ("test", "testing", "val", "validation")


class ImageFiles:
    """Image files as an array of uint8 pixels; a file is decoded when it is asked for.

    They are converted to one size and mode: [n, H, W] for "L", [n, H, W, 3] for "RGB".
    """

    def __init__(self, paths: list[Path], size: tuple[int, int], mode: str) -> None:
        self._paths = paths
        self._size = size
        self._mode = mode

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Index, /) -> npt.NDArray[Any]:
        numbers = np.arange(len(self._paths))[index]
        return np.stack([self._decode(self._paths[number]) for number in np.atleast_1d(numbers)])

    def _decode(self, path: Path) -> npt.NDArray[np.uint8]:
        image = decode(path).convert(self._mode)
        if image.size != self._size:
            image = image.resize(self._size, Image.Resampling.BILINEAR)
        return np.asarray(image, np.uint8)


def load(path: Path, form: Form | None = None) -> Dataset:
    """Load a folder with one sub-folder per class, or with train/ and test/ of that form.

    The sub-folders' names, sorted, are the labels; names that are all numbers are sorted as
    numbers.

    Args:
        path: The folder.
        form: Size and mode of the samples; by default those of the first picture of the first
            class, grey when the first pictures of all classes are.

    Raises:
        DataError: There are no class folders, a class is empty, or train/ and test/ differ.
    """
    training, test = _child(path, _TRAINING), _child(path, _TEST)
    if training is None or test is None:
        names = _class_names(path)
        files = _files(path, names)
        found, notes = _form(files, form)
        samples = _split(files, found)
        return from_one_set(str(path), samples, tuple(names), _digest(files), notes)
    names = _class_names(training)
    if _class_names(test) != names:
        raise DataError(f"'{path}': '{training.name}' and '{test.name}' have other classes.")
    files, held_out = _files(training, names), _files(test, names)
    found, notes = _form(files, form)
    return from_sets(
        str(path),
        _split(files, found),
        _split(held_out, found),
        tuple(names),
        _digest([*files, *held_out]),
        notes,
    )


def _child(path: Path, names: tuple[str, ...]) -> Path | None:
    return next((path / name for name in names if (path / name).is_dir()), None)


def _class_names(path: Path) -> list[str]:
    names = [entry.name for entry in path.iterdir() if entry.is_dir() and entry.name[0] != "."]
    if len(names) < 2:
        raise DataError(
            f"'{path}' has {len(names)} sub-folders; expected one sub-folder of images per class."
        )
    return sorted(names, key=int) if all(name.isdecimal() for name in names) else sorted(names)


def _files(path: Path, names: list[str]) -> list[tuple[Path, int]]:
    files: list[tuple[Path, int]] = []
    for number, name in enumerate(names):
        found = sorted(
            entry
            for entry in (path / name).rglob("*")
            if entry.suffix.lower() in _SUFFIXES and entry.is_file()
        )
        if not found:
            raise DataError(f"'{path / name}' holds no image files.")
        files.extend((entry, number) for entry in found)
    return files


def _form(files: list[tuple[Path, int]], wanted: Form | None) -> tuple[Form, tuple[str, ...]]:
    """Return the form that all samples get, and what a person should know about it."""
    pictures = [decode(path) for path in _first_of_each_class(files)]
    sizes = list(dict.fromkeys(picture.size for picture in pictures))
    mode = "L" if {picture.mode for picture in pictures} == {"L"} else "RGB"
    form = wanted or (sizes[0], mode)
    width, height = form[0]
    if sizes == [form[0]] and (mode == form[1] or wanted is None):
        return form, ()
    color = {"L": "grey", "RGB": "colour"}[form[1]]
    origin = "as the model takes them" if wanted else "the size of the first"
    return form, (f"pictures are converted to {width}x{height}, {color}: {origin}",)


def _first_of_each_class(files: list[tuple[Path, int]]) -> Iterator[Path]:
    seen: set[int] = set()
    for path, number in files:
        if number not in seen:
            seen.add(number)
            yield path


def _split(files: list[tuple[Path, int]], form: Form) -> Split:
    images = ImageFiles([path for path, _ in files], *form)
    return Split(images, np.asarray([number for _, number in files], np.int64))


def _digest(files: list[tuple[Path, int]]) -> str:
    digest = hashlib.sha256()
    for path, number in files:
        digest.update(number.to_bytes(8, "little"))
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
