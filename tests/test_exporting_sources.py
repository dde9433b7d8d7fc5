"""What `export` refuses before TensorFlow is started."""

import json
import os
import zipfile

import pytest

from toolkit.errors import ModelError
from toolkit.exporting.sources import open_source
from toolkit.exporting.sources.keras_code import refuse_code

LAYER = {"module": "keras.layers", "class_name": "Dense", "config": {"name": "dense"}}
MODEL = {"module": "keras", "class_name": "Sequential", "config": {"layers": [LAYER]}}
METADATA = {"keras_version": "3.15.1"}


def write(
    path, config=MODEL, metadata=METADATA, weights=b"weights", compression=zipfile.ZIP_STORED
):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", json.dumps(metadata))
        if weights is not None:
            archive.writestr("model.weights.h5", weights)
    return path


def with_layer(**entry):
    return {**MODEL, "config": {"layers": [LAYER, {"config": {"name": "odd"}, **entry}]}}


def test_a_keras_file_is_told_by_its_content(tmp_path):
    assert open_source(write(tmp_path / "model.bin")).kind == "keras"


def test_an_hdf5_file_is_told_by_its_content(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(b"\x89HDF\r\n\x1a\n and more")

    assert open_source(path).kind == "h5"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.keras", b"", "is empty"),
        ("text.keras", b"hello", "is no model; export reads"),
        ("cut.keras", b"PK\x03\x04 and not much more", "cut off or damaged"),
        ("picture.h5", b"\x89PNG\r\n\x1a\n", "is no model; export reads"),
        ("text.onnx", b"hello", "is damaged or no ONNX file"),
    ],
)
def test_a_foreign_file_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(ModelError, match=message) as caught:
        open_source(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        open_source(tmp_path / "nowhere.keras")


def test_a_tensorflow_lite_file_is_told_by_its_content(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(b"\x1c\x00\x00\x00TFL3 and more")

    assert open_source(path).kind == "tflite"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_refused(tmp_path):
    path = write(tmp_path / "model.keras")
    path.chmod(0)

    with pytest.raises(ModelError, match="cannot be read: Permission denied"):
        open_source(path)


def test_an_archive_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing here")

    with pytest.raises(ModelError, match=r"without 'config\.json'"):
        open_source(path)


def test_an_archive_without_weights_is_refused(tmp_path):
    with pytest.raises(ModelError, match="holds no weights"):
        open_source(write(tmp_path / "model.keras", weights=None))


def test_weights_that_expand_beyond_reason_are_not_opened(tmp_path):
    path = write(
        tmp_path / "bomb.keras", weights=bytes(100 * 2**20), compression=zipfile.ZIP_DEFLATED
    )

    with pytest.raises(ModelError, match="would expand to 100 MiB"):
        open_source(path)


def test_a_config_that_expands_to_400_mb_is_not_read(tmp_path):
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("config.json", "w") as member:
            for _ in range(400):
                member.write(b" " * 10**6)
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", b"")
    assert path.stat().st_size < 500_000

    with pytest.raises(ModelError, match=r"'config\.json' is larger than 64 MiB"):
        open_source(path)


@pytest.mark.parametrize(
    "name", ["../../evil", "/etc/evil", "assets/../../evil", "..\\evil", "C:/x"]
)
def test_names_that_lead_out_of_the_archive_are_refused(tmp_path, name):
    path = write(tmp_path / "slip.keras")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, "boo")

    with pytest.raises(ModelError, match="leads out of the archive"):
        open_source(path)


def test_two_files_of_one_name_are_refused(tmp_path):
    path = write(tmp_path / "twice.keras")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("config.json", "{}")

    with pytest.raises(ModelError, match="two files of one name"):
        open_source(path)


REFUSED = {
    "a Lambda layer": with_layer(module="keras.layers", class_name="Lambda"),
    "a lambda as activation": with_layer(
        module="keras.layers",
        class_name="Dense",
        config={"name": "odd", "activation": {"class_name": "__lambda__", "config": {}}},
    ),
    "a class of somebody's module": with_layer(module="os", class_name="system"),
    "a class of the main program": with_layer(module="__main__", class_name="MyLayer"),
    "a SavedModel elsewhere": with_layer(module="keras.layers", class_name="TFSMLayer"),
    "a pickled module": with_layer(module="keras.layers", class_name="TorchModuleWrapper"),
    "a download": with_layer(
        module="keras.layers",
        class_name="Activation",
        config={
            "name": "odd",
            "activation": {"module": "keras.utils", "class_name": "function", "config": "get_file"},
        },
    ),
    "a function of TensorFlow that writes": with_layer(
        class_name="TFOpLambda", config={"name": "odd", "function": "io.write_file"}
    ),
    "a function of TensorFlow that calls Python": with_layer(
        class_name="TFOpLambda", config={"name": "odd", "function": "compat.v1.py_function"}
    ),
    "any operator of TensorFlow": with_layer(class_name="TensorFlowOpLayer"),
    "a registered class": with_layer(
        module=None, class_name="MyLayer", registered_name="mine>MyLayer"
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_code_is_refused_by_the_name_of_the_layer(name):
    with pytest.raises(ModelError, match="the layer 'odd'"):
        refuse_code(REFUSED[name], "model.keras")


@pytest.mark.parametrize("function", ["math.add", "nn.relu", "reshape", "compat.v1.nn.conv2d"])
def test_arithmetic_of_tensorflow_passes(function):
    refuse_code(
        with_layer(class_name="TFOpLambda", config={"name": "odd", "function": function}), "m.h5"
    )


def test_code_that_is_allowed_is_not_looked_for(tmp_path):
    path = write(tmp_path / "model.keras", config=REFUSED["a Lambda layer"])

    assert open_source(path, unsafe_load=True).unsafe_load


def test_losses_and_metrics_do_not_matter():
    compiled = {"loss": {"module": "mine", "class_name": "MyLoss", "config": {}}}

    refuse_code({**MODEL, "compile_config": compiled}, "model.keras")


def test_the_functions_and_tuples_of_keras_pass():
    activation = {"module": "builtins", "class_name": "function", "config": "relu"}
    shape = {"class_name": "__tuple__", "items": [3, 3]}
    config = {"name": "dense", "activation": activation, "kernel_size": shape}

    refuse_code(with_layer(module="keras.layers", class_name="Dense", config=config), "m.keras")
