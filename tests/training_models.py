"""Small data and small models for the tests of training."""

import json
import zipfile
from pathlib import Path

import numpy as np

from toolkit.datasets import load_dataset

# Learns a little in an epoch of a second. Dropout and batch normalization have a state of their
# own, which a training that goes on has to restore.
TINY = """
import keras


def build(units=16, rate: float = 0.25, activation="relu", kinds: tuple[int, ...] = (4,),
          input_shape=(28, 28, 1), classes=10):
    layers = [keras.Input(input_shape, name="pixels"), keras.layers.AveragePooling2D(2)]
    layers += [keras.layers.Conv2D(count, 3, strides=2) for count in kinds]
    layers += [keras.layers.BatchNormalization(), keras.layers.Flatten()]
    layers += [keras.layers.Dense(units, activation=activation), keras.layers.Dropout(rate)]
    layers += [keras.layers.Dense(classes, activation="softmax", name="digits")]
    return keras.Sequential(layers)
"""


def write_tiny_model(folder: Path, name: str = "tiny", toml: str | None = None) -> Path:
    """Write the model's Python file, and a recipe beside it when there is one."""
    path = folder / f"{name}.py"
    path.write_text(TINY, encoding="utf-8")
    if toml is not None:
        path.with_suffix(".toml").write_text(toml, encoding="utf-8")
    return path


def write_digits(path: Path, training: int = 600, test: int = 200) -> Path:
    """Write some of MNIST as an .npz in Keras' layout."""
    data = load_dataset("mnist")
    arrays = {}
    for part, split, count in (("train", data.training, training), ("test", data.test, test)):
        arrays[f"x_{part}"] = np.asarray(split.images[:count])
        arrays[f"y_{part}"] = split.labels[:count]
    np.savez(path, **arrays)
    return path


def write_archive(path: Path, config: str = "{}", metadata: str = "{}") -> Path:
    """Write what looks like a .keras file, without a model in it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config)
        archive.writestr("metadata.json", metadata)
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n weights")
    return path


def members(path: Path) -> dict[str, bytes]:
    """Return every member of an archive."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def read_json(path: Path) -> dict:
    """Read a JSON file, refusing what is no JSON (NaN, Infinity)."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
