"""Networks of sequences: a recurrent layer, a transformer block, convolutions of one dimension."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from quantization_models import initializer, save, tensor, weights

from toolkit.quantization import quantize

STEPS, WIDTH = 7, 8


def gru(path: Path) -> Path:
    node = helper.make_node
    return save(
        path,
        [
            node("Transpose", ["x"], ["t"], "to_time", perm=[1, 0, 2]),
            node("GRU", ["t", "w", "r"], ["states"], "gru", hidden_size=16),
            node("Squeeze", ["states", "one"], ["s"], "squeeze"),
            node("MatMul", ["s", "d"], ["m"], "each_step"),
            node("Add", ["m", "b"], ["a"], "plus"),
            node("ReduceMean", ["a"], ["y"], "mean", axes=[0], keepdims=0),
        ],
        [tensor("x", ["batch", "steps", WIDTH])],
        [tensor("y", ["batch", 5])],
        [
            initializer("w", weights((1, 48, WIDTH), 1)),
            initializer("r", weights((1, 48, 16), 2)),
            initializer("one", np.array([1], np.int64)),
            initializer("d", weights((16, 5), 3)),
            initializer("b", weights((5,), 4)),
        ],
    )


def transformer(path: Path) -> Path:
    """One head, a residual, a normalization whose scale is named after its output, a GELU."""
    node = helper.make_node
    square = (WIDTH, WIDTH)
    return save(
        path,
        [
            *(node("MatMul", ["x", f"w_{part}"], [part], f"to_{part}") for part in "qkv"),
            node("Transpose", ["k"], ["kt"], "turn", perm=[0, 2, 1]),
            node("MatMul", ["q", "kt"], ["likeness"], "likeness"),
            node("Softmax", ["likeness"], ["shares"], "softmax"),
            node("MatMul", ["shares", "v"], ["mixed"], "mix"),
            node("MatMul", ["mixed", "w_o"], ["out"], "to_out"),
            node("Add", ["x", "out"], ["sum"], "residual"),
            node("LayerNormalization", ["sum", "norm_scale", "norm_bias"], ["norm"], "norm"),
            node("MatMul", ["norm", "w_up"], ["up"], "to_up"),
            node("Div", ["up", "root"], ["div"], "div"),
            node("Erf", ["div"], ["erf"], "erf"),
            node("Add", ["erf", "1"], ["gate"], "gate"),
            node("Mul", ["up", "gate"], ["gated"], "gated"),
            node("Mul", ["gated", "half"], ["gelu"], "gelu"),
            node("MatMul", ["gelu", "w_down"], ["down"], "to_down"),
            node("ReduceMean", ["down"], ["y"], "mean", axes=[1], keepdims=0),
        ],
        [tensor("x", ["batch", "steps", WIDTH])],
        [tensor("y", ["batch", WIDTH])],
        [
            *(initializer(f"w_{part}", weights(square, at)) for at, part in enumerate("qkvo")),
            initializer("norm_scale", 1 + weights((WIDTH,), 5)),
            initializer("norm_bias", weights((WIDTH,), 6)),
            initializer("w_up", weights((WIDTH, 32), 7)),
            initializer("w_down", weights((32, WIDTH), 8)),
            initializer("root", np.float32(np.sqrt(2))),
            initializer("1", np.float32(1)),
            initializer("half", np.float32(0.5)),
        ],
    )


def convolutions(path: Path) -> Path:
    """As Keras exports them: two-dimensional, with ReLU behind the Squeeze."""
    node = helper.make_node
    return save(
        path,
        [
            node("Transpose", ["x"], ["t"], "to_channels", perm=[0, 2, 1]),
            node("Unsqueeze", ["t", "two"], ["u"], "widen"),
            node("Conv", ["u", "w1", "b1"], ["c1"], "first", kernel_shape=[1, 3]),
            node("Squeeze", ["c1", "two"], ["s1"], "narrow"),
            node("Relu", ["s1"], ["r1"], "relu"),
            node("Conv", ["r1", "w2"], ["c2"], "depthwise", group=16, kernel_shape=[3]),
            node("BatchNormalization", ["c2", "g", "b", "m", "v"], ["n"], "normalize"),
            node("Relu", ["n"], ["r2"], "relu2"),
            node("Conv", ["r2", "w3"], ["c3"], "pointwise", kernel_shape=[1]),
            node("GlobalAveragePool", ["c3"], ["p"], "pool"),
            node("Flatten", ["p"], ["f"], "flatten"),
            node("Gemm", ["f", "d"], ["y"], "dense"),
        ],
        [tensor("x", ["batch", STEPS, WIDTH])],
        [tensor("y", ["batch", 5])],
        [
            initializer("two", np.array([2], np.int64)),
            initializer("w1", weights((16, WIDTH, 1, 3), 1)),
            initializer("b1", weights((16,), 2) - 0.2),
            initializer("w2", weights((16, 1, 3), 3)),
            initializer("g", 1 + weights((16,), 4)),
            initializer("b", weights((16,), 5)),
            initializer("m", weights((16,), 6)),
            initializer("v", np.full(16, 0.7, np.float32)),
            initializer("w3", weights((12, 16, 1), 7)),
            initializer("d", weights((12, 5), 8)),
        ],
    )


# The weight layers that become int8 with the recipe int8.
LAYERS = {
    gru: {"each_step"},
    transformer: {"to_q", "to_k", "to_v", "to_out", "to_up", "to_down"},
    convolutions: {"first", "depthwise", "pointwise", "dense"},
}
# The least signal to noise ratio. In QOperator form the result itself has 8 bits.
RECIPES = {"int8": 25, "int8-qoperator": 20, "int8-dynamic": 30, "weights-int8": 30, "fp16": 50}


def feeds() -> list[dict[str, np.ndarray]]:
    return [{"x": np.random.default_rng(0).normal(size=(80, STEPS, WIDTH)).astype(np.float32)}]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("build", LAYERS, ids=lambda build: build.__name__)
def test_sequence_models_keep_their_answers(
    tmp_path: Path, build: Callable[[Path], Path], recipe: str
) -> None:
    model = build(tmp_path / "float.onnx")
    result = quantize(model, tmp_path / "q.onnx", data=feeds(), recipe=recipe)
    assert result.test is not None
    assert result.test.sqnr_db > RECIPES[recipe]
    if recipe == "int8":
        assert LAYERS[build] <= set(result.int8_nodes)
    onnx.checker.check_model(onnx.load(result.path), full_check=recipe not in ("weights-int8",))


def test_an_activation_that_others_read_too_is_not_removed(tmp_path: Path) -> None:
    """In QOperator form the quantizer would take any ReLU for one that its input has absorbed."""
    node = helper.make_node
    model = save(
        tmp_path / "m.onnx",
        [
            node("Conv", ["x", "w1"], ["c"], "first", pads=[1, 1, 1, 1]),
            node("Relu", ["c"], ["r"], "relu"),
            node("Conv", ["r", "w2"], ["a"], "left"),
            node("Conv", ["c", "w2"], ["b"], "right"),
            node("Sub", ["a", "b"], ["d"], "minus"),
            node("GlobalAveragePool", ["d"], ["p"], "pool"),
            node("Flatten", ["p"], ["y"], "flatten"),
        ],
        [tensor("x", ["batch", 4, 6, 6])],
        [tensor("y", ["batch", 5])],
        [initializer("w1", weights((8, 4, 3, 3), 1)), initializer("w2", weights((5, 8, 1, 1), 2))],
    )
    data = [{"x": np.random.default_rng(0).normal(size=(80, 4, 6, 6)).astype(np.float32)}]
    for recipe in ("int8", "int8-qoperator", "int8-arm64"):
        result = quantize(model, tmp_path / "q.onnx", data=data, recipe=recipe, force=True)
        assert result.test is not None
        assert result.test.sqnr_db > 30
