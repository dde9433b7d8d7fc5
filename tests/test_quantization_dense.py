"""Dense layers in int8: flattened as int8 layers give it, one scale where that is enough."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graph_models import build, ints, operators, random, run
from onnx import helper
from quantization_models import initializer, save, tensor, weights

from toolkit.graph.editing import constant, infer_shapes
from toolkit.graph.passes.flatten_channels_last import flatten_channels_last
from toolkit.quantization import quantize
from toolkit.runtime.session import create_session

FLATTENED = {
    "a pooling": (
        "p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x) f = Reshape(p, t) y = Gemm(f, w)",
        {"t": ints(-1, 36), "w": random(36, 5)},
    ),
    "a convolution with a ReLU, and a transposed weight": (
        "c = Conv(x, k) r = Relu(c) f = Flatten(r) y = Gemm<transB = 1>(f, w)",
        {"k": random(3, 4, 3, 3), "w": random(5, 48)},
    ),
    "a product without a bias": (
        "p = AveragePool<kernel_shape = [3, 3]>(x) f = Flatten(p) y = MatMul(f, w)",
        {"w": random(64, 5)},
    ),
}
LEFT_ALONE = {
    "one pixel is left": (
        "p = MaxPool<kernel_shape = [6, 6]>(x) f = Flatten(p) y = Gemm(f, w)",
        {"w": random(4, 5)},
    ),
    "another reader": (
        "c = Conv(x, k) f = Flatten(c) r = Gemm(f, w) s = ReduceSum<keepdims = 0>(f) y = Add(r, s)",
        {"k": random(3, 4, 3, 3), "w": random(48, 5)},
    ),
    "no layer before it": ("f = Flatten(x) y = Gemm(f, w)", {"w": random(144, 5)}),
}


def network(text: str, constants: dict[str, np.ndarray]) -> ir.Model:
    model = build(f"(float[N,4,6,6] x) => (float[N,5] y) {{ {text} }}", **constants)
    for node in model.graph:
        node.name = f"{node.op_type}_{node.outputs[0].name}"
    infer_shapes(model)
    return model


def names(model: ir.Model) -> set[str]:
    return {str(node.name) for node in model.graph}


@pytest.mark.parametrize("case", FLATTENED)
def test_int8_layers_are_flattened_channels_last_with_the_same_result(case: str) -> None:
    model = network(*FLATTENED[case])
    feeds = {"x": random(3, 4, 6, 6, seed=1)}
    before, int8 = run(model, feeds)[0], names(model)

    assert flatten_channels_last(model, int8) == 1
    assert int8 == names(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert operators(model)[-3] == "Transpose"
    np.testing.assert_allclose(run(model, feeds)[0], before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", LEFT_ALONE)
def test_flattening_is_left_alone_where_the_order_does_not_matter_or_shows(case: str) -> None:
    model = network(*LEFT_ALONE[case])
    assert flatten_channels_last(model, names(model)) == 0


@pytest.mark.parametrize("in_float", ["MaxPool_p", "Reshape_f", "Gemm_y"])
def test_flattening_is_left_alone_where_a_part_of_it_is_float(in_float: str) -> None:
    model = network(*FLATTENED["a pooling"])
    assert flatten_channels_last(model, names(model) - {in_float}) == 0


def picture_classifier(path: Path, spread: float) -> Path:
    """Conv -> MaxPool -> Flatten -> Dense -> ReLU -> Dense; the first dense has uneven columns."""
    node = helper.make_node
    columns = np.ones(16, np.float32)
    columns[1:] /= spread
    nodes = [
        node("Conv", ["x", "k"], ["c"], "conv"),
        node("MaxPool", ["c"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Reshape", ["p", "flat"], ["f"], "flatten"),
        node("Gemm", ["f", "w1", "b1"], ["h"], "hidden"),
        node("Relu", ["h"], ["r"], "relu"),
        node("Gemm", ["r", "w2", "b2"], ["y"], "last"),
    ]
    constants = [
        initializer("k", weights((8, 4, 3, 3), 1)),
        initializer("flat", np.array([-1, 72], np.int64)),
        initializer("w1", weights((72, 16), 2) * columns),
        initializer("b1", weights((16,), 3)),
        initializer("w2", weights((16, 5), 4)),
        initializer("b2", weights((5,), 5)),
    ]
    return save(path, nodes, [tensor("x", ["n", 4, 8, 8])], [tensor("y", ["n", 5])], constants)


def quantized(path: Path, output: Path, recipe: str | Path = "int8") -> ir.Model:
    feeds = [{"x": np.random.default_rng(0).normal(size=(50, 4, 8, 8)).astype(np.float32)}]
    result = quantize(path, output, data=feeds, recipe=recipe)
    assert result.test is not None
    assert result.test.sqnr_db > 20
    return ir.load(output)


def scales(model: ir.Model, layer: str) -> int:
    """How many scales the weights of a layer have."""
    dense = next(node for node in model.graph if node.name == layer)
    dequantize = dense.inputs[1].producer()
    return constant(dequantize.inputs[1]).size


@pytest.mark.parametrize(("spread", "expected"), [(1.3, 1), (8.0, 16)])
def test_a_dense_layer_has_one_scale_unless_its_columns_are_uneven(
    tmp_path: Path, spread: float, expected: int
) -> None:
    path = picture_classifier(tmp_path / "m.onnx", spread)
    model = quantized(path, tmp_path / "q.onnx")
    assert scales(model, "hidden") == expected
    assert scales(model, "last") == 5
    assert scales(model, "conv") == 8


def test_a_recipe_can_keep_the_scale_of_each_column(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('description = "finer"\n[weights]\ndense_scales = "channel"\n')
    path = picture_classifier(tmp_path / "m.onnx", 1.3)
    assert scales(quantized(path, tmp_path / "q.onnx", recipe), "hidden") == 16


def test_onnxruntime_moves_no_bytes_between_pooling_and_dense_layer(tmp_path: Path) -> None:
    path = picture_classifier(tmp_path / "m.onnx", 1.3)
    quantized(path, tmp_path / "q.onnx")
    create_session(
        tmp_path / "q.onnx",
        provider="cpu",
        configure=lambda options: setattr(
            options, "optimized_model_filepath", str(tmp_path / "o.onnx")
        ),
    )
    types = [node.op_type for node in onnx.load(tmp_path / "o.onnx").graph.node]
    place = types.index("QLinearConv")
    assert [name for name in types[place:] if name != "Transpose"] == types[place:]
    assert types[place + 1 :] == ["NhwcMaxPool", "Reshape", "QGemm", "QGemm"]
