from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from quantization_models import cnn, initializer, labelled, save, tensor, weights

from toolkit.errors import ModelError
from toolkit.quantization import quantize


def network(path: Path) -> Path:
    """Every way in which a dense layer is written, and a product of two activations."""
    node = helper.make_node
    shared = weights((40, 40), 3, 0.1)
    return save(
        path,
        [
            node("MatMul", ["x", "w0"], ["m0"], "three_axes"),
            node("Add", ["m0", "b0"], ["a0"], "plus"),
            node("Relu", ["a0"], ["r0"], "relu"),
            node("MatMul", ["r0", "shared"], ["m1"], "one"),
            node("MatMul", ["m1", "shared"], ["m2"], "other"),
            node("Transpose", ["m2"], ["t"], "turn", perm=[0, 2, 1]),
            node("MatMul", ["m2", "t"], ["square"], "attention"),
            node("ReduceMean", ["square"], ["mean"], "mean", axes=[1], keepdims=0),
            node("Gemm", ["mean", "w3", "b3"], ["g"], "turned", transB=1),
            node("Gemm", ["g", "w4"], ["y"], "unbiased"),
        ],
        [tensor("x", ["batch", 6, 20])],
        [tensor("y", ["batch", 3])],
        [
            initializer("w0", weights((20, 40), 1)),
            initializer("b0", weights((40,), 2)),
            initializer("shared", shared),
            initializer("w3", weights((30, 6), 4)),
            initializer("b3", weights((30,), 5)),
            initializer("w4", weights((30, 3), 6)),
        ],
        opset=17,
    )


def feeds(count: int = 40) -> list[dict[str, np.ndarray]]:
    return [{"x": np.random.default_rng(0).normal(size=(count, 6, 20)).astype(np.float32)}]


BITS = {"weights-int8": 8, "weights-int4": 4}


@pytest.mark.parametrize("recipe", BITS)
def test_every_dense_layer_gets_small_weights(tmp_path: Path, recipe: str) -> None:
    model = network(tmp_path / "float.onnx")
    result = quantize(model, tmp_path / "q.onnx", data=feeds(), recipe=recipe)
    written = onnx.load(result.path)
    small = [node for node in written.graph.node if node.op_type == "MatMulNBits"]
    bits = {
        attribute.i for node in small for attribute in node.attribute if attribute.name == "bits"
    }
    assert bits == {BITS[recipe]}
    assert len(small) == len(result.int8_nodes) == 5
    assert "attention" in result.float_nodes
    assert (written.ir_version, written.opset_import[0].version) == (8, 17)
    assert len({entry.name for entry in written.graph.initializer}) == len(
        written.graph.initializer
    )
    assert result.test is not None
    assert result.test.sqnr_db > {8: 30, 4: 8}[BITS[recipe]]


def test_the_file_shrinks_with_the_bits(tmp_path: Path) -> None:
    model = save(
        tmp_path / "large.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")],
        [tensor("x", ["batch", 512])],
        [tensor("y", ["batch", 256])],
        [initializer("w", weights((512, 256)))],
    )
    sizes = [
        quantize(model, tmp_path / f"{recipe}.onnx", recipe=recipe).size_bytes for recipe in BITS
    ]
    whole = model.stat().st_size
    assert 0.25 < sizes[0] / whole < 0.3
    assert 0.125 < sizes[1] / whole < 0.17


def test_no_data_is_needed_and_without_it_nothing_is_measured(tmp_path: Path) -> None:
    result = quantize(network(tmp_path / "m.onnx"), tmp_path / "q.onnx", recipe="weights-int8")
    assert (result.test, result.samples, result.attempts) == (None, 0, ())


def test_convolutions_keep_their_weights(tmp_path: Path) -> None:
    model = cnn(tmp_path / "cnn.onnx")
    data = labelled(tmp_path / "data.npz", model)
    rules = tmp_path / "all.toml"
    rules.write_text('description = "all operators"\nmethod = "weights"\n')
    result = quantize(model, tmp_path / "q.onnx", data=data, recipe=rules)
    assert result.int8_nodes == ("dense",)
    assert result.reasons["conv2"] == "its weights are no matrix"


def test_a_network_without_dense_layers_is_refused(tmp_path: Path) -> None:
    model = save(
        tmp_path / "conv.onnx",
        [helper.make_node("Conv", ["x", "w"], ["y"], "conv")],
        [tensor("x", ["batch", 2, 5, 5])],
        [tensor("y", ["batch", 3, 3, 3])],
        [initializer("w", weights((3, 2, 3, 3)))],
    )
    with pytest.raises(ModelError, match="nothing to quantize"):
        quantize(model, tmp_path / "q.onnx", recipe="weights-int8")


def test_logging_stays_as_it_was(tmp_path: Path) -> None:
    """The module that writes MatMulNBits sets up logging for the whole process."""
    import logging
    import sys

    sys.modules.pop("onnxruntime.quantization.matmul_nbits_quantizer", None)
    before = logging.root.level, list(logging.root.handlers)
    quantize(network(tmp_path / "m.onnx"), tmp_path / "q.onnx", recipe="weights-int8")
    assert (logging.root.level, logging.root.handlers) == (before[0], before[1])


def test_a_missed_budget_leaves_layers_in_float(tmp_path: Path) -> None:
    model = network(tmp_path / "m.onnx")
    result = quantize(model, tmp_path / "q.onnx", data=feeds(), recipe="weights-int4", min_sqnr=20)
    assert len(result.attempts) > 1
    assert result.attempts[1].what.startswith("in float: ")
    assert 0 < len(result.int8_nodes) < 5
    session = onnxruntime.InferenceSession(result.path, providers=["CPUExecutionProvider"])
    assert session.run(None, feeds(2)[0])[0].shape == (2, 3)
