import json
import zipfile

import pytest
from training_models import members, write_archive

from toolkit import keras_files
from toolkit.contract import Affine, Contract, ImageSpec, InputSpec, OutputSpec
from toolkit.errors import ModelError
from toolkit.keras_files import read_config, read_contract, read_metadata, write_contract
from toolkit.recipes import builtin_dir

CONTRACT = Contract(
    name="tiny",
    inputs=(
        InputSpec(
            "pixels",
            "float32",
            ("batch", 28, 28, 1),
            image=ImageSpec("NHWC", "grayscale", "mnist"),
            by_caller=Affine((1 / 255,), (0.0,)),
        ),
    ),
    outputs=(OutputSpec("digits", "float32", ("batch", 2), "probabilities", ("0", "é")),),
    provenance=({"step": "train"},),
)


def test_the_contract_is_read_back_as_it_was_written(tmp_path):
    path = write_archive(tmp_path / "a.keras", metadata='{"keras_version": "3.15.1"}')
    assert read_contract(path) is None
    write_contract(path, CONTRACT)
    assert read_contract(path) == CONTRACT
    assert read_metadata(path)["keras_version"] == "3.15.1"


def test_writing_a_contract_leaves_weights_as_they_are_and_replaces_an_older_contract(tmp_path):
    path = write_archive(tmp_path / "a.keras", config='{"class_name": "Sequential"}')
    weights = members(path)["model.weights.h5"]
    write_contract(path, CONTRACT)
    write_contract(path, CONTRACT.with_step({"step": "again"}))
    assert members(path)["model.weights.h5"] == weights
    assert read_config(path) == {"class_name": "Sequential"}
    assert [entry["step"] for entry in read_contract(path).provenance] == ["train", "again"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.keras"]


def test_equal_models_are_equal_files_whenever_they_were_saved(tmp_path):
    files = []
    for name, day, address in (("a", "2024-01-01", 140118546233744), ("b", "2025-06-07", 77)):
        config = {"layers": [{"shared_object_id": address}, {"shared_object_id": address + 1}]}
        path = write_archive(
            tmp_path / f"{name}.keras",
            config=json.dumps(config),
            metadata=json.dumps({"keras_version": "3", "date_saved": day}),
        )
        write_contract(path, CONTRACT)
        files.append(path.read_bytes())
    assert files[0] == files[1]


def test_shared_objects_stay_shared_and_others_stay_apart(tmp_path):
    ids = [900, 500, 900]
    config = json.dumps({"layers": [{"shared_object_id": value} for value in ids]})
    path = write_archive(tmp_path / "a.keras", config=config)
    write_contract(path, CONTRACT)
    numbers = [layer["shared_object_id"] for layer in read_config(path)["layers"]]
    assert numbers == [1, 2, 1]


def test_the_zoo_model_says_what_it_takes_and_gives():
    contract = read_contract(builtin_dir("models") / "mnist_cnn.keras")
    assert contract.inputs[0] == InputSpec(
        "image",
        "float32",
        ("batch", 28, 28, 1),
        image=ImageSpec("NHWC", "grayscale", "mnist"),
        by_caller=Affine((1 / 255,), (0.0,)),
    )
    assert contract.outputs[0] == OutputSpec(
        "probabilities", "float32", ("batch", 10), "probabilities", tuple("0123456789")
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"not a model at all", "is no .keras file"),
        (b"\x89HDF\r\n\x1a\n and more", "is an HDF5 file"),
        (b"PK\x03\x04 cut off", "is cut off or damaged"),
    ],
)
def test_a_foreign_file_is_named_with_what_it_is(tmp_path, content, message):
    path = tmp_path / "a.keras"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        read_config(path)


def test_a_truncated_archive_is_refused(tmp_path):
    path = write_archive(tmp_path / "a.keras", config=json.dumps({"layers": list(range(999))}))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ModelError, match="cut off or damaged"):
        read_config(path)


def test_a_member_with_a_wrong_checksum_is_refused(tmp_path):
    path = write_archive(tmp_path / "a.keras", config='{"layers": "aaaaaaaa"}')
    path.write_bytes(path.read_bytes().replace(b"aaaaaaaa", b"aaaabaaa"))
    with pytest.raises(ModelError, match="cut off or damaged"):
        read_config(path)


def test_missing_files_directories_and_other_archives_are_refused(tmp_path):
    with pytest.raises(ModelError, match=r"missing.keras' does not exist"):
        read_config(tmp_path / "missing.keras")
    with pytest.raises(ModelError, match="is a directory"):
        read_config(tmp_path)
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ModelError, match=r"without 'config.json'"):
        read_config(tmp_path / "a.keras")


@pytest.mark.parametrize(
    ("config", "message"), [("{", "is damaged"), ("[1]", "holds list"), ("[" * 100_000, "damaged")]
)
def test_a_config_that_is_no_object_is_refused(tmp_path, config, message):
    path = write_archive(tmp_path / "a.keras", config=config)
    with pytest.raises(ModelError, match=message):
        read_config(path)


def test_a_small_archive_cannot_expand_beyond_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(keras_files, "CONFIG_LIMIT_BYTES", 2**20)
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", " " * (2**20 + 1))
    assert path.stat().st_size < 5000
    with pytest.raises(ModelError, match="larger than 1 MiB"):
        read_config(path)


def test_a_damaged_contract_is_an_error_not_a_missing_one(tmp_path):
    path = write_archive(tmp_path / "a.keras", metadata='{"toolkit.contract": {"version": 1}}')
    with pytest.raises(ModelError, match="contract"):
        read_contract(path)
