"""`verify` compares with what the model's file holds, and says where that comes from."""

import json
import shutil

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from toolkit.cli import toolkit
from toolkit.errors import DataError, ModelError, RecipeError
from toolkit.golden import attach, load_model, read
from toolkit.recipes import builtin_dir
from toolkit.verification import expected, verify


def product(path, weight=1.5):
    """y = x W, float32 [batch, 3]."""
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 3]) for n in "xy")
    stored = [numpy_helper.from_array(np.full((3, 3), weight, np.float32), "w")]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    graph = helper.make_graph(nodes, "product", [x], [y], stored)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, path)
    return path


@pytest.fixture
def path(tmp_path):
    return product(tmp_path / "product.onnx")


@pytest.fixture
def zoo(tmp_path):
    return shutil.copy(builtin_dir("models") / "mnist_cnn.onnx", tmp_path / "mnist.onnx")


def test_a_model_without_golden_samples_is_compared_with_this_machine(path):
    result = verify(path)
    [check] = result.checks
    assert (check.rule, check.max_abs_diff, check.samples, check.passed) == ("float", 0, 8, True)
    assert result.references[str(path)] == "this machine's answers on 8 random samples"
    assert result.passed
    assert read(load_model(path), path) is None


def test_samples_come_from_the_data_that_the_model_was_trained_on(zoo):
    result = verify(zoo, samples=3)
    assert result.references[str(zoo)] == "this machine's answers on 3 samples of mnist"


def test_attached_samples_are_those_of_the_file_from_then_on(zoo):
    assert verify(zoo, attach=True).attached == 8
    result = verify(zoo)
    assert "8 golden samples in the file, made by onnxruntime" in result.references[str(zoo)]
    assert result.attached == 0


def test_an_answer_that_differs_fails_and_exits_with_3(path):
    kept = expected(path, {"x": np.ones((2, 3), np.float32)}, None)
    kept.outputs["y"][1, 1] += 1
    attach(path, kept)
    result = CliRunner().invoke(toolkit, ["verify", str(path), "--json"])
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert document["schema"] == "toolkit.verify/1"
    assert not document["passed"]
    [check] = document["checks"]
    assert (check["differing"], check["class_changes"]) == (1, 1)
    assert check["max_abs_diff"] == pytest.approx(1)
    shown = CliRunner().invoke(toolkit, ["verify", str(path)])
    assert "DIFFERS" in shown.stdout
    assert "compared with 2 golden samples" in shown.stderr


def test_samples_of_another_graph_are_asked_anew(path, tmp_path):
    attach(path, expected(path, {"x": np.ones((2, 3), np.float32)}, None))
    other = load_model(product(tmp_path / "other.onnx", weight=2.5))
    other.metadata_props.extend(load_model(path).metadata_props)
    onnx.save(other, tmp_path / "other.onnx")
    result = verify(tmp_path / "other.onnx")
    assert result.passed
    assert "this machine's answers on 2" in next(iter(result.references.values()))


def test_all_models_share_one_visit_of_a_device(path, tmp_path):
    result = verify([path, product(tmp_path / "second.onnx")], device=["local", "local"])
    assert len(result.checks) == 2
    assert len(result.devices) == 1


def test_several_inputs_get_random_samples(tmp_path):
    a, b, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3]) for n in "aby")
    graph = helper.make_graph([helper.make_node("Sub", ["a", "b"], ["y"])], "two", [a, b], [y])
    made = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(made, tmp_path / "two.onnx")
    assert verify(tmp_path / "two.onnx").checks[0].samples == 2
    with pytest.raises(DataError, match="has 2 inputs"):
        verify(tmp_path / "two.onnx", data="mnist")


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"device": "emulated:cortex"}, RecipeError, "no CPU that can be emulated"),
        ({"device": ["local", "remote"]}, RecipeError, "'remote' is no device"),
        ({"data": "mnist"}, DataError, "takes"),
        ({"data": "minst"}, DataError, "minst"),
        ({"samples": 0}, ValueError, "at least 1"),
        ({"device": []}, ValueError, "no device"),
    ],
)
def test_bad_options_are_found_before_the_work(path, options, kind, message):
    with pytest.raises(kind, match=message):
        verify(path, **options)


def test_a_missing_or_damaged_model_is_one_line(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    for name in ("bad.onnx", "none.onnx"):
        with pytest.raises(ModelError, match=name):
            verify(tmp_path / name)
