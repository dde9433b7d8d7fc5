"""The samples that quantization needs, as tensors ready to feed.

They come from a dataset (calibration from the training data, the budget decided on validation
data, the figure reported on test data), from an .npz that names the model's inputs, or from a
user's own dicts of input tensors.
"""

import dataclasses
import hashlib
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.contract import Contract, InputSpec
from toolkit.datasets import Dataset, Split, load_dataset, sample
from toolkit.datasets.dataset import Images
from toolkit.errors import DataError
from toolkit.runtime.feeding import to_batch

Feed = dict[str, npt.NDArray[Any]]
"""One batch: an array for every input, the samples along axis 0."""

_LABELS = {"y", "labels", "targets"}  # an archive that has one of them is a dataset
_HELD_OUT = 5  # every fifth sample of data without sets of its own is kept from calibration
_FEWEST = 3  # one to calibrate, one to check, one to measure


@dataclass(frozen=True)
class Samples:
    """Samples of all inputs of a model, turned into tensors batch by batch.

    Attributes:
        specs: The model's inputs; of a dataset's pictures, preprocessing that the contract
            leaves to the caller is applied.
        arrays: The samples of each input, by its name, all of one length.
        labels: Class indices [N], or None.
    """

    specs: tuple[InputSpec, ...]
    arrays: Mapping[str, Images]
    labels: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def take(self, indices: npt.NDArray[np.integer]) -> "Samples":
        """Return the samples at the indices, in their order."""
        arrays = {
            name: Split(array, None).take(indices).images for name, array in self.arrays.items()
        }
        return Samples(self.specs, arrays, None if self.labels is None else self.labels[indices])

    def head(self, count: int) -> "Samples":
        """Return the first samples, all of them when there are fewer."""
        return self if count >= len(self) else self.take(np.arange(count))

    def feeds(self, size: int, first: int = 0, end: int | None = None) -> Iterator[Feed]:
        """Yield the samples from ``first`` to before ``end``, ``size`` at a time.

        The last batch may be smaller.

        Raises:
            DataError: A sample does not fit its input, or is not finite.
        """
        stop = len(self) if end is None else end
        for start in range(first, stop, size):
            yield self.feed(slice(start, min(start + size, stop)))

    def feed(self, part: slice) -> Feed:
        """Return the tensors of one part of the samples; see `feeds`."""
        tensors = {spec.name: to_batch(self.arrays[spec.name][part], spec) for spec in self.specs}
        for name, tensor in tensors.items():
            if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
                raise DataError(
                    f"Input '{name}': the samples hold NaN or infinity (first in samples "
                    f"{part.start} to {part.start + len(tensor) - 1}). Remove those samples."
                )
        return tensors


@dataclass(frozen=True)
class Data:
    """The three parts of the data that quantization uses; they do not overlap.

    Attributes:
        name: What the user calls it.
        digest: sha256 of it all.
        calibration: Samples that the ranges are measured on: training data.
        validation: Held out of the training data; decisions are made on it.
        test: For the reported figure alone.
        labels: Names of the classes, or None.
        key: What tells the calibration samples from all others.
    """

    name: str
    digest: str
    key: str
    calibration: Samples
    validation: Samples
    test: Samples
    labels: tuple[str, ...] | None = None


def from_data(
    data: str | Path | Iterable[Mapping[str, npt.NDArray[Any]]],
    contract: Contract,
    *,
    count: int,
    seed: int,
) -> Data:
    """Return the samples of a dataset, of an .npz by input names, or of input dicts.

    Args:
        data: A dataset's name or path (`toolkit.datasets.load_dataset`), an .npz whose arrays
            are named as the model's inputs, or dicts that map each input's name to a batch.
            Dicts are read once and kept in memory, no further than until there are ``count``
            samples for calibration and a quarter as many for validation and test together; so
            a generator does, even one without end.
        contract: The model's inputs.
        count: Samples for calibration; fewer when there are not that many.
        seed: Draws the calibration samples of a dataset.

    Raises:
        DataError: The data cannot be read, does not fit the model's inputs, or has too few
            samples to divide.
    """
    if isinstance(data, str | Path):
        named = _named_arrays(Path(data), contract)
        if named is None:
            return _from_dataset(load_dataset(data, contract), contract, count, seed)
        return _held_out(str(data), named, contract, count)
    needed = count + count // (_HELD_OUT - 1)
    return _held_out("input dicts", _collected(data, contract, needed), contract, count)


def _from_dataset(dataset: Dataset, contract: Contract, count: int, seed: int) -> Data:
    if len(contract.inputs) != 1:
        names = ", ".join(f"'{spec.name}'" for spec in contract.inputs)
        raise DataError(
            f"'{dataset.name}' is a dataset of pictures, the model has {len(contract.inputs)} "
            f"inputs ({names}). Give an .npz with one array for each input, under its name."
        )
    counts = [len(part) for part in (dataset.training, dataset.validation, dataset.test)]
    if not all(counts):
        raise DataError(
            f"'{dataset.name}' has too few samples: {counts[0]} are left to calibrate with, "
            f"{counts[1]} to validate and {counts[2]} to test, and none may be used twice. Give at "
            "least 12 training samples and a test sample, or 14 in one set."
        )
    spec = contract.inputs[0]

    def samples(split: Split) -> Samples:
        return Samples((spec,), {spec.name: split.images}, split.labels)

    return Data(
        dataset.name,
        dataset.digest,
        f"{dataset.digest} {count} {seed}",
        samples(sample(dataset.training, count, seed)),
        samples(dataset.validation),
        samples(dataset.test),
        dataset.labels,
    )


def _named_arrays(path: Path, contract: Contract) -> dict[str, npt.NDArray[Any]] | None:
    """Return the arrays of an .npz that has one for every input, or None for any other data."""
    if path.suffix != ".npz" or not path.is_file():
        return None
    names = [spec.name for spec in contract.inputs]
    if not zipfile.is_zipfile(path):
        raise DataError(f"'{path}' is no .npz archive, or is damaged. Write it with numpy.savez.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            if len(names) == 1 and _LABELS & set(archive.files):
                return None
            if not set(names) <= set(archive.files):
                if len(names) > 1:
                    raise DataError(
                        f"'{path}' has the arrays {', '.join(sorted(archive.files))}; the model's "
                        f"inputs are {', '.join(names)}. Name the arrays as the inputs."
                    )
                return None
            return {name: archive[name] for name in names}
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise DataError(f"'{path}' is no .npz archive, or is damaged: {error}.") from error
    except ValueError as error:
        raise DataError(
            f"'{path}' holds Python objects, which are not loaded because they could run code. "
            "Save plain number arrays."
        ) from error


def _collected(
    feeds: Iterable[Mapping[str, npt.NDArray[Any]]], contract: Contract, needed: int
) -> dict[str, npt.NDArray[Any]]:
    names = [spec.name for spec in contract.inputs]
    parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in names}
    have = 0
    for feed in feeds:
        if not isinstance(feed, Mapping) or set(feed) != set(names):
            found = ", ".join(map(str, feed)) if isinstance(feed, Mapping) else type(feed).__name__
            raise DataError(
                f"The calibration data yields {found or 'an empty dict'}; expected dicts with the "
                f"model's inputs: {', '.join(names)}."
            )
        for name in names:
            parts[name].append(_array(name, feed[name]))
        lengths = {part[-1].shape[0] if part[-1].ndim else 0 for part in parts.values()}
        if len(lengths) != 1:
            raise DataError(f"A dict of calibration data has {sorted(lengths)} samples per input.")
        have += lengths.pop()
        if have >= needed:
            break
    if not have:
        raise DataError("The calibration data holds no samples.")
    try:
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}
    except ValueError as error:
        raise DataError(f"The dicts of calibration data differ in shape: {error}.") from error


def _array(name: str, values: object) -> npt.NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError as error:  # lists of different lengths
        raise DataError(
            f"The calibration data for the input '{name}' is no array: {error}."
        ) from error


def _held_out(
    name: str, arrays: dict[str, npt.NDArray[Any]], contract: Contract, count: int
) -> Data:
    """Divide tensors that are ready to feed.

    Every fifth sample is held out, but at least two; by turns they are for test and validation.
    Evenly over the data, as the samples of a recording are alike in their neighbourhood.
    """
    digest = hashlib.sha256()
    # The tensors are what the model takes: nothing is left to prepare.
    specs = tuple(dataclasses.replace(spec, by_caller=None) for spec in contract.inputs)
    for spec in specs:
        array = arrays[spec.name]
        if array.dtype.kind not in "fiub":
            raise DataError(
                f"Input '{spec.name}' takes {spec.dtype}, '{name}' holds {array.dtype} values. "
                "Give plain numbers."
            )
        if array.ndim == 0 or len(array) == 0:
            raise DataError(f"'{name}' holds no samples of the input '{spec.name}'.")
        digest.update(str((spec.name, array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).data)
    lengths = {len(array) for array in arrays.values()}
    if len(lengths) != 1:
        raise DataError(
            f"'{name}' has {sorted(lengths)} samples for the inputs; give as many of each."
        )
    samples = Samples(specs, arrays)
    if len(samples) < _FEWEST:
        plural = "s" if len(samples) > 1 else ""
        raise DataError(
            f"'{name}' has {len(samples)} sample{plural}; give at least {_FEWEST}: one to "
            "calibrate with, one to validate and one to test."
        )
    numbers = np.arange(len(samples))
    held_out = numbers[_HELD_OUT - 1 :: _HELD_OUT]
    if len(held_out) < _FEWEST - 1:
        held_out = numbers[1 - _FEWEST :]
    calibration = samples.take(np.setdiff1d(numbers, held_out)).head(count)
    return Data(
        name,
        digest.hexdigest(),
        f"{digest.hexdigest()} {len(calibration)}",
        calibration,
        validation=samples.take(held_out[1::2]),
        test=samples.take(held_out[::2]),
    )
