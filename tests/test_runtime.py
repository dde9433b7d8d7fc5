"""What applications embed: `load`, `predict` and `run`, and their errors."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from runtime_models import LABELS, PIXELS_OVER_255, classifier, column

from toolkit.contract import KEY
from toolkit.errors import DataError, ModelError, ProviderError
from toolkit.recipes import builtin_dir
from toolkit.runtime import Prediction, load
from toolkit.runtime.session import create_session

MNIST = builtin_dir("models") / "mnist_cnn.onnx"


@pytest.fixture
def model(tmp_path):
    return load(classifier(tmp_path / "m.onnx"))


def test_predict_names_label_index_confidence_and_all_probabilities(model):
    prediction = model.predict(column(1))
    assert isinstance(prediction, Prediction)
    assert (prediction.label, prediction.index) == ("middle", 1)
    assert prediction.confidence == prediction.probabilities[1] == prediction.probabilities.max()
    assert prediction.probabilities.shape == (3,)
    assert prediction.probabilities.dtype == np.float32
    assert prediction.probabilities.sum() == pytest.approx(1)


FORMS = {
    "pixels": lambda pixels: pixels,
    "with a channel axis": lambda pixels: pixels[..., np.newaxis],
    "not contiguous": lambda pixels: np.asfortranarray(pixels),
    "a list": lambda pixels: pixels.tolist(),
}
VARIANTS = {
    "uint8 NHWC": {},
    "uint8 NCHW": {"layout": "NCHW"},
    "uint8 NHW": {"layout": "NHW"},
    "float32": {"dtype": "float32"},
    "float32, x/255 by the caller": {"dtype": "float32", "by_caller": PIXELS_OVER_255},
    "logits": {"kind": "logits"},
    "batch of 1": {"batch": 1},
    "batch of 4": {"batch": 4},
    "no contract": {"contract": False},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("form", ["pixels", "with a channel axis", "not contiguous"])
def test_every_form_of_a_sample_gives_the_same_answer_with_every_contract(tmp_path, variant, form):
    options = VARIANTS[variant]
    loaded = load(classifier(tmp_path / "m.onnx", **options))
    expected = load(classifier(tmp_path / "reference.onnx")).predict(column(2)).probabilities
    single = loaded.predict(FORMS[form](column(2)))
    np.testing.assert_allclose(single.probabilities, expected, atol=1e-6)
    assert single.label == ("2" if variant == "no contract" else "right")
    batch = loaded.predict(np.stack([FORMS[form](column(index)) for index in (0, 2, 1, 1, 0)]))
    assert [prediction.index for prediction in batch] == [0, 2, 1, 1, 0]
    np.testing.assert_allclose(batch[1].probabilities, expected, atol=1e-6)


def test_a_batch_of_none_gives_an_empty_list(model):
    assert model.predict(np.zeros((0, 2, 3), np.uint8)) == []


def test_answers_are_not_changed_by_later_calls(model):
    first = model.predict(column(0))
    before = first.probabilities.copy()
    model.predict(column(2))
    np.testing.assert_array_equal(first.probabilities, before)


def test_one_column_is_the_probability_of_class_1(tmp_path):
    for kind in ("probabilities", "logits"):
        path = classifier(tmp_path / f"{kind}.onnx", kind=kind, classes=1, labels=("no", "yes"))
        loaded = load(path)
        assert loaded.predict(column(0)).label == "yes"
        assert loaded.predict(column(1)).label == "no"
        assert loaded.predict(column(1)).probabilities.sum() == pytest.approx(1)


def test_threads_share_one_model_without_mixing_up_their_answers(model):
    expected = [model.predict(column(index)).probabilities for index in range(3)]

    def work(seed):
        for index in np.random.default_rng(seed).integers(0, 3, 300):
            prediction = model.predict(column(index))
            assert prediction.index == index
            np.testing.assert_array_equal(prediction.probabilities, expected[index])
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_run_feeds_and_returns_raw_tensors_by_name(model):
    outputs = model.run({"image": column(0)[np.newaxis, ..., np.newaxis]})
    assert list(outputs) == ["scores"]
    assert outputs["scores"].argmax() == 0


BAD_SAMPLES = {
    "another size": (np.zeros((5, 5), np.uint8), r"takes samples of \[2, 3, 1\].*\[5, 5\]"),
    "floats": (np.zeros((2, 3), np.float32), "takes uint8, the data is float32"),
    "larger integers": (np.zeros((2, 3), np.int64), "takes uint8, the data is int64"),
    "objects": (np.array([["a", "b", "c"], ["d", "e", "f"]]), "takes uint8"),
    "a number": (3, r"takes samples of"),
    "a missing picture": ("no.png", "'no.png' does not exist"),
}


@pytest.mark.parametrize("case", BAD_SAMPLES)
def test_a_sample_that_does_not_fit_is_a_clear_error(model, case):
    sample, message = BAD_SAMPLES[case]
    with pytest.raises(DataError, match=message):
        model.predict(sample)


BAD_FEEDS = {
    "unknown name": ({"picture": 0}, "has no input 'picture'; it has 'image'"),
    "missing": ({}, "The input 'image' .* is missing"),
    "dtype": ({"image": np.zeros((1, 2, 3, 1))}, r"takes uint8 .* float64 \[1, 2, 3, 1\]"),
    "shape": ({"image": np.zeros((1, 9), np.uint8)}, r"\[batch, 2, 3, 1\], .*\[1, 9\]"),
}


@pytest.mark.parametrize("case", BAD_FEEDS)
def test_feeds_that_do_not_fit_are_a_clear_error(model, case):
    feeds, message = BAD_FEEDS[case]
    with pytest.raises(DataError, match=message):
        model.run(feeds)


@pytest.mark.parametrize("kind", ["raw", "embedding"])
def test_a_model_that_does_not_classify_can_only_be_run(tmp_path, kind):
    loaded = load(classifier(tmp_path / "m.onnx", kind=kind, labels=None))
    with pytest.raises(ModelError, match=f"kind '{kind}', without classes to predict. Use run"):
        loaded.predict(column(0))
    assert loaded.run({"image": column(0)[np.newaxis, ..., np.newaxis]})["scores"].shape == (1, 3)


def test_a_model_without_a_contract_is_guessed_from_its_tensors(tmp_path):
    for kind in ("probabilities", "logits"):
        loaded = load(classifier(tmp_path / "m.onnx", contract=False, kind=kind))
        assert loaded.contract.assumed
        assert loaded.contract.outputs[0].kind == kind
        assert loaded.contract.inputs[0].image.color == "grayscale"


def with_contract(path, change):
    model = onnx.load(classifier(path))
    (entry,) = (entry for entry in model.metadata_props if entry.key == KEY)
    entry.value = change(entry.value)
    onnx.save(model, path)
    return path


CONTRADICTIONS = {
    "input name": (lambda text: text.replace('"image","dtype"', '"picture","dtype"'), "'picture'"),
    "dtype": (lambda text: text.replace('"uint8"', '"float32"'), "the graph has uint8"),
    "shape": (lambda text: text.replace('"batch",2,3,1', '"batch",28,28,1'), "28, 28, 1"),
    "labels": (lambda text: text.replace('"left",', ""), "2 labels for the 3 classes"),
    "no inputs": (lambda text: text.replace('"inputs":[', '"inputs":[],"x":['), "input 'image'"),
    "no JSON": (lambda text: text[:50], "is damaged"),
    "later version": (lambda text: text.replace('"version":1', '"version":9'), "version 9"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_contract_that_the_graph_contradicts_is_refused(tmp_path, case):
    change, message = CONTRADICTIONS[case]
    with pytest.raises(ModelError, match=message) as caught:
        load(with_contract(tmp_path / "m.onnx", change))
    assert "m.onnx'" in str(caught.value)


def small(opset=17, ir_version=8, operator="Identity"):
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(np.zeros(500, np.float32), "unused")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = ir_version
    return model.SerializeToString()


BAD_FILES = {
    "empty": (b"", "is empty"),
    "text": (b"hello, this is no model\n" * 9, "is no ONNX model, or it is damaged"),
    "truncated": (small()[:1000], "is no ONNX model, or it is damaged"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(99), "is no ONNX model, or it is damaged"),
    "Keras": (b"PK\x03\x04" + bytes(99), "is a Keras model.*toolkit export"),
    "IR version": (small(ir_version=99), "IR version 99, onnxruntime .* Export it with --opset 17"),
    "opset": (small(opset=99), "opset 99, onnxruntime .* Export it with --opset 17"),
    "operator": (small(operator="Quux"), "cannot be run by onnxruntime .*Quux"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_file_that_cannot_be_loaded_is_one_line_with_a_remedy(tmp_path, case, capfd):
    content, message = BAD_FILES[case]
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_model_of_tensorflow_is_to_be_exported_first(tmp_path):
    (tmp_path / "m.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(20))
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(bytes(20))
    for name, what in (("m.tflite", "a TensorFlow Lite model"), ("saved", "a SavedModel")):
        with pytest.raises(ModelError, match=f"is {what}, .*toolkit export .* -o .*onnx"):
            load(tmp_path / name)


def test_a_missing_file_and_a_directory_are_told_apart(tmp_path):
    with pytest.raises(ModelError, match=r"no.onnx' does not exist"):
        load(tmp_path / "no.onnx")
    with pytest.raises(ModelError, match="is a directory"):
        load(tmp_path)


def test_the_provider_is_the_one_that_was_asked_for_or_an_error(tmp_path):
    path = classifier(tmp_path / "m.onnx")
    assert load(path, provider="cpu").providers == ("CPUExecutionProvider",)
    with pytest.raises(ProviderError, match="'tensorrt'"):
        load(path, provider="tensorrt")
    with pytest.raises(ValueError, match="'gpu'"):
        load(path, provider="gpu")
    with pytest.raises(ValueError, match="threads is 0"):
        load(path, threads=0)


class FallingBack:
    """An onnxruntime whose CUDA libraries are missing: it lists CUDA, and runs on the CPU."""

    def __init__(self, real):
        self._real = real

    def __getattr__(self, name):
        return getattr(self._real, name)

    def get_available_providers(self):
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def InferenceSession(self, source, options, providers, **rest):
        return self._real.InferenceSession(
            source, options, providers=["CPUExecutionProvider"], **rest
        )


def test_a_silent_fall_back_to_the_cpu_is_an_error_when_cuda_was_asked_for(tmp_path, monkeypatch):
    import onnxruntime

    path = classifier(tmp_path / "m.onnx")
    monkeypatch.setattr(
        "toolkit.runtime.session.import_onnxruntime", lambda: FallingBack(onnxruntime)
    )
    with pytest.raises(ProviderError, match=r"'cuda' did not start.*fell back to CPU"):
        load(path, provider="cuda")
    assert load(path).providers == ("CPUExecutionProvider",)


def test_a_session_can_be_made_of_bytes_and_without_optimization(tmp_path):
    content = classifier(tmp_path / "m.onnx").read_bytes()
    feeds = {"image": column(1)[np.newaxis, ..., np.newaxis]}
    plain = create_session(content, optimize=False, threads=1).run(None, feeds)[0]
    np.testing.assert_allclose(plain, create_session(content).run(None, feeds)[0], atol=1e-6)


IMPORTS = """
import sys
ALLOWED = set(sys.stdlib_module_names) | {{"toolkit", "numpy", "onnxruntime"}}
ALLOWED |= set(sys.modules) - {{"pydantic", "click", "onnx", "PIL", "rich"}}
TOOLKIT = {{"toolkit", "toolkit.runtime", "toolkit.contract", "toolkit.errors"}}

class Block:
    def find_spec(self, name, path=None, target=None):
        ours = name.split(".")[0] == "toolkit"
        if ours and name not in TOOLKIT and not name.startswith("toolkit.runtime."):
            raise ImportError("the runtime imports " + name)
        if not ours and name.split(".")[0] not in ALLOWED:
            raise ModuleNotFoundError("blocked: " + name, name=name)

sys.meta_path.insert(0, Block())
import numpy as np
from toolkit.runtime import load
model = load({path!r}, threads=1)
print(model.predict(np.zeros((28, 28), np.uint8)).label in "0123456789")
from toolkit.errors import MissingPackageError
try:
    model.predict("digit.png")
except MissingPackageError as error:
    print(error)
"""


def test_the_runtime_imports_numpy_and_onnxruntime_and_nothing_else():
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS.format(path=str(MNIST))],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True", "Picture files need Pillow: pip install pillow"]


def test_labels_of_the_shipped_model_are_the_digits():
    assert load(MNIST).contract.outputs[0].labels == tuple("0123456789")


def test_labels_are_those_of_the_contract(model):
    assert [model.predict(column(index)).label for index in range(3)] == list(LABELS)
