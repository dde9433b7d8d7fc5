"""`load_dataset`: from a name or a path to a dataset."""

from pathlib import Path

from toolkit.contract import Contract
from toolkit.datasets import builtin, folders, idx, npz
from toolkit.datasets.dataset import Dataset, match_labels
from toolkit.errors import DataError
from toolkit.recipes import closest


def load_dataset(name: str | Path, contract: Contract | None = None) -> Dataset:
    """Load a dataset by its name, or from the user's own file or folder.

    With the contract of the model that it is for, classes are numbered as the model numbers them,
    and pictures in folders get the size and the colours that it takes.

    Args:
        name: "mnist", "fashion_mnist"; an .npz in Keras' layout (x_train, y_train, x_test,
            y_test) or with x and y; an idx file of images (its labels beside it) or a folder of
            idx files; a folder with one sub-folder of images per class, or with train/ and test/
            of that form.
        contract: What the model takes and answers, or None for the data as it is.

    Raises:
        DataError: It does not exist, cannot be read, does not have that form, or has a class
            that the model does not know.
    """
    dataset = _load(str(name), _form(contract))
    if contract is None:
        return dataset
    return match_labels(dataset, contract.outputs[0].labels, contract.name)


def _load(text: str, form: folders.Form | None) -> Dataset:
    if text in builtin.LOADERS:
        return builtin.LOADERS[text]()
    path = Path(text)
    if not path.exists():
        known = list(builtin.LOADERS)
        raise DataError(
            f"'{text}' is no file, no folder and no dataset of the toolkit."
            f"{closest(text, known)} Known: {', '.join(known)}."
        )
    try:
        if path.is_dir():
            return idx.load_folder(path) if idx.is_folder(path) else folders.load(path, form)
        if path.suffix == ".npz":
            return npz.load(path)
        if idx.is_file(path):
            return idx.load_file(path)
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror or error}.") from error
    raise DataError(
        f"'{path}' is no dataset: expected an .npz file, an idx file, or a folder with one "
        "sub-folder of images per class."
    )


def _form(contract: Contract | None) -> folders.Form | None:
    """Return the size and mode of the pictures that a model takes, when it tells."""
    spec = contract.inputs[0] if contract is not None and len(contract.inputs) == 1 else None
    if spec is None or spec.image is None:
        return None
    height, width = spec.shape[2:4] if spec.image.layout == "NCHW" else spec.shape[1:3]
    if not isinstance(height, int) or not isinstance(width, int):
        return None
    return (width, height), "L" if spec.image.color == "grayscale" else "RGB"
