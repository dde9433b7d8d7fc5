"""SavedModel folders: of Keras, of plain TensorFlow 2, and of TensorFlow 1."""

import shutil

import keras_models
import numpy as np
import pytest
from source_exports import export_here, names

from toolkit.errors import ModelError
from toolkit.exporting.sources import loading, open_source


@pytest.fixture(scope="module")
def tf():
    from toolkit.quiet_tensorflow import import_tensorflow

    return import_tensorflow()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("saved")


@pytest.fixture(scope="module")
def exported_by_keras(folder):
    keras_models.mnist_cnn().export(folder / "keras", verbose=False)
    return folder / "keras"


@pytest.fixture(scope="module")
def several(folder, tf):
    """Two signatures, neither of the usual name, with two inputs and two outputs."""

    class Module(tf.Module):
        @tf.function(
            input_signature=[tf.TensorSpec([None, 4], name="b"), tf.TensorSpec([None, 4], name="a")]
        )
        def mixed(self, b, a):
            return {"output_10": a - b, "output_2": a, "twice": a}

        @tf.function(input_signature=[tf.TensorSpec([3, 4], name="x")])
        def fixed(self, x):
            return {"doubled": 2 * x}

    module = Module()
    path = folder / "several"
    tf.saved_model.save(module, str(path), {"mixed": module.mixed, "fixed": module.fixed})
    return path


@pytest.mark.slow
def test_what_keras_exports_keeps_its_names_and_outputs(exported_by_keras):
    model, converted, compared = export_here(exported_by_keras)

    assert compared.passed
    assert compared.computed_by == "TensorFlow"
    assert names(converted.graph.inputs) == ["image"]
    assert names(converted.graph.outputs) == ["output_0"]
    (spec,) = model.contract.inputs
    assert (spec.shape, spec.image.layout) == (("batch", 28, 28, 1), "NHWC")
    assert model.contract.outputs[0].kind == "probabilities"
    assert len(converted.graph) == 12


@pytest.mark.slow
def test_a_grouped_convolution_in_a_saved_model_is_seen_into(folder):
    keras_models.LAYERS["Conv2D, grouped"]().export(folder / "grouped", verbose=False)

    _, _, compared = export_here(folder / "grouped")

    assert compared.passed


@pytest.mark.slow
def test_without_the_usual_signature_those_there_are_are_named(several):
    with pytest.raises(ModelError, match=r"several signatures.*'fixed', 'mixed'.*--signature"):
        loading.load(open_source(several))


@pytest.mark.slow
def test_an_unknown_signature_gets_a_suggestion(several):
    with pytest.raises(ModelError, match=r"no signature 'mixd'\. Did you mean 'mixed'\?"):
        loading.load(open_source(several, signature="mixd"))


@pytest.mark.slow
def test_several_inputs_and_outputs_stay_apart(several):
    _, converted, compared = export_here(several, signature="mixed")

    assert compared.passed
    assert names(converted.graph.inputs) == ["a", "b"]
    assert names(converted.graph.outputs) == ["output_2", "output_10", "twice"]


@pytest.mark.slow
def test_a_fixed_batch_stays_fixed(several):
    model, converted, compared = export_here(several, signature="fixed")

    assert compared.batches == (3,)
    assert model.batch == 3
    assert list(converted.graph.inputs[0].shape) == [3, 4]


@pytest.mark.slow
def test_a_model_of_tensorflow_1_is_opened_by_its_own_loader(folder, tf):
    v1 = tf.compat.v1
    path = folder / "first"
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 4], "x")
        weights = v1.get_variable("w", [4, 3], use_resource=False)
        keep = v1.placeholder_with_default(tf.constant(1.0), [], "keep_probability")
        y = tf.nn.softmax(tf.matmul(x, weights) * keep)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(path), {"x": x}, {"y": y, "again": y})

    for batch in (None, 2):
        _, converted, compared = export_here(path, batch=batch)

        assert compared.passed
        assert names(converted.graph.inputs) == ["x"]
        assert names(converted.graph.outputs) == ["again", "y"]


def _save(tf, path, function):
    module = tf.Module()
    module.call = tf.function(function, input_signature=[tf.TensorSpec([None, 2], name="x")])
    tf.saved_model.save(module, str(path), module.call)
    return path


@pytest.mark.slow
def test_a_call_of_python_is_refused(folder, tf):
    def call(x):
        return tf.ensure_shape(tf.numpy_function(np.sin, [x], tf.float32), [None, 2])

    path = _save(tf, folder / "python", call)

    with pytest.raises(ModelError, match=r"\(PyFunc\w*\) calls a Python function"):
        loading.load(open_source(path))


@pytest.mark.slow
def test_touching_files_is_refused_unless_it_is_allowed(folder, tf, tmp_path):
    target = tmp_path / "written"

    def call(x):
        with tf.control_dependencies([tf.io.write_file(str(target), "boo")]):
            return x + 1

    path = _save(tf, folder / "writes", call)

    with pytest.raises(ModelError, match=r"\(WriteFile\) reads or writes files.*--unsafe-load"):
        loading.load(open_source(path))
    assert not target.exists()
    loading.load(open_source(path, unsafe_load=True))
    assert target.exists()


@pytest.mark.slow
def test_a_damaged_graph_is_one_line(exported_by_keras, tmp_path):
    path = tmp_path / "damaged"
    shutil.copytree(exported_by_keras, path)
    content = (path / "saved_model.pb").read_bytes()
    for damaged in (content[: len(content) // 2], b"\xff" * 100, b""):
        (path / "saved_model.pb").write_bytes(damaged)

        with pytest.raises(ModelError, match=r"is damaged|has no graph") as caught:
            loading.load(open_source(path))
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_missing_weights_are_one_line(exported_by_keras, tmp_path):
    path = tmp_path / "weightless"
    shutil.copytree(exported_by_keras, path)
    shutil.rmtree(path / "variables")

    with pytest.raises(ModelError, match="cannot be loaded by TensorFlow") as caught:
        loading.load(open_source(path))
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_no_model(tmp_path):
    with pytest.raises(ModelError, match="is an empty folder"):
        open_source(tmp_path)


def test_a_folder_without_a_graph_is_no_model(tmp_path):
    (tmp_path / "notes.txt").touch()

    with pytest.raises(ModelError, match=r"a folder without 'saved_model\.pb'"):
        open_source(tmp_path)


def test_the_graph_of_a_folder_leads_to_the_folder(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")

    with pytest.raises(ModelError, match=f"name its folder '{tmp_path}'"):
        open_source(tmp_path / "saved_model.pb")


@pytest.mark.parametrize("target", ["/etc", "../elsewhere", "nowhere/../../x"])
def test_a_link_that_leads_out_is_not_followed(tmp_path, target):
    model = tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").write_bytes(b"\x08\x01")
    (model / "variables").symlink_to(target)

    with pytest.raises(ModelError, match=r"variables' is a link that leads out.*cp -rL"):
        open_source(model)
