"""What `quantize` does about an optimizer that changes the answer; Pad_Fusion really does."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from quantization_models import cnn, initializer, labelled, save, tensor, weights

from toolkit.contract import from_metadata
from toolkit.errors import CheckFailedError
from toolkit.quantization import quantize, trials
from toolkit.quantization.optimizer_check import OptimizerCheck
from toolkit.runtime import load
from toolkit.runtime.session import create_session

FEEDS = [{"x": np.random.default_rng(0).random((60, 1, 6, 6)).astype(np.float32)}]


@pytest.fixture
def padded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network with Conv -> Pad -> MaxPool, and no pass of ours that guards it."""
    monkeypatch.setattr("toolkit.quantization.preparing.clean", lambda model: {})
    node = helper.make_node
    return save(
        tmp_path / "padded.onnx",
        [
            node("Conv", ["x", "w"], ["c"], "conv"),
            node("Pad", ["c", "pads", "value"], ["p"], "pad"),
            node("MaxPool", ["p"], ["m"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
            node("Flatten", ["m"], ["f"], "flatten"),
            node("Gemm", ["f", "v"], ["y"], "dense"),
        ],
        [tensor("x", ["n", 1, 6, 6])],
        [tensor("y", ["n", 3])],
        [
            initializer("w", -np.abs(weights((4, 1, 1, 1)))),
            initializer("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)),
            initializer("value", np.float32(0)),
            initializer("v", weights((64, 3))),
        ],
    )


def test_nothing_is_written_unless_the_user_agrees(padded: Path) -> None:
    output = padded.with_name("q.onnx")
    with pytest.raises(CheckFailedError, match=r"Pad_Fusion.*--allow-session-options") as caught:
        quantize(padded, output, data=FEEDS)
    assert "\n" not in str(caught.value)
    assert "'" + str(padded) in str(caught.value)
    assert not output.exists()


def test_the_contract_names_the_optimizer_to_leave_out(padded: Path) -> None:
    output = padded.with_name("q.onnx")
    result = quantize(padded, output, data=FEEDS, allow_session_options=True)
    metadata = {entry.key: entry.value for entry in onnx.load(output).metadata_props}
    contract = from_metadata(metadata)
    assert contract is not None
    assert contract.session.disabled_optimizers == ("Pad_Fusion",)
    assert result.optimizer is not None
    assert result.optimizer.passed
    plain = create_session(output, optimize=False).run(None, FEEDS[0])[0]
    np.testing.assert_allclose(load(output).run(FEEDS[0])["y"], plain, rtol=1e-4, atol=1e-5)


def test_a_layer_in_float_is_preferred_to_a_session_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = cnn(tmp_path / "cnn.onnx")
    data = labelled(tmp_path / "data.npz", model)

    def check(quantized: onnx.ModelProto, *_: Any) -> OptimizerCheck:
        int8 = {entry.name for entry in quantized.graph.initializer}
        return OptimizerCheck(64, 3.0 if "w2_quantized" in int8 else 0.0, 2.0)

    monkeypatch.setattr(trials, "check_optimizer", check)
    monkeypatch.setattr(
        "toolkit.quantization.optimizer_repair.optimizers_at_fault", lambda *_: ("Wrong",)
    )
    result = quantize(model, tmp_path / "q.onnx", data=data, allow_session_options=True)
    assert result.reasons["conv2"] == "onnxruntime's optimizer (Wrong) changes its int8 answer"
    assert "dense" in result.int8_nodes
    metadata = {entry.key: entry.value for entry in onnx.load(result.path).metadata_props}
    assert "Wrong" not in str(from_metadata(metadata).session)  # type: ignore[union-attr]
