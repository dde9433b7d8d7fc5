"""Keras files: of Keras 2, of the user's own classes, and with code that may run or not."""

import importlib.util
import subprocess
import sys

import keras_models
import numpy as np
import pytest
from source_exports import export_here, names

from toolkit.errors import MissingPackageError, ModelError, RecipeError
from toolkit.exporting.sources import keras2, loading, open_source

CLASSES = '''
import keras

class Net(keras.Model):
    """Takes a picture, gives a dictionary."""
    def __init__(self, width=4, **options):
        super().__init__(**options)
        self.width = width
        self.layers_in_order = [keras.layers.Conv2D(width, 3), keras.layers.Flatten()]
        self.last = keras.layers.Dense(2)
    def call(self, x):
        hidden = x
        for layer in self.layers_in_order:
            hidden = layer(hidden)
        return {"scores": self.last(hidden), "mean": keras.ops.mean(x, axis=(1, 2))}
    def get_config(self):
        return {**super().get_config(), "width": self.width}

class Sum(keras.Model):
    """Takes a dictionary."""
    def call(self, parts):
        return parts["left"] + parts["right"]

class Two(keras.Model):
    """Takes two arguments, of which Keras stores one shape."""
    def call(self, left, right):
        return left + right

class Triple(keras.layers.Layer):
    def call(self, x):
        return x * 3

def double(x):
    return x * 2
'''

KERAS_2 = """
import sys, numpy as np, tf_keras as keras
layers, folder = keras.layers, sys.argv[1]
image = keras.Input((8, 8, 3), name="image")
x = layers.LeakyReLU(0.1)(layers.BatchNormalization()(layers.DepthwiseConv2D(3)(image)))
model = keras.Model(image, layers.Dense(3, activation="softmax", name="p")(layers.Flatten()(x)))
model.save(folder + "/depthwise.h5")
model.save(folder + "/depthwise.keras")
keras.Sequential([image, layers.Flatten(), layers.Dense(3)]).save(folder + "/plain.h5")
a, b = keras.Input((4,)), keras.Input((4,))
model = keras.Model({"q": b, "p": a}, {"t": a * b, "s": layers.Dense(3)(a + b)})
model.save(folder + "/dictionaries.keras")
"""


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    path = tmp_path_factory.mktemp("classes") / "own.py"
    path.write_text(CLASSES, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def own(classes):
    keras_models.import_keras()
    spec = importlib.util.spec_from_file_location("own", classes)
    module = importlib.util.module_from_spec(spec)
    sys.modules["own"] = module  # Keras notes a class by its module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["own"]


@pytest.fixture(scope="module")
def keras_2(tmp_path_factory):
    """Files that Keras 2 wrote, in a process of its own."""
    folder = tmp_path_factory.mktemp("keras_2")
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KERAS_2, str(folder)],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.mark.slow
def test_keras_3_loads_what_it_can_of_keras_2(keras_2):
    _, converted, compared = export_here(keras_2 / "plain.h5")

    assert compared.passed
    assert compared.computed_by == "Keras"
    assert names(converted.graph.inputs) == ["image"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["depthwise.h5", "depthwise.keras"])
def test_what_keras_3_refuses_goes_through_tf_keras(keras_2, name):
    model, converted, compared = export_here(keras_2 / name, batch=2)

    assert compared.passed
    assert compared.computed_by == "Keras 2"
    assert "tf_keras" in model.versions
    assert names(converted.graph.inputs) == ["image"]
    assert names(converted.graph.outputs) == ["p"]
    assert model.contract.outputs[0].kind == "probabilities"


@pytest.mark.slow
def test_dictionaries_of_keras_2_keep_their_keys(keras_2):
    _, converted, compared = export_here(keras_2 / "dictionaries.keras")

    assert compared.passed
    assert names(converted.graph.inputs) == ["p", "q"]
    assert names(converted.graph.outputs) == ["s", "t"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["depthwise.h5", "depthwise.keras"])
def test_without_tf_keras_the_command_that_installs_it_is_named(keras_2, name, monkeypatch):
    monkeypatch.setattr(keras2, "is_installed", lambda: False)

    with pytest.raises(MissingPackageError, match=r"Keras 2\.\d+.*pip install 'toolkit\[keras2\]'"):
        loading.load(open_source(keras_2 / name))


@pytest.mark.slow
def test_a_subclassed_model_gets_the_inputs_that_it_was_saved_with(own, classes, tmp_path):
    model = own.Net(name="net")
    model(np.zeros((3, 8, 8, 3), np.float32))
    model.save(tmp_path / "net.keras")

    loaded, converted, compared = export_here(
        tmp_path / "net.keras", unsafe_load=True, custom_objects=classes
    )

    assert compared.passed
    assert loaded.contract.name == "net"
    assert loaded.contract.inputs[0].shape == ("batch", 8, 8, 3)
    assert names(converted.graph.outputs) == ["mean", "scores"]


@pytest.mark.slow
def test_a_subclassed_model_may_take_a_dictionary(own, classes, tmp_path):
    model = own.Sum()
    model({"left": np.zeros((3, 4), np.float32), "right": np.zeros((3, 4), np.float32)})
    model.save(tmp_path / "sum.keras")

    _, converted, compared = export_here(
        tmp_path / "sum.keras", unsafe_load=True, custom_objects=classes
    )

    assert compared.passed
    assert names(converted.graph.inputs) == ["left", "right"]


@pytest.mark.slow
@pytest.mark.parametrize("called", [True, False])
def test_a_subclassed_model_whose_inputs_are_unknown_is_refused(own, classes, tmp_path, called):
    model = own.Two() if called else own.Net()
    if called:
        model(np.zeros((3, 4), np.float32), np.zeros((3, 4), np.float32))
    message = "give it one list or dictionary of inputs" if called else "never built"
    with keras_models.warnings_off():  # Keras says so too, in a paragraph
        model.save(tmp_path / "model.keras")
        source = open_source(tmp_path / "model.keras", unsafe_load=True, custom_objects=classes)
        with pytest.raises(ModelError, match=message) as caught:
            loading.load(source)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module", params=["keras", "h5"])
def coded(own, tmp_path_factory, request):
    """A model with a layer and a function of its own, and a Lambda."""
    keras = keras_models.import_keras()
    layers = [
        keras.Input((4,)),
        own.Triple(),
        keras.layers.Dense(3, activation=own.double),
        keras.layers.Lambda(lambda x: x + 1),
    ]
    path = tmp_path_factory.mktemp("coded") / f"coded.{request.param}"
    keras.Sequential(layers).save(path)
    return path


@pytest.mark.slow
def test_code_is_refused_unless_it_is_allowed(coded, classes):
    with pytest.raises(ModelError, match="--unsafe-load"):
        loading.load(open_source(coded))

    _, _, compared = export_here(coded, unsafe_load=True, custom_objects=classes)

    assert compared.passed


@pytest.mark.slow
def test_allowed_code_that_is_missing_leads_to_its_option(own, tmp_path):
    keras = keras_models.import_keras()
    keras.Sequential([keras.Input((4,)), own.Triple()]).save(tmp_path / "model.keras")
    del sys.modules["own"]
    try:
        with pytest.raises(ModelError, match=r"--custom-objects FILE\.py"):
            loading.load(open_source(tmp_path / "model.keras", unsafe_load=True))
    finally:
        sys.modules["own"] = own


@pytest.mark.slow
def test_an_error_in_the_users_own_file_is_one_line(coded, tmp_path):
    (tmp_path / "broken.py").write_text("raise RuntimeError('not today')", encoding="utf-8")

    with pytest.raises(ModelError, match=r"broken\.py' raised RuntimeError: not today"):
        loading.load(open_source(coded, unsafe_load=True, custom_objects=tmp_path / "broken.py"))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("m.h5", {"custom_objects": "own.py"}, "add --unsafe-load to allow it"),
        ("m.h5", {"custom_objects": "no.py", "unsafe_load": True}, "'no.py' is no Python file"),
        ("m.tflite", {"custom_objects": "own.py", "unsafe_load": True}, "is for Keras files"),
        ("m.h5", {"signature": "other"}, "--signature is for SavedModel folders and .tflite"),
    ],
)
def test_an_option_that_does_not_fit_is_one_line(tmp_path, monkeypatch, name, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").touch()
    content = b"\x89HDF\r\n\x1a\n" if name == "m.h5" else b"\x1c\x00\x00\x00TFL3"
    (tmp_path / name).write_bytes(content)

    with pytest.raises(RecipeError, match=message):
        open_source(tmp_path / name, **options)
