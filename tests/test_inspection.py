"""`inspect` tells what a file holds and promises, whatever the file, and runs nothing of it."""

import json
import zipfile

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from toolkit.cli import toolkit
from toolkit.contract import KEY, Contract, InputSpec, OutputSpec
from toolkit.errors import ModelError
from toolkit.inspection import inspect
from toolkit.recipes import builtin_dir


def small_model(path, contract=None, quantized=False):
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"])]
    if quantized:
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            helper.make_node("Gemm", ["d", "w"], ["y"]),
        ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [
            numpy_helper.from_array(np.ones((3, 2), np.float32), "w"),
            numpy_helper.from_array(np.array(0.1, np.float32), "s"),
            numpy_helper.from_array(np.array(0, np.uint8), "z"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if contract is not None:
        helper.set_model_props(model, {KEY: contract.to_json()})
    onnx.save(model, path)
    return path


CONTRACT = Contract(
    "small",
    (InputSpec("x", "float32", ("batch", 3)),),
    (OutputSpec("y", "float32", ("batch", 2), "logits", ("[no]", "yes")),),
    provenance=({"step": "train", "data": {"name": "mnist"}, "options": {"epochs": 5}},),
    evidence=({"check": "parity", "max_rel_diff": 1e-7},),
)


def test_an_onnx_file_with_its_contract(tmp_path):
    result = inspect(small_model(tmp_path / "m.onnx", CONTRACT))
    assert (result.kind, result.opset, result.ir_version) == ("onnx", 17, 8)
    assert result.inputs == (("x", "float32", ("batch", 3)),)
    assert result.operators == {"Gemm": 1}
    assert result.parameters == 6
    assert not result.quantized
    assert result.contract == CONTRACT


def test_a_quantized_file_and_one_without_a_contract(tmp_path):
    result = inspect(small_model(tmp_path / "q.onnx", quantized=True))
    assert result.quantized
    assert result.contract is None
    assert result.assumed.inputs[0].name == "x"


def test_a_zoo_name_and_the_keras_file_behind_it():
    assert inspect("mnist_cnn").kind == "onnx"
    result = inspect(builtin_dir("models") / "mnist_cnn.keras")
    assert result.kind == "keras"
    assert result.operators["Conv2D"] == 2
    assert result.inputs == (("image", "float32", ("batch", 28, 28, 1)),)
    assert result.contract is not None


def test_a_keras_file_without_a_contract_tells_its_input_layer(tmp_path):
    layers = [
        {"class_name": "InputLayer", "config": {"name": "a", "batch_shape": [None, 4, 4, 3]}},
        {"class_name": "Functional", "config": {"layers": [{"class_name": "Dense", "config": {}}]}},
    ]
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": layers}}))
        archive.writestr("metadata.json", "{}")
    result = inspect(tmp_path / "m.keras")
    assert result.inputs == (("a", "float32", ("batch", 4, 4, 3)),)
    assert result.operators == {"Dense": 1}


def test_a_tflite_file_is_recognised(tmp_path):
    (tmp_path / "m.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(20))
    assert inspect(tmp_path / "m.tflite").kind == "tflite"


def _truncated(path):
    path.write_bytes(small_model(path, CONTRACT).read_bytes()[:-40])


def _no_keras(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "x")


BAD = {
    "empty.onnx": (lambda p: p.write_bytes(b""), "is empty"),
    "text.onnx": (lambda p: p.write_text("hello world\n"), "no model file that can be read"),
    "truncated.onnx": (_truncated, "no model file that can be read"),
    "archive.keras": (_no_keras, r"without 'config\.json'"),
    "cut.keras": (lambda p: p.write_bytes(b"PK\x03\x04abc"), "cut.keras"),
    "cut.h5": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(9)), "damaged HDF5|h5py"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_line_that_names_it(tmp_path, name):
    write, message = BAD[name]
    write(tmp_path / name)
    with pytest.raises(ModelError, match=message) as raised:
        inspect(tmp_path / name)
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_saved_model_is_recognised(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(bytes(20))
    (tmp_path / "variables").mkdir()
    result = inspect(tmp_path)
    assert (result.kind, result.size_bytes) == ("saved_model", 20)


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        inspect(tmp_path / "no.onnx")
    with pytest.raises(ModelError, match="is a directory"):
        inspect(tmp_path)


def test_the_command_shows_the_contract_in_words(tmp_path):
    path = str(small_model(tmp_path / "m.onnx", CONTRACT))
    text = CliRunner().invoke(toolkit, ["inspect", path]).stdout
    assert "logits of [no], yes" in text
    assert "data mnist, epochs 5" in text
    assert "max_rel_diff 1e-07" in text
    document = json.loads(CliRunner().invoke(toolkit, ["inspect", path, "--json"]).stdout)
    assert document["schema"] == "toolkit.inspect/1"
    assert document["contract"]["outputs"][0]["labels"] == ["[no]", "yes"]
    bare = str(small_model(tmp_path / "bare.onnx"))
    assert "other commands assume" in CliRunner().invoke(toolkit, ["inspect", bare]).stdout
