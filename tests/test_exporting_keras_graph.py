"""Keras models become ONNX graphs that compute the same, or are refused by the layer's name."""

import keras_models
import onnx_ir as ir
import pytest

from toolkit import graph
from toolkit.errors import ModelError
from toolkit.exporting import keras_graph, parity, references, refusals
from toolkit.exporting.sources import keras3

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _fresh_names():
    keras_models.import_keras().backend.clear_session()


def convert(model, *, opset=17, batch=None, clean=True):
    """Convert in this process; returns the ONNX model and the comparison with Keras."""
    source = keras3.describe(model, "model.keras")
    source.refuse()
    cases = references.make_cases(source, source.contract.inputs, None, batch)
    converted = ir.from_proto(source.convert(opset, batch))
    refusals.refuse_unknown(converted, source.layers, "model.keras")
    if clean:
        graph.clean(converted)
    content = ir.to_proto(converted).SerializeToString()
    limit = parity.limit_of(converted)
    return converted, parity.compare(content, source.contract, cases, limit)


@pytest.mark.parametrize("name", keras_models.LAYERS)
def test_a_layer_computes_what_keras_computes(name):
    model = keras_models.randomise(keras_models.LAYERS[name]())

    _, compared = convert(model)

    assert compared.passed, compared.worst


@pytest.mark.parametrize("name", keras_models.MODELS)
def test_a_model_keeps_its_outputs_and_names(name):
    build, inputs, outputs = keras_models.MODELS[name]
    model = keras_models.randomise(build())

    converted, compared = convert(model)

    assert compared.passed, compared.worst
    if inputs is not None:
        assert [value.name for value in converted.graph.inputs] == inputs
    if outputs is not None:
        assert [value.name for value in converted.graph.outputs] == outputs


@pytest.mark.parametrize("opset", [11, 13, 15, 18])
def test_every_opset_gives_the_same_small_graph(opset):
    converted, compared = convert(keras_models.mnist_cnn(), opset=opset)

    assert compared.passed
    assert converted.opset_imports[""] == opset
    assert [node.op_type for node in converted.graph] == [
        "Reshape", "Conv", "Relu", "MaxPool", "Conv", "Relu", "MaxPool",
        "Reshape", "Gemm", "Relu", "Gemm", "Softmax",
    ]  # fmt: skip


def test_nodes_are_named_by_their_layers():
    converted, _ = convert(keras_models.mnist_cnn())

    names = [node.name for node in converted.graph if node.op_type in ("Relu", "MaxPool")]
    assert names == [
        "conv2d/Relu", "max_pooling2d/MaxPool2d", "conv2d_1/Relu", "max_pooling2d_1/MaxPool2d",
        "dense/Relu",
    ]  # fmt: skip


def test_a_fixed_batch_is_fixed():
    converted, compared = convert(keras_models.mnist_cnn(), batch=4)

    assert compared.passed
    assert compared.batches == (4,)
    assert list(converted.graph.inputs[0].shape) == [4, 28, 28, 1]


def test_padding_before_pooling_is_right_with_all_optimizations_thanks_to_its_pass():
    model = keras_models.randomise(
        keras_models.MODELS["zero padding before maximum pooling"][0](), seed=3
    )

    _, guarded = convert(model)
    _, bare = convert(model, clean=False)

    assert guarded.passed
    wrong = [entry.optimized for entry in bare.differences if entry.max_rel_diff > bare.limit]
    assert wrong in ([True], [])  # [] once onnxruntime folds it rightly


def test_half_precision_is_within_its_wider_limit():
    keras = keras_models.import_keras()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = keras_models.mnist_cnn()
    finally:
        keras.config.set_dtype_policy("float32")

    _, compared = convert(model)

    assert compared.passed
    assert compared.limit == parity.HALF_PRECISION_LIMIT


@pytest.mark.parametrize("message", keras_models.REFUSED)
def test_what_has_no_onnx_form_is_refused_by_the_name_of_the_layer(message):
    model = keras_models.REFUSED[message]()

    with pytest.raises(ModelError, match=message):
        convert(model)


def test_a_sequential_model_is_not_bound_to_the_batch_of_its_first_call():
    model = keras_models.MODELS["called, without an Input"][0]()

    signature = keras_graph.read_signature(model)

    assert tuple(model.inputs[0].shape) == (4, 8)
    assert [tensor.shape for tensor in signature.inputs] == [(None, 8)]
    assert [tensor.shape for tensor in signature.outputs] == [(None, 2)]


def test_an_unbuilt_model_has_no_signature():
    keras = keras_models.import_keras()

    with pytest.raises(ValueError, match="no inputs or was never built"):
        keras_graph.read_signature(keras.Sequential([keras.layers.Dense(3)]))
