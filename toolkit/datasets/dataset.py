"""A dataset and its three parts, which never overlap."""

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from toolkit.contract import Contract
from toolkit.errors import DataError

VALIDATION_PART = 12  # one sample in 12 of the training data: 5,000 of MNIST's 60,000
TEST_PART = 5  # one in 5 when the data has no test set of its own
_SHOWN = 10  # class names in a message
_SPLIT_SEED = 20_231  # fixed: every step of the chain must hold out the same samples

Part = Literal["test", "held out", "all"]
Index = slice | npt.NDArray[np.integer]


class Images(Protocol):
    """Samples by index; a numpy array is one, a folder that is read on demand is another."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, index: Index, /) -> npt.NDArray[Any]:
        """Return the samples [n, ...] at the indices."""


@dataclass(frozen=True)
class Split:
    """Samples and their classes.

    Attributes:
        images: [N, H, W] or [N, H, W, C], uint8 pixels unless a user's file holds another dtype.
        labels: Class indices [N], int64, or None when the file has none.
    """

    images: Images
    labels: npt.NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: npt.NDArray[np.integer]) -> "Split":
        """Return the samples at the indices, in their order."""
        if isinstance(self.images, np.ndarray):
            images: Images = self.images[indices]
        else:
            images = _Selection(self.images, np.asarray(indices))
        return Split(images, None if self.labels is None else self.labels[indices])

    def batches(self, size: int) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[np.int64] | None]]:
        """Yield the samples in order, ``size`` at a time; the last batch may be smaller."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield self.images[part], None if self.labels is None else self.labels[part]


@dataclass(frozen=True)
class Dataset:
    """Training, validation and test samples.

    Attributes:
        name: The name or path that it was loaded by.
        digest: sha256 over all samples and labels, for provenance.
        training: Samples to train on and to calibrate with.
        validation: One in 12 of the training data, held out by a fixed permutation.
        test: Samples for the final figure; one in 5 when the file has no test set.
        whole: All samples when the file has one set only, else None.
        labels: Names of the classes, or None when the file has none.
        notes: What was done to the samples on loading that a person should know.
    """

    name: str
    digest: str
    training: Split
    validation: Split
    test: Split
    whole: Split | None
    labels: tuple[str, ...] | None
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        """The number of classes.

        Raises:
            DataError: The data has no labels.
        """
        if self.labels is not None:
            return len(self.labels)
        parts = (self.training, self.validation, self.test)
        highest = [
            int(part.labels.max()) for part in parts if part.labels is not None and len(part)
        ]
        if not highest:
            raise DataError(f"'{self.name}' has no labels.")
        return max(highest) + 1


def match_labels(dataset: Dataset, names: tuple[str, ...] | None, model: str) -> Dataset:
    """Return the dataset with its classes numbered as a model numbers them, by their names.

    Data without names, and models without, are taken as they are: numbers mean the same in both.
    The data may have fewer classes than the model.

    Raises:
        DataError: The data has a class that the model does not know.
    """
    own = dataset.labels
    if own is None or names is None or own == names:
        return dataset
    unknown = [name for name in own if name not in names]
    if unknown:
        raise DataError(
            f"'{dataset.name}' has the class '{unknown[0]}', which '{model}' does not know; it "
            f"answers {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}. "
            "Give it the data that it was trained for."
        )
    numbers = np.asarray([names.index(name) for name in own], np.int64)

    def numbered(split: Split) -> Split:
        return Split(split.images, None if split.labels is None else numbers[split.labels])

    return dataclasses.replace(
        dataset,
        training=numbered(dataset.training),
        validation=numbered(dataset.validation),
        test=numbered(dataset.test),
        whole=None if dataset.whole is None else numbered(dataset.whole),
        labels=names,
    )


def evaluation_split(dataset: Dataset, *contracts: Contract | None) -> tuple[Split, Part]:
    """Return the samples to measure models on, and which part of the data they are.

    The test set where the data has one. Of a file with one set, all samples, unless one of the
    models has seen the file (its provenance holds the file's digest): then the part that is held
    out of training and calibration.
    """
    if dataset.whole is None:
        return dataset.test, "test"
    seen = {
        step["data"].get("sha256")
        for contract in contracts
        if contract is not None
        for step in contract.provenance
        if isinstance(step.get("data"), dict)
    }
    return (dataset.test, "held out") if dataset.digest in seen else (dataset.whole, "all")


def from_sets(
    name: str,
    training: Split,
    test: Split,
    labels: tuple[str, ...] | None = None,
    digest: str | None = None,
    notes: tuple[str, ...] = (),
) -> Dataset:
    """Return a dataset whose file has a training and a test set."""
    learn, held_out = _divide(training, VALIDATION_PART)
    return Dataset(
        name=name,
        digest=digest or _digest(training, test),
        training=learn,
        validation=held_out,
        test=test,
        whole=None,
        labels=labels,
        notes=notes,
    )


def from_one_set(
    name: str,
    samples: Split,
    labels: tuple[str, ...] | None = None,
    digest: str | None = None,
    notes: tuple[str, ...] = (),
) -> Dataset:
    """Return a dataset whose file has one set; a fixed part of it is held out as test data."""
    remaining, test = _divide(samples, TEST_PART)
    learn, held_out = _divide(remaining, VALIDATION_PART)
    return Dataset(
        name=name,
        digest=digest or _digest(samples),
        training=learn,
        validation=held_out,
        test=test,
        whole=samples,
        labels=labels,
        notes=notes,
    )


def sample(split: Split, count: int, seed: int) -> Split:
    """Return ``count`` samples drawn without replacement, in the order of the split.

    All samples are returned when there are no more than ``count``. The classes come out evenly
    to within chance; the same seed gives the same samples on every machine.
    """
    if count >= len(split):
        return split
    chosen = np.random.default_rng(seed).choice(len(split), count, replace=False)
    return split.take(np.sort(chosen))


class _Selection:
    """Some of the samples of images that are read on demand."""

    def __init__(self, images: Images, indices: npt.NDArray[np.integer]) -> None:
        self._images = images
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: Index, /) -> npt.NDArray[Any]:
        return self._images[self._indices[index]]


def _divide(samples: Split, part: int) -> tuple[Split, Split]:
    """Return the samples without every ``part``-th of a fixed permutation, and those."""
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(samples))
    count = len(samples) // part
    return samples.take(np.sort(order[count:])), samples.take(np.sort(order[:count]))


def _digest(*parts: Split) -> str:
    digest = hashlib.sha256()
    for part in parts:
        for images, labels in part.batches(1024):
            digest.update(str((images.shape[1:], images.dtype.str)).encode())
            digest.update(np.ascontiguousarray(images).data)
            if labels is not None:
                digest.update(np.ascontiguousarray(labels).data)
    return digest.hexdigest()
