"""What TensorRT demands of a quantized graph; it is not here to be asked."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from quantization_models import cnn, labelled

from toolkit.quantization import QuantizeResult, quantize


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> QuantizeResult:
    folder = tmp_path_factory.mktemp("tensorrt")
    model = cnn(folder / "cnn.onnx", channels=3)
    data = labelled(folder / "data.npz", model, channels=3)
    return quantize(model, folder / "q.onnx", data=data, recipe="int8-tensorrt")


@pytest.fixture(scope="module")
def graph(result: QuantizeResult) -> onnx.GraphProto:
    return onnx.load(result.path).graph


def test_all_zero_points_are_zero_and_int8(graph: onnx.GraphProto) -> None:
    arrays = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    pairs = [node for node in graph.node if node.op_type.endswith("quantizeLinear")]
    pairs += [node for node in graph.node if node.op_type == "QuantizeLinear"]
    assert pairs
    for node in pairs:
        zero = arrays[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any()


def test_weights_are_int8_with_a_scale_per_channel_and_biases_are_float(
    graph: onnx.GraphProto,
) -> None:
    types = {entry.name: entry.data_type for entry in graph.initializer}
    sizes = {entry.name: list(entry.dims) for entry in graph.initializer}
    assert TensorProto.INT32 not in types.values()
    assert types["w2_quantized"] == TensorProto.INT8
    assert sizes["w2_scale"] == [16]
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm"):
            assert types[node.input[2]] == TensorProto.FLOAT


def test_a_pair_stands_on_each_input_of_a_layer_and_nowhere_else(graph: onnx.GraphProto) -> None:
    makers = {name: node for node in graph.node for name in node.output}
    layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(layers) == 3
    for layer in layers:
        dequantize = makers[layer.input[0]]
        assert dequantize.op_type == "DequantizeLinear"
        assert makers[dequantize.input[0]].op_type == "QuantizeLinear"
        readers = [node.op_type for node in graph.node if layer.output[0] in node.input]
        assert "QuantizeLinear" not in readers
    quantizers = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    assert len(quantizers) == len(layers)


def test_uint8_pictures_are_converted_not_dequantized(graph: onnx.GraphProto) -> None:
    readers = {node.op_type for node in graph.node if "image" in node.input}
    assert readers <= {"Cast", "Transpose", "Reshape"}


def test_the_answers_are_those_of_the_float_model(result: QuantizeResult) -> None:
    assert result.test is not None
    assert result.test.sqnr_db > 30
    assert set(result.int8_nodes) == {"conv1", "conv2", "dense"}
