from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from quantization_models import cnn, dense, initializer, labelled, save, tensor, weights

from toolkit.contract import from_metadata
from toolkit.quantization import quantize
from toolkit.runtime import load


def types(path: Path) -> dict[str, int]:
    graph = onnx.load(path).graph
    found = {entry.name: entry.data_type for entry in graph.initializer}
    for value in (*graph.input, *graph.output):
        found[value.name] = value.type.tensor_type.elem_type
    return found


def feeds(scale: float = 1.0) -> list[dict[str, np.ndarray]]:
    values = np.random.default_rng(0).normal(size=(60, 8)) * scale
    return [{"x0": values.astype(np.float32)}]


def test_weights_are_float16_and_the_ends_stay(tmp_path: Path) -> None:
    model = dense(tmp_path / "m.onnx")
    result = quantize(model, tmp_path / "q.onnx", data=feeds(), recipe="fp16")
    found = types(result.path)
    assert found["w"] == found["v"] == TensorProto.FLOAT16
    assert found["x0"] == found["y"] == TensorProto.FLOAT
    assert result.test is not None
    assert 40 < result.test.sqnr_db < 200
    assert [attempt.what for attempt in result.attempts] == ["recipe fp16"]


def test_pictures_stay_uint8(tmp_path: Path) -> None:
    model = cnn(tmp_path / "cnn.onnx")
    result = quantize(
        model, tmp_path / "q.onnx", data=labelled(tmp_path / "d.npz", model), recipe="fp16"
    )
    assert types(result.path)["image"] == TensorProto.UINT8
    assert types(result.path)["w2"] == TensorProto.FLOAT16
    assert result.test is not None
    assert result.test.agreement == 1


def test_the_ends_become_float16_when_the_recipe_says_so(tmp_path: Path) -> None:
    model = dense(tmp_path / "m.onnx")
    rules = tmp_path / "half.toml"
    rules.write_text('description = "x"\nmethod = "float16"\ninputs_outputs = "float16"\n')
    result = quantize(model, tmp_path / "q.onnx", data=feeds(), recipe=rules)
    found = types(result.path)
    assert found["x0"] == found["y"] == TensorProto.FLOAT16
    metadata = {entry.key: entry.value for entry in onnx.load(result.path).metadata_props}
    contract = from_metadata(metadata)
    assert contract is not None
    assert contract.inputs[0].dtype == contract.outputs[0].dtype == "float16"
    answer = load(result.path).run({"x0": feeds()[0]["x0"].astype(np.float16)})
    assert answer["y"].dtype == np.float16


def large(path: Path) -> Path:
    """A network whose middle reaches 100,000, more than float16 holds."""
    return save(
        path,
        [
            helper.make_node("Gemm", ["x0", "w"], ["h"], "up"),
            helper.make_node("Relu", ["h"], ["r"], "relu"),
            helper.make_node("Gemm", ["r", "v"], ["d"], "down"),
            helper.make_node("Gemm", ["d", "u"], ["y"], "last"),
        ],
        [tensor("x0", ["batch", 8])],
        [tensor("y", ["batch", 4])],
        [
            initializer("w", weights((8, 16)) * 1e5),
            initializer("v", weights((16, 6), 1) * 1e-5),
            initializer("u", weights((6, 4), 2)),
        ],
    )


def test_nodes_whose_values_are_too_large_stay_in_float32(tmp_path: Path) -> None:
    result = quantize(large(tmp_path / "m.onnx"), tmp_path / "q.onnx", data=feeds(), recipe="fp16")
    assert set(result.float_nodes) == {"up", "relu", "down"}
    assert "too large for float16" in result.reasons["up"]
    assert result.test is not None
    assert result.test.sqnr_db > 40


def test_an_overflow_on_validation_samples_alone_is_seen(tmp_path: Path) -> None:
    """A CPU would not show it: it runs the graph in float32."""
    values = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32) * 1e-3
    values[9::10] *= 1e4
    result = quantize(
        large(tmp_path / "m.onnx"), tmp_path / "q.onnx", data=[{"x0": values}], recipe="fp16"
    )
    assert set(result.float_nodes) == {"up", "relu", "down"}
    answer = ReferenceEvaluator(str(result.path)).run(None, {"x0": values[9::10]})
    assert np.isfinite(np.asarray(answer)).all()


def test_one_tensor_can_be_read_by_several_float32_nodes(tmp_path: Path) -> None:
    model = save(
        tmp_path / "m.onnx",
        [
            helper.make_node("Gemm", ["x0", "w"], ["h"], "first"),
            helper.make_node("Gemm", ["h", "v"], ["a"], "left"),
            helper.make_node("Gemm", ["h", "u"], ["b"], "right"),
            helper.make_node("Add", ["a", "b"], ["y"], "sum"),
        ],
        [tensor("x0", ["batch", 8])],
        [tensor("y", ["batch", 4])],
        [
            initializer("w", weights((8, 6))),
            initializer("v", weights((6, 4), 1)),
            initializer("u", weights((6, 4), 2)),
        ],
    )
    rules = tmp_path / "some.toml"
    rules.write_text(
        'description = "x"\nmethod = "float16"\n[nodes]\nexclude = ["left", "right"]\n'
    )
    result = quantize(model, tmp_path / "q.onnx", data=feeds(), recipe=rules)
    assert result.test is not None
    assert result.test.sqnr_db > 40


def test_without_data_a_warning_says_that_nothing_was_checked(tmp_path: Path) -> None:
    result = quantize(dense(tmp_path / "m.onnx"), tmp_path / "q.onnx", recipe="fp16")
    assert result.test is None
    assert any("nothing was checked" in warning for warning in result.warnings)


def test_operators_can_be_left_out(tmp_path: Path) -> None:
    rules = tmp_path / "some.toml"
    rules.write_text('description = "x"\nmethod = "float16"\n[nodes]\nexclude = ["last"]\n')
    result = quantize(dense(tmp_path / "m.onnx"), tmp_path / "q.onnx", data=feeds(), recipe=rules)
    assert types(result.path)["v"] == TensorProto.FLOAT
    assert result.float_nodes == ("last",)
