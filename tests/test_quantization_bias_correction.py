from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from quantization_models import initializer, save, tensor, weights

from toolkit.quantization import quantize


def shifted(path: Path) -> Path:
    """A convolution between two others whose small weights are all rounded the same way.

    One weight of 12.7 makes the step 0.1 for all; 0.04 becomes 0 then, and the inputs are positive
    behind a ReLU, so that the errors add up.
    """
    middle = np.full((6, 4, 3, 3), 0.04, np.float32)
    middle[0, 0, 0, 0] = 12.7
    node = helper.make_node
    return save(
        path,
        [
            node("Conv", ["x", "w1"], ["c1"], "first", pads=[1, 1, 1, 1]),
            node("Relu", ["c1"], ["r1"], "relu1"),
            node("Conv", ["r1", "w2", "b2"], ["c2"], "middle", pads=[1, 1, 1, 1], strides=[2, 2]),
            node("Conv", ["c2", "w3"], ["c3"], "last"),
            node("GlobalAveragePool", ["c3"], ["p"], "pool"),
            node("Flatten", ["p"], ["y"], "flatten"),
        ],
        [tensor("x", ["batch", 4, 8, 8])],
        [tensor("y", ["batch", 3])],
        [
            initializer("w1", weights((4, 4, 3, 3), 1)),
            initializer("w2", middle),
            initializer("b2", weights((6,), 2)),
            initializer("w3", weights((3, 6, 1, 1), 3)),
        ],
    )


def recipe(path: Path, text: str) -> Path:
    path.write_text(
        f'description = "one scale per tensor"\n{text}\n[weights]\nper_channel = false\n'
    )
    return path


def channel_means(model: Path, values: np.ndarray, name: str) -> np.ndarray:
    proto = onnx.load(model)
    proto.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run([name], {"x": values})[0].mean(axis=(0, 2, 3))


@pytest.mark.parametrize("form", ["qdq", "qoperator"])
def test_the_mean_error_of_rounded_weights_leaves_the_result(tmp_path: Path, form: str) -> None:
    model = shifted(tmp_path / "float.onnx")
    values = np.random.default_rng(0).normal(size=(100, 4, 8, 8)).astype(np.float32)
    feeds = [{"x": values}]
    found = {}
    for on in ("false", "true"):
        rules = recipe(tmp_path / "r.toml", f'format = "{form}"\nbias_correction = {on}')
        path = tmp_path / f"{on}.onnx"
        result = quantize(model, path, data=feeds, recipe=rules)
        assert "middle" in result.int8_nodes
        assert result.test is not None
        found[on] = result.test.sqnr_db
    assert found["true"] > found["false"] + 6


def test_the_shift_is_that_of_every_channel(tmp_path: Path) -> None:
    model = shifted(tmp_path / "float.onnx")
    values = np.random.default_rng(0).normal(size=(100, 4, 8, 8)).astype(np.float32)
    expected = channel_means(model, values, "c2")
    errors = {}
    for on in ("false", "true"):
        rules = recipe(tmp_path / "r.toml", f"bias_correction = {on}")
        path = tmp_path / f"{on}.onnx"
        quantize(model, path, data=[{"x": values}], recipe=rules)
        found = channel_means(path, values, "c2_DequantizeLinear_Output")
        errors[on] = np.abs(found - expected)
    # What is left comes of the activations, whose step is larger than these means.
    assert (errors["true"] < 0.2 * errors["false"]).all()


def test_a_layer_without_bias_gets_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    matrix = np.full((8, 5), 0.04, np.float32)
    matrix[0, 0] = 12.7
    model = save(
        tmp_path / "dense.onnx",
        [
            helper.make_node("Gemm", ["x", "w"], ["h"], "first", transB=1),
            helper.make_node("Gemm", ["h", "v"], ["y"], "last"),
        ],
        [tensor("x", ["batch", 8])],
        [tensor("y", ["batch", 3])],
        [initializer("w", matrix.T.copy()), initializer("v", weights((5, 3)))],
    )
    feeds = [{"x": rng.uniform(1, 2, (100, 8)).astype(np.float32)}]
    found = []
    for on in ("false", "true"):
        rules = recipe(tmp_path / "r.toml", f"bias_correction = {on}")
        result = quantize(model, tmp_path / "q.onnx", data=feeds, recipe=rules, force=True)
        assert result.test is not None
        found.append(result.test.sqnr_db)
    assert found[1] > found[0] + 6
