"""`load_dataset`: from a name or a path to a dataset."""

from pathlib import Path

from toolkit.datasets import builtin, folders, idx, npz
from toolkit.datasets.dataset import Dataset
from toolkit.errors import DataError
from toolkit.recipes import closest


def load_dataset(name: str | Path) -> Dataset:
    """Load a dataset by its name, or from the user's own file or folder.

    Args:
        name: "mnist", "fashion_mnist"; an .npz in Keras' layout (x_train, y_train, x_test,
            y_test) or with x and y; an idx file of images (its labels beside it) or a folder of
            idx files; a folder with one sub-folder of images per class, or with train/ and test/
            of that form.

    Raises:
        DataError: It does not exist, cannot be read, or does not have that form.
    """
    text = str(name)
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
            return idx.load_folder(path) if idx.is_folder(path) else folders.load(path)
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
