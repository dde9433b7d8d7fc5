from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper
from quantization_models import initializer, save, tensor, weights

from toolkit.graph.editing import infer_shapes
from toolkit.quantization.pixels import dequantize, find_pixels, fold_into_weights

Steps = list[tuple[str, float]]


def model(path: Path, steps: Steps, moves: bool = True) -> ir.Model:
    """uint8 [N,6,6,1] -> Cast -> arithmetic -> Transpose -> Conv."""
    nodes = [helper.make_node("Cast", ["x"], ["t0"], to=TensorProto.FLOAT)]
    initializers = [initializer("w", weights((4, 1, 3, 3)))]
    for index, (operator, number) in enumerate(steps):
        initializers.append(initializer(f"k{index}", np.float32(number)))
        nodes.append(helper.make_node(operator, [f"t{index}", f"k{index}"], [f"t{index + 1}"]))
    last = f"t{len(steps)}"
    if moves:
        nodes.append(helper.make_node("Transpose", [last], ["nchw"], perm=[0, 3, 1, 2]))
        last = "nchw"
    nodes.append(helper.make_node("Conv", [last, "w"], ["y"], "conv"))
    shape: list[int | str] = ["n", 6, 6, 1] if moves else ["n", 1, 6, 6]
    inputs = [tensor("x", shape, TensorProto.UINT8)]
    outputs = [tensor("y", ["n", 4, 4, 4])]
    loaded = ir.load(save(path, nodes, inputs, outputs, initializers))
    infer_shapes(loaded)
    return loaded


def run(loaded: ir.Model) -> np.ndarray:
    proto = ir.to_proto(loaded)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    shape = [size if isinstance(size, int) else 3 for size in session.get_inputs()[0].shape]
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return session.run(None, {"x": images})[0]


CASES: list[tuple[Steps, float, float, int | None]] = [
    ([("Mul", 1 / 255)], 1 / 255, 0.0, 0),
    ([("Div", 255)], 1 / 255, 0.0, 0),
    ([("Mul", 1 / 255), ("Sub", 0.5), ("Mul", 2)], 2 / 255, -1.0, None),  # 127.5 is no code
    ([("Sub", 128), ("Div", 128)], 1 / 128, -1.0, 128),
    ([("Sub", -20)], 1.0, 20.0, None),  # -20 is no code either
    ([], 1.0, 0.0, 0),
    ([("Mul", -1)], -1.0, 0.0, None),
]


@pytest.mark.parametrize(("steps", "scale", "offset", "zero_point"), CASES)
@pytest.mark.parametrize("moves", [True, False])
def test_arithmetic_on_pixels_is_read(
    tmp_path: Path,
    steps: Steps,
    scale: float,
    offset: float,
    zero_point: int | None,
    moves: bool,
) -> None:
    loaded = model(tmp_path / "m.onnx", steps, moves)
    expected = run(loaded)
    (pixels,) = find_pixels(loaded)
    assert (pixels.scale, pixels.offset) == pytest.approx((scale, offset), rel=1e-6)
    assert pixels.zero_point == zero_point
    np.testing.assert_allclose(run(loaded), expected, rtol=1e-6)  # moves in front change nothing


@pytest.mark.parametrize(("steps", "zero_point"), [(case[0], case[3]) for case in CASES])
def test_dequantized_pixels_are_the_same_numbers(
    tmp_path: Path, steps: Steps, zero_point: int | None
) -> None:
    loaded = model(tmp_path / "m.onnx", steps)
    expected = run(loaded)
    (pixels,) = find_pixels(loaded)
    if zero_point is None:
        with pytest.raises(ValueError, match="no exact quantization"):
            dequantize(loaded, pixels)
        return
    dequantize(loaded, pixels)
    assert [node.op_type for node in loaded.graph] == ["Transpose", "DequantizeLinear", "Conv"]
    np.testing.assert_allclose(run(loaded), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("steps", "offset"), [(case[0], case[2]) for case in CASES])
def test_a_factor_moves_into_the_weights_an_offset_does_not(
    tmp_path: Path, steps: Steps, offset: float
) -> None:
    loaded = model(tmp_path / "m.onnx", steps)
    expected = run(loaded)
    (pixels,) = find_pixels(loaded)
    assert fold_into_weights(loaded, pixels) is (offset == 0)
    if offset == 0:
        assert [node.op_type for node in loaded.graph] == ["Transpose", "Cast", "Conv"]
    np.testing.assert_allclose(run(loaded), expected, rtol=1e-4, atol=1e-5)


def test_arithmetic_per_channel_is_left_alone(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["c", "s"], ["m"]),
        helper.make_node("Conv", ["m", "w"], ["y"], "conv"),
    ]
    initializers = [
        initializer("s", np.array([1, 2, 3], np.float32).reshape(3, 1, 1)),
        initializer("w", weights((4, 3, 3, 3))),
    ]
    path = save(
        tmp_path / "m.onnx",
        nodes,
        [tensor("x", [1, 3, 6, 6], TensorProto.UINT8)],
        [tensor("y", [1, 4, 4, 4])],
        initializers,
    )
    loaded = ir.load(path)
    infer_shapes(loaded)
    (pixels,) = find_pixels(loaded)
    assert (pixels.scale, [node.op_type for node in pixels.arithmetic]) == (1.0, ["Cast"])


def test_a_picture_that_is_read_twice_keeps_its_values(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["c", "s"], ["m"]),
        helper.make_node("Conv", ["m", "w"], ["a"], "one"),
        helper.make_node("Conv", ["m", "v"], ["b"], "two"),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    initializers = [
        initializer("s", np.float32(1 / 255)),
        initializer("w", weights((4, 1, 3, 3), 1)),
        initializer("v", weights((4, 1, 3, 3), 2)),
    ]
    path = save(
        tmp_path / "m.onnx",
        nodes,
        [tensor("x", [2, 1, 6, 6], TensorProto.UINT8)],
        [tensor("y", [2, 4, 4, 4])],
        initializers,
    )
    loaded = ir.load(path)
    infer_shapes(loaded)
    expected = run(loaded)
    (pixels,) = find_pixels(loaded)
    assert fold_into_weights(loaded, pixels)
    np.testing.assert_allclose(run(loaded), expected, rtol=1e-4, atol=1e-5)
