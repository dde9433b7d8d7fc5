import numpy as np
import onnx
import pytest
from onnx import helper
from quantization_models import initializer, tensor, weights

from toolkit.contract import InputSpec
from toolkit.quantization.optimizer_check import (
    OptimizerCheck,
    check_optimizer,
    difference_steps,
    optimizers_at_fault,
)
from toolkit.quantization.running import Runner
from toolkit.quantization.samples import Samples


def padded_pooling(value: float) -> onnx.ModelProto:
    """Conv -> Pad -> MaxPool; onnxruntime joins a padding with 0 into the pooling, wrongly."""
    node = helper.make_node
    graph = helper.make_graph(
        [
            node("Conv", ["x", "w"], ["c"], "conv"),
            node("Pad", ["c", "pads", "value"], ["p"], "pad"),
            node("MaxPool", ["p"], ["y"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        ],
        "test",
        [tensor("x", ["n", 1, 6, 6])],
        [tensor("y", ["n", 4, 4, 4])],
        [
            initializer("w", -np.abs(weights((4, 1, 1, 1)))),
            initializer("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)),
            initializer("value", np.float32(value)),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def samples() -> Samples:
    values = np.random.default_rng(0).random((100, 1, 6, 6)).astype(np.float32)
    return Samples((InputSpec("x", "float32", ("n", 1, 6, 6)),), {"x": values})


def test_a_model_that_the_optimizer_keeps_passes(samples: Samples) -> None:
    model = padded_pooling(1e-30)
    found = check_optimizer(model, Runner(model, ["y"]), samples)
    assert found.samples == 64
    assert found.steps < 1e-3


def test_an_optimizer_that_changes_the_answer_is_found_and_can_be_left_out(
    samples: Samples,
) -> None:
    model, reference = padded_pooling(0.0), Runner(padded_pooling(1e-30), ["y"])
    assert not check_optimizer(model, reference, samples).passed
    assert optimizers_at_fault(model, reference, samples) == ("Pad_Fusion",)
    assert check_optimizer(model, reference, samples, ["Pad_Fusion"]).passed


def test_a_step_is_one_of_255_of_the_range() -> None:
    plain = np.array([[0.0, 10.0]], np.float32)
    assert difference_steps(plain, plain) == 0
    assert difference_steps(plain, plain + np.float32(10 / 255)) == pytest.approx(1, rel=1e-5)
    assert difference_steps(plain, np.array([[np.nan, 10.0]], np.float32)) > 1e6


@pytest.mark.parametrize(
    ("steps", "of_noise", "passed"), [(0.9, 9, True), (5, 0.4, True), (5, 0.6, False)]
)
def test_roundings_of_many_layers_may_add_up(steps: float, of_noise: float, passed: bool) -> None:
    assert OptimizerCheck(1, steps, of_noise).passed is passed
