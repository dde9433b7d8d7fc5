from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper
from quantization_models import cnn, initializer, save, tensor, weights

from toolkit.graph.editing import infer_shapes
from toolkit.graph.passes.relu_after_pool import relu_after_pool
from toolkit.quantization import quantize
from toolkit.quantization.pixels import find_pixels
from toolkit.quantization.placement import Placement, place
from toolkit.quantization.recipe import Recipe
from toolkit.quantization.unfused import unfused


def placed(path: Path, **recipe: object) -> Placement:
    model = ir.load(path)
    infer_shapes(model)
    rules = Recipe.model_validate({"description": "test", **recipe})
    return place(model, rules, find_pixels(model), {})


def residual(path: Path, branch: str = "Conv") -> Path:
    """Conv -> (branch, identity) -> Add -> pooling -> Gemm."""
    node = helper.make_node
    initializers = [
        initializer("w1", weights((8, 8, 3, 3), 1)),
        initializer("w2", weights((8, 8, 1, 1), 2)),
        initializer("d", weights((8, 3), 3)),
    ]
    inner = ["c", "w2"] if branch == "Conv" else ["c"]
    return save(
        path,
        [
            node("Conv", ["x", "w1"], ["c"], "conv", kernel_shape=[3, 3]),
            node(branch, inner, ["b"], "branch"),
            node("Add", ["c", "b"], ["a"], "add"),
            node("GlobalAveragePool", ["a"], ["p"], "pool"),
            node("Flatten", ["p"], ["f"], "flatten"),
            node("Gemm", ["f", "d"], ["y"], "dense"),
        ],
        [tensor("x", ["n", 8, 6, 6])],
        [tensor("y", ["n", 3])],
        initializers,
    )


def convolution(path: Path, channels: int, filters: int, kernel: int, group: int = 1) -> Path:
    node = helper.make_node
    return save(
        path,
        [
            node("Conv", ["x", "w"], ["c"], "first", group=group),
            node("Conv", ["c", "v"], ["y"], "second"),
        ],
        [tensor("x", ["n", channels, 16, 16])],
        [tensor("y", ["n", 4, None, None])],  # type: ignore[list-item]
        [
            initializer("w", weights((filters, channels // group, kernel, kernel))),
            initializer("v", weights((4, filters, 1, 1), 1)),
        ],
    )


FIRST = [
    (1, 32, 3, 1, "1 input channel:"),
    (3, 8, 3, 1, "3 input channels:"),
    (3, 64, 7, 1, None),  # 147 products for each output: int8 wins
    (4, 32, 3, 1, None),
    (8, 8, 3, 8, "depthwise with 8 channels"),
    (32, 32, 3, 32, None),
]


@pytest.mark.parametrize(("channels", "filters", "kernel", "group", "reason"), FIRST)
def test_convolutions_that_int8_slows_down_stay_in_float(
    tmp_path: Path, channels: int, filters: int, kernel: int, group: int, reason: str | None
) -> None:
    path = convolution(tmp_path / "m.onnx", channels, filters, kernel, group)
    found = placed(path)
    assert ("first" in found.int8) is (reason is None)
    assert found.stays_float.get("first", "").startswith(reason or "")
    everything = placed(path, placement={"slow_convolutions": "int8"})
    assert everything.int8 == ("first", "second")


def test_what_stands_between_int8_layers_is_int8(tmp_path: Path) -> None:
    found = placed(residual(tmp_path / "m.onnx"))
    assert found.int8 == ("conv", "branch", "add", "pool", "flatten", "dense")
    assert found.last_layers == ("dense",)


def test_an_addition_with_a_float_operand_stays_in_float(tmp_path: Path) -> None:
    found = placed(residual(tmp_path / "m.onnx", branch="Erf"))
    assert found.int8 == ("conv", "dense")


def test_softmax_and_reshape_at_the_end_stay_in_float(tmp_path: Path) -> None:
    assert placed(cnn(tmp_path / "m.onnx")).int8 == ("conv2", "relu2", "flatten", "dense")


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"nodes": {"exclude": ["conv*"]}}, ("dense",)),
        ({"nodes": {"include": ["conv?", "relu2"]}}, ("conv2", "relu2")),
        ({"operators": {"include": ["Gemm"]}}, ("dense",)),
        ({"operators": {"exclude": ["Conv", "Gemm"]}}, ()),
    ],
)
def test_patterns_choose_operators_and_nodes(
    tmp_path: Path, selection: dict[str, object], expected: tuple[str, ...]
) -> None:
    assert placed(cnn(tmp_path / "m.onnx"), **selection).int8 == expected


def test_pixels_are_int8_where_an_int8_layer_reads_them(tmp_path: Path) -> None:
    path = cnn(tmp_path / "m.onnx")
    assert placed(path).pixels == ()
    assert len(placed(path, placement={"slow_convolutions": "int8"}).pixels) == 1


def test_relu_moves_behind_the_pooling_and_changes_nothing(tmp_path: Path) -> None:
    path = cnn(tmp_path / "m.onnx")
    model = ir.load(path)
    infer_shapes(model)
    assert relu_after_pool(model, {"conv2"}) == 1
    assert relu_after_pool(model, {"conv2"}) == 0
    order = [node.op_type for node in model.graph]
    assert order[3:6] == ["Conv", "MaxPool", "Relu"]
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    images = np.random.default_rng(0).integers(0, 256, (5, 12, 12, 1), dtype=np.uint8)
    before, after = (
        onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(
            None, {"image": images}
        )[0]
        for content in (path.read_bytes(), proto.SerializeToString())
    )
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("int8", [{"pool1", "conv2"}, {"relu1", "conv2"}, set(), {"dense"}])
def test_relu_stays_where_float_does_not_end_behind_the_pooling(
    tmp_path: Path, int8: set[str]
) -> None:
    model = ir.load(cnn(tmp_path / "m.onnx"))
    infer_shapes(model)
    assert relu_after_pool(model, int8) == 0


def branches(path: Path) -> Path:
    """A float convolution whose ReLU a pooling and a convolution read; both branches are added."""
    node = helper.make_node
    return save(
        path,
        [
            node("Conv", ["x", "w1"], ["c1"], "conv1"),
            node("Relu", ["c1"], ["r1"], "relu1"),
            node("MaxPool", ["r1"], ["p1"], "pool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            node("Conv", ["p1", "w2"], ["a"], "conv2"),
            node("Conv", ["r1", "w2"], ["b"], "conv3"),
            node("Add", ["a", "b"], ["y"], "add"),
        ],
        [tensor("x", ["n", 1, 12, 12])],
        [tensor("y", ["n", 8, 10, 10])],
        [initializer("w1", weights((8, 1, 3, 3), 1)), initializer("w2", weights((8, 8, 1, 1), 2))],
    )


def test_a_second_relu_stands_behind_the_pooling_where_the_first_is_read_elsewhere(
    tmp_path: Path,
) -> None:
    path = branches(tmp_path / "m.onnx")
    model = ir.load(path)
    infer_shapes(model)
    assert relu_after_pool(model, {"conv2", "conv3"}) == 1
    assert relu_after_pool(model, {"conv2", "conv3"}) == 0
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    feeds = {"x": np.random.default_rng(0).normal(size=(3, 1, 12, 12)).astype(np.float32)}
    before, after = (
        onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, feeds)[
            0
        ]
        for content in (path.read_bytes(), proto.SerializeToString())
    )
    np.testing.assert_array_equal(after, before)


def test_a_float_pooling_beside_an_int8_layer_reads_floats_and_stays_float(tmp_path: Path) -> None:
    path = branches(tmp_path / "m.onnx")
    feeds = [{"x": np.random.default_rng(0).normal(size=(40, 1, 12, 12)).astype(np.float32)}]
    result = quantize(path, tmp_path / "q.onnx", data=feeds)
    assert {"conv2", "conv3", "add"} <= set(result.int8_nodes)
    nodes = optimized(result.path, tmp_path)
    makers = {name: node.op_type for node in nodes for name in node.output}
    pool = next(node for node in nodes if node.op_type == "MaxPool")
    assert makers[pool.input[0]] not in ("QuantizeLinear", "Transpose")


def optimized(path: Path, folder: Path) -> list[onnx.NodeProto]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return list(onnx.load(folder / "optimized.onnx").graph.node)


def test_onnxruntime_runs_the_first_layer_in_float_and_no_pooling_on_bytes(
    tmp_path: Path,
) -> None:
    np.savez(
        tmp_path / "data.npz",
        x=np.random.default_rng(0).integers(0, 256, (60, 12, 12), dtype=np.uint8),
    )
    path = cnn(tmp_path / "m.onnx")
    result = quantize(path, tmp_path / "q.onnx", data=tmp_path / "data.npz")
    nodes = optimized(result.path, tmp_path)
    types = [node.op_type for node in nodes]
    assert types.count("QLinearConv") == 1
    assert types.count("Conv") + types.count("FusedConv") == 1
    assert types.count("QuantizeLinear") == 1
    assert "DequantizeLinear" not in types
    # The pooling comes before the QuantizeLinear: it works on floats, in blocks of channels.
    assert types.index("MaxPool") < types.index("QuantizeLinear")


def test_a_residual_network_has_no_conversion_inside(tmp_path: Path) -> None:
    path = residual(tmp_path / "m.onnx")
    feeds = [{"x": np.random.default_rng(0).normal(size=(50, 8, 6, 6)).astype(np.float32)}]
    result = quantize(path, tmp_path / "q.onnx", data=feeds)
    types = [node.op_type for node in optimized(result.path, tmp_path)]
    assert types.count("QuantizeLinear") == 1  # at the float input
    assert "DequantizeLinear" not in types
    assert {"QLinearConv", "QLinearAdd", "QLinearGlobalAveragePool", "QGemm"} <= set(types)


def two_branches(path: Path, factor: float) -> Path:
    """Conv -> MaxPool and Conv * factor -> MaxPool, concatenated, then Conv."""
    node = helper.make_node
    weight = weights((4, 4, 3, 3), 1)
    return save(
        path,
        [
            node("Conv", ["x", "w1"], ["c1"], "one"),
            node("MaxPool", ["c1"], ["p1"], "pool_one", kernel_shape=[2, 2]),
            node("Conv", ["x", "w2"], ["c2"], "two"),
            node("MaxPool", ["c2"], ["p2"], "pool_two", kernel_shape=[2, 2]),
            node("Concat", ["p1", "p2"], ["joined"], "concat", axis=1),
            node("Conv", ["joined", "w3"], ["y"], "last"),
        ],
        [tensor("x", ["n", 4, 8, 8])],
        [tensor("y", ["n", 2, 3, 3])],
        [
            initializer("w1", weight),
            initializer("w2", (weight * factor).astype(np.float32)),
            initializer("w3", weights((2, 8, 3, 3), 2)),
        ],
    )


@pytest.mark.parametrize(("factor", "shared"), [(0.7, True), (0.2, False)])
def test_concatenated_branches_share_a_scale_unless_one_would_lose_bits(
    tmp_path: Path, factor: float, shared: bool
) -> None:
    path = two_branches(tmp_path / "m.onnx", factor)
    feeds = [{"x": np.random.default_rng(0).normal(size=(50, 4, 8, 8)).astype(np.float32)}]
    result = quantize(path, tmp_path / "q.onnx", data=feeds)
    assert len(result.int8_nodes) == 6
    scales = {
        entry.name: float(onnx.numpy_helper.to_array(entry))
        for entry in onnx.load(result.path).graph.initializer
        if entry.name in ("c1_scale", "c2_scale", "joined_scale")
    }
    assert (len(set(scales.values())) == 1) is shared
    assert result.test is not None
    assert result.test.sqnr_db > 30


def test_nodes_that_run_in_float_after_all_are_found() -> None:
    node = helper.make_node
    scales = [
        initializer("s", np.float32(0.1)),
        initializer("z", np.uint8(128)),
        initializer("zi", np.int8(0)),
        initializer("wq", np.ones((4, 2, 3, 3), np.int8)),
    ]
    graph = helper.make_graph(
        [
            node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
            node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
            node("DequantizeLinear", ["wq", "s", "zi"], ["wd"]),
            # There is no int8 kernel for it.
            node("ConvTranspose", ["xd", "wd"], ["y"], "up"),
            node("Conv", ["xd", "wd"], ["c"], "plain"),
        ],
        "test",
        [tensor("x", [1, 4, 5, 5])],
        [tensor("y", [1, 2, 7, 7]), tensor("c", None, TensorProto.FLOAT)],  # type: ignore[arg-type]
        scales,
    )
    del graph.initializer[3]
    graph.initializer.append(initializer("wq", np.ones((4, 4, 3, 3), np.int8)))
    graph.output[0].CopyFrom(tensor("y", [1, 4, 7, 7]))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    # Without a QuantizeLinear behind it the convolution is not joined either.
    assert unfused(model, ["plain", "elsewhere"]) == ["plain"]
