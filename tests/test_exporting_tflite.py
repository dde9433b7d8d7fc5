"""TensorFlow Lite files: float, weights quantized, and integers throughout."""

import keras_models
import numpy as np
import pytest
from source_exports import export_here, names

from toolkit.errors import ModelError
from toolkit.exporting import parity
from toolkit.exporting.sources import loading, open_source

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The network for digits in each form, by name."""
    keras_models.import_keras()
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("lite")
    keras_models.mnist_cnn().export(folder / "saved", verbose=False)
    rng = np.random.default_rng(0)

    def samples():
        for _ in range(20):
            yield [rng.uniform(0, 1, (1, 28, 28, 1)).astype(np.float32)]

    def write(name, **options):
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"))
        for key, value in options.items():
            setattr(converter, key, value)
        path = folder / f"{name}.tflite"
        path.write_bytes(converter.convert())
        return path

    smaller = {"optimizations": [tf.lite.Optimize.DEFAULT]}
    return {
        "float": write("float"),
        "dynamic": write("dynamic", **smaller),
        "int8": write(
            "int8",
            **smaller,
            representative_dataset=samples,
            inference_input_type=tf.int8,
            inference_output_type=tf.int8,
        ),
    }


def test_a_float_file_computes_the_same_under_clean_names(files):
    model, converted, compared = export_here(files["float"])

    assert compared.passed
    assert (compared.limit, compared.computed_by) == (parity.LIMIT, "TensorFlow Lite")
    assert names(converted.graph.inputs) == ["image"]
    assert names(converted.graph.outputs) == ["output_0"]
    assert model.contract.inputs[0].shape == ("batch", 28, 28, 1)
    assert model.contract.outputs[0].kind == "probabilities"


def test_an_integer_file_gives_the_same_codes(files):
    model, converted, compared = export_here(files["int8"])

    assert compared.worst.max_abs_diff == 0
    assert model.arithmetic == "approximate"
    assert "QuantizeLinear" in {node.op_type for node in converted.graph}
    assert model.contract.inputs[0].dtype == model.contract.outputs[0].dtype == "int8"


def test_a_file_with_quantized_weights_is_within_its_rounding(files):
    _, _, compared = export_here(files["dynamic"])

    assert compared.passed
    assert compared.limit == parity.APPROXIMATE_LIMIT


def test_without_signatures_names_are_cleaned(files, tmp_path):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([2, 4], name="given")])
    def call(given):
        return tf.nn.relu(given), given

    concrete = call.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], call)
    (tmp_path / "bare.tflite").write_bytes(converter.convert())

    model, converted, compared = export_here(tmp_path / "bare.tflite")

    assert compared.passed
    assert (model.batch, compared.batches) == (2, (2,))
    assert names(converted.graph.inputs) == ["given"]
    assert len(converted.graph.outputs) == 2
    assert not any(":" in name for name in names(converted.graph.outputs))


def test_a_damaged_file_is_one_line(files, tmp_path):
    content = files["float"].read_bytes()
    for damaged in (content[:200], content[: len(content) // 2], content[:8] + bytes(100)):
        path = tmp_path / "damaged.tflite"
        path.write_bytes(damaged)

        with pytest.raises(ModelError, match="cannot be loaded by TensorFlow Lite") as caught:
            loading.load(open_source(path))
        assert "\n" not in str(caught.value)
