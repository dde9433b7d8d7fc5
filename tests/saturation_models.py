"""Models of one int8 layer each, with weights large enough to saturate sums of 16 bits."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from quantization_models import initializer

_RANDOM = np.random.default_rng(0)
Case = tuple[onnx.ModelProto, np.ndarray]


def convolution(
    pictures: int,
    shape: tuple[int, ...],
    channels: int,
    kernel: tuple[int, ...],
    *,
    group: int = 1,
    zero_point: int = 100,
    per_channel: bool = True,
    weights: np.ndarray | None = None,
    **attributes: Any,
) -> Case:
    """A QLinearConv on pictures of a shape [C, ...]."""
    if weights is None:
        weights = large_weights((channels, shape[0] // group, *kernel))
    reach = weights[0].size
    inputs = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"]
    node = helper.make_node("QLinearConv", inputs, ["y"], "layer", group=group, **attributes)
    constants = _parameters(weights, channels, per_channel, reach, zero_point)
    return _model(node, constants, shape, TensorProto.UINT8), _codes((pictures, *shape))


def dense(
    rows: int,
    reach: int,
    channels: int,
    *,
    zero_point: int = 100,
    per_channel: bool = True,
    scores: bool = False,
    **attributes: Any,
) -> Case:
    """A QGemm; with ``scores`` it gives float32."""
    shape = (channels, reach) if attributes.get("transB") else (reach, channels)
    inputs = ["x", "xs", "xz", "w", "ws", "wz", "b", *([] if scores else ["ys", "yz"])]
    node = _microsoft("QGemm", inputs, **attributes)
    constants = _parameters(large_weights(shape), channels, per_channel, reach, zero_point)
    kind = TensorProto.FLOAT if scores else TensorProto.UINT8
    return _model(node, constants, (reach,), kind), _codes((rows, reach))


def product(
    operator: str,
    rows: tuple[int, ...],
    reach: int,
    channels: int,
    *,
    zero_point: int = 100,
    weight_zero_point: Any = None,
    per_channel: bool = False,
    bias: bool = False,
) -> Case:
    """A QLinearMatMul, MatMulInteger or MatMulIntegerToFloat."""
    weights = large_weights((reach, channels))
    constants = _parameters(weights, channels, per_channel, reach, zero_point)
    if weight_zero_point is not None:
        constants["wz"] = np.asarray(weight_zero_point, np.int8)
    constants["b"] = constants["b"].astype(np.float32) / 1e4
    kinds = {"QLinearMatMul": TensorProto.UINT8, "MatMulInteger": TensorProto.INT32}
    if operator == "QLinearMatMul":
        inputs = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
        node = helper.make_node(operator, inputs, ["y"], "layer")
    elif operator == "MatMulInteger":
        node = helper.make_node(operator, ["x", "w", "xz", "wz"], ["y"], "layer")
    else:
        inputs = ["x", "w", "xs", "ws", "xz", "wz", *(["b"] if bias else [])]
        node = _microsoft(operator, inputs)
    kind = kinds.get(operator, TensorProto.FLOAT)
    return _model(node, constants, (*rows[1:], reach), kind), _codes((*rows, reach))


def large_weights(shape: tuple[int, ...]) -> np.ndarray:
    """A third of them over the full range, the others small."""
    values = _RANDOM.integers(-127, 128, shape)
    return np.where(_RANDOM.random(shape) < 0.3, values, values // 4).astype(np.int8)


def saved(case: Case, path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """Write a case; return the path and what to feed."""
    onnx.save(case[0], path)
    return path, {"x": case[1]}


def _parameters(
    weights: np.ndarray, channels: int, per_channel: bool, reach: int, zero_point: int
) -> dict[str, Any]:
    scales = _RANDOM.uniform(0.5, 1.5, channels).astype(np.float32) / 127
    return {
        "xs": np.float32(0.01),
        "xz": np.uint8(zero_point),
        "w": weights,
        "ws": scales if per_channel else scales[0],
        "wz": np.zeros(channels if per_channel else (), np.int8),
        "ys": np.float32(0.02 * np.sqrt(reach)),
        "yz": np.uint8(120),
        "b": _RANDOM.integers(-20_000, 20_000, channels).astype(np.int32),
    }


def _codes(shape: tuple[int, ...]) -> np.ndarray:
    return _RANDOM.integers(0, 256, shape, dtype=np.uint8)


def _microsoft(operator: str, inputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, ["y"], "layer", domain="com.microsoft", **attributes)


def _model(
    node: onnx.NodeProto, constants: dict[str, Any], shape: tuple[int, ...], kind: int
) -> onnx.ModelProto:
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["n", *shape])],
        [helper.make_tensor_value_info("y", kind, None)],
        [initializer(name, array) for name, array in constants.items() if name in node.input],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)
