"""Datasets in numpy's .npz archives."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.datasets.dataset import Dataset, Split, from_one_set, from_sets
from toolkit.errors import DataError

LIMIT_BYTES = 8 * 2**30
_SETS = ("x_train", "y_train", "x_test", "y_test")
_MOST_CLASSES = 2**24
# Names under which people save the samples and the labels of a single set.
_SAMPLES = ("x", "images", "data")
_LABELS = ("y", "labels", "targets")


def load(path: Path) -> Dataset:
    """Load x_train, y_train, x_test, y_test (Keras' layout), or x and optionally y.

    An optional array ``classes`` or ``label_names`` of strings names the classes.

    Raises:
        DataError: The file is damaged, holds Python objects, or has other arrays.
    """
    arrays = _read(path)
    names = arrays.get("label_names", arrays.get("classes"))
    labels = None if names is None else tuple(str(name) for name in names)
    if all(key in arrays for key in _SETS):
        return from_sets(
            str(path),
            split(arrays["x_train"], arrays["y_train"], path),
            split(arrays["x_test"], arrays["y_test"], path),
            labels,
        )
    samples = next((arrays[key] for key in _SAMPLES if key in arrays), None)
    if samples is None:
        raise DataError(
            f"'{path}' has the arrays {', '.join(sorted(arrays)) or '(none)'}; expected "
            "x_train, y_train, x_test, y_test, or x and y."
        )
    targets = next((arrays[key] for key in _LABELS if key in arrays), None)
    return from_one_set(str(path), split(samples, targets, path), labels)


def split(samples: npt.NDArray[Any], labels: npt.NDArray[Any] | None, origin: Path | str) -> Split:
    """Return a checked split; labels [N] or [N, 1] of any integer dtype become int64 [N].

    Raises:
        DataError: Counts differ, there are no samples, or the labels are no class indices.
    """
    if samples.ndim < 2 or len(samples) == 0:
        raise DataError(
            f"'{origin}': the samples have the shape {list(samples.shape)}; expected at least one "
            "sample and one more axis, such as [N, height, width]."
        )
    if labels is None:
        return Split(samples, None)
    labels = labels.reshape(-1) if labels.shape in ((len(labels), 1), (len(labels),)) else labels
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"'{origin}': the labels are {labels.dtype} {list(labels.shape)}; expected one class "
            "index per sample, integers [N]."
        )
    if len(labels) != len(samples):
        raise DataError(f"'{origin}': {len(samples)} samples, but {len(labels)} labels.")
    if int(labels.max()) >= _MOST_CLASSES:
        raise DataError(f"'{origin}': the label {int(labels.max())} is no class index.")
    if int(labels.min()) < 0:
        raise DataError(f"'{origin}': the label {int(labels.min())} is negative.")
    return Split(samples, labels.astype(np.int64))


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    if not zipfile.is_zipfile(path):
        raise DataError(f"'{path}' is no .npz archive, or is damaged. Save it with numpy.savez.")
    try:
        with zipfile.ZipFile(path) as archive:
            expanded = sum(member.file_size for member in archive.infolist())
        if expanded > LIMIT_BYTES:
            raise DataError(
                f"'{path}' expands to {expanded / 1e9:.1f} GB, more than {LIMIT_BYTES / 1e9:.0f} "
                "GB. Give a folder with one sub-folder of images per class, which is read on "
                "demand."
            )
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except ValueError as error:
        if "pickle" in str(error).lower():
            raise DataError(
                f"'{path}' holds Python objects, which are not loaded because they could run "
                "code. Save plain number arrays."
            ) from error
        raise DataError(f"'{path}' is damaged: {error}. Save it again.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, AttributeError) as error:
        raise DataError(f"'{path}' is damaged: {error}. Save it again.") from error
    except MemoryError as error:
        raise DataError(f"'{path}' does not fit into memory; give a smaller file.") from error
