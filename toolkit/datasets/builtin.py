"""MNIST and Fashion-MNIST: in the checkout, from Debian's package, or downloaded and cached.

Whatever the source, the samples are checked against one pinned digest.
"""

import http.client
import os
import urllib.request
from collections.abc import Callable
from pathlib import Path

from toolkit.datasets import idx, npz
from toolkit.datasets.dataset import Dataset
from toolkit.errors import DataError
from toolkit.files import whole_file
from toolkit.recipes import builtin_dir

# Digest of all samples and labels (Dataset.digest): the same for every source.
MNIST_DIGEST = "1b90e8475d23680a78410f2bfa74df1c1583cf35bdc549637f4673811c608a36"
FASHION_DIGEST = "cccdfb87fe8933589704d69b6554c1a48bbff39850ac1a70be301ed9bc291280"

# Where Keras downloads the same datasets from.
KERAS_DATASETS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
DIGITS = tuple("0123456789")
GARMENTS = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_TIMEOUT_S = 30


def cache_dir() -> Path:
    """Return the folder for downloads: $XDG_CACHE_HOME/toolkit, by default ~/.cache/toolkit."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "toolkit"


def mnist() -> Dataset:
    """Load MNIST: 60,000 training and 10,000 test images, uint8 [28, 28], ten digits.

    Raises:
        DataError: It is not on this machine and cannot be downloaded, or is not MNIST.
    """
    path = builtin_dir("models") / "data" / "mnist.npz"
    if not path.exists():
        path = _cached("mnist.npz", "mnist")
    return _checked(npz.load(path), "mnist", path, MNIST_DIGEST, DIGITS)


def fashion_mnist() -> Dataset:
    """Load Fashion-MNIST: as MNIST, with ten kinds of garment.

    Debian's package dataset-fashion-mnist is used when it is installed.

    Raises:
        DataError: It is not on this machine and cannot be downloaded, or is not Fashion-MNIST.
    """
    folder = DEBIAN_FASHION_MNIST
    if not idx.is_folder(folder):
        for name in IDX_FILES:
            folder = _cached(f"fashion-mnist/{name}", "fashion_mnist", url_path=name).parent
    return _checked(idx.load_folder(folder), "fashion_mnist", folder, FASHION_DIGEST, GARMENTS)


LOADERS: dict[str, Callable[[], Dataset]] = {"mnist": mnist, "fashion_mnist": fashion_mnist}


def _cached(name: str, dataset: str, url_path: str | None = None) -> Path:
    """Return the cached file, downloading it first when it is not there."""
    path = cache_dir() / name
    if path.exists():
        return path
    url = f"{KERAS_DATASETS}/{url_path or name}"
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:  # noqa: S310 - a constant https address
            content = response.read()
    except (http.client.HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", error) or type(error).__name__
        raise DataError(
            f"'{dataset}' is not on this machine and could not be downloaded ({reason}). "
            f"Offline: copy {path.name} to '{path}', or give your own file with --data PATH."
        ) from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"'{path.parent}' cannot be created ({error.strerror}); name a folder that can be "
            "written with XDG_CACHE_HOME, or give your own file with --data PATH."
        ) from error
    with whole_file(path) as part:
        part.write_bytes(content)
    return path


def _checked(
    dataset: Dataset, name: str, source: Path, digest: str, labels: tuple[str, ...]
) -> Dataset:
    """Return the dataset under its name, after comparing its content with the pin."""
    found = dataset.digest
    if found != digest:
        remedy = (
            f"Delete '{source}' and try again."
            if cache_dir() in source.parents
            else "Restore the file."
        )
        raise DataError(
            f"'{source}' is not the {name} that this toolkit knows (sha256 of the samples "
            f"{found[:12]}..., expected {digest[:12]}...). {remedy}"
        )
    return Dataset(
        name=name,
        digest=digest,
        training=dataset.training,
        validation=dataset.validation,
        test=dataset.test,
        whole=None,
        labels=labels,
    )
