"""HDF5 files are looked into before Keras reads them."""

import json

import h5py
import numpy as np
import pytest

from toolkit.errors import ModelError
from toolkit.exporting.sources import hdf5
from toolkit.exporting.sources.source import Source

LAYER = {"class_name": "Dense", "config": {"name": "dense"}}
CONFIG = {"class_name": "Sequential", "config": {"layers": [LAYER]}}


@pytest.fixture
def write(tmp_path):
    def make(fill=lambda file: None, config=CONFIG, **options):
        path = tmp_path / "model.h5"
        with h5py.File(path, "w", **options) as file:
            if config is not None:
                file.attrs["model_config"] = (
                    config if isinstance(config, str) else json.dumps(config)
                )
            file.attrs["keras_version"] = "2.15.0"
            file.create_group("model_weights")["kernel"] = np.ones((3, 3), np.float32)
            fill(file)
        return Source(path, "h5")

    return make


def test_a_plain_file_tells_its_version(write):
    assert hdf5.check(write()) == "2.15.0"


def _external_dataset(file):
    file.create_dataset("far", (4,), "f4", external=[("/etc/passwd", 0, 16)])


def _virtual_dataset(file):
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource("/elsewhere.h5", "data", (3,))
    file.create_virtual_dataset("far", layout)


def _link(link):
    def fill(file):
        file["model_weights"]["far"] = link

    return fill


FILLS = {
    "a link to another file": (_link(h5py.ExternalLink("/etc/x.h5", "/")), "'far' is a link"),
    "a link inside": (_link(h5py.SoftLink("/model_weights")), "'far' is a link"),
    "data in another file": (_external_dataset, "'far' lies in other files"),
    "data of several files": (_virtual_dataset, "'far' lies in other files"),
    "a size that is declared alone": (
        lambda file: file.create_dataset("big", (2**40,), "f4", chunks=(2**16,)),
        "would expand to",
    ),
    "zeros, packed": (
        lambda file: file.create_dataset(
            "big", data=np.zeros((2**27,), np.int8), compression="gzip", chunks=(2**20,)
        ),
        "would expand to",
    ),
}


@pytest.mark.parametrize("name", FILLS)
def test_what_no_model_has_is_not_opened(write, name):
    fill, message = FILLS[name]

    with pytest.raises(ModelError, match=message):
        hdf5.check(write(fill))


def test_groups_that_hold_each_other_end(write):
    source = write(_link_back)

    assert hdf5.check(source) == "2.15.0"


def _link_back(file):
    file["model_weights"]["up"] = file["model_weights"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "holds weights but no model"),
        ("{", "description is damaged"),
        ("[]", "description is damaged"),
        ("[" * 100_000, "description is damaged"),
        ({"class_name": "Lambda", "config": {"name": "odd"}}, "the layer 'odd' holds Python code"),
    ],
)
def test_a_description_that_is_none_is_one_line(write, config, message):
    with pytest.raises(ModelError, match=message) as caught:
        hdf5.check(write(config=config, libver="latest"))
    assert "\n" not in str(caught.value)


def test_a_huge_description_is_not_read_on(write, monkeypatch):
    monkeypatch.setattr(hdf5, "CONFIG_LIMIT_BYTES", 2**20)

    with pytest.raises(ModelError, match="description is larger than 1 MiB"):
        hdf5.check(write(config=" " * (2**20 + 1), libver="latest"))


def test_a_cut_file_is_damaged(write):
    source = write()
    content = source.path.read_bytes()
    source.path.write_bytes(content[: len(content) // 2])

    with pytest.raises(ModelError, match="is damaged"):
        hdf5.check(source)
