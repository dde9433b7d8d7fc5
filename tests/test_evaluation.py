"""`evaluate` counts right, says which samples it used, and draws the mistakes."""

import json

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from toolkit.cli import toolkit
from toolkit.contract import KEY, Contract, ImageSpec, InputSpec, OutputSpec
from toolkit.datasets import Split, load_dataset
from toolkit.errors import DataError, ModelError, OutputError
from toolkit.evaluation import evaluate
from toolkit.recipes import builtin_dir
from toolkit.reporting import mistakes


def brightness_model(path, classes=3, kind="probabilities", provenance=(), labels=None):
    """A model of [N, 2, 2] uint8 pictures that names class round(mean / 100)."""
    centers = (np.arange(classes) * 100).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["f"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "one"], ["column"]),
        helper.make_node("Sub", ["column", "centers"], ["d"]),
        helper.make_node("Abs", ["d"], ["a"]),
        helper.make_node("Neg", ["a"], ["n"]),
        helper.make_node("Softmax", ["n"], ["scores"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 2, 2])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", classes])],
        [
            numpy_helper.from_array(centers, "centers"),
            numpy_helper.from_array(np.array([1]), "one"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    contract = Contract(
        "brightness",
        (InputSpec("image", "uint8", ("batch", 2, 2), ImageSpec("NHW", "grayscale")),),
        (OutputSpec("scores", "float32", ("batch", classes), kind, labels),),
        provenance=provenance,
    )
    helper.set_model_props(model, {KEY: contract.to_json()})
    onnx.save(model, path)
    return path


def pictures(levels):
    return np.stack([np.full((2, 2), level, np.uint8) for level in levels])


@pytest.fixture
def model(tmp_path):
    return brightness_model(tmp_path / "m.onnx")


@pytest.fixture
def data(tmp_path):
    """Six pictures; the model calls the last one (level 100, label 2) class 1."""
    path = tmp_path / "d.npz"
    np.savez(path, x=pictures([0, 10, 100, 110, 200, 100]), y=np.array([0, 0, 1, 1, 2, 2]))
    return path


def test_accuracy_interval_classes_and_confusion(model, data):
    result = evaluate(model, data=data)
    assert result.top1 == 5 / 6
    assert result.top1_interval == pytest.approx((0.4365, 0.9699), abs=1e-4)
    assert result.confusion == ((2, 0, 0), (0, 2, 0), (0, 1, 1))
    assert [entry.accuracy for entry in result.per_class] == [1.0, 1.0, 0.5]
    assert result.part == "all"
    assert result.labels == ("0", "1", "2")


def test_a_class_without_samples_has_no_accuracy(tmp_path, data):
    four = brightness_model(tmp_path / "four.onnx", classes=4)
    assert evaluate(four, data=data).per_class[3].accuracy is None


def test_data_that_the_model_was_trained_on_is_evaluated_on_its_held_out_part(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, x=pictures([0, 100] * 30), y=np.array([0, 1] * 30))
    seen = {"step": "train", "data": {"name": str(path), "sha256": load_dataset(path).digest}}
    model = brightness_model(tmp_path / "trained.onnx", provenance=(seen,))
    result = evaluate(model)  # the data is known from the model
    assert (result.part, result.samples) == ("held out", 12)
    other = brightness_model(tmp_path / "other.onnx")
    assert evaluate(other, data=path).samples == 60


def test_mistakes_are_drawn_most_confident_first(model, data, tmp_path):
    picture = tmp_path / "errors.png"
    evaluate(model, data=data, errors=picture)
    with Image.open(picture) as image:
        assert image.size[0] > 400
    with pytest.raises(OutputError, match="exists already"):
        evaluate(model, data=data, errors=picture)
    evaluate(model, data=data, errors=picture, force=True)
    with pytest.raises(OutputError, match=r"must end in \.png"):
        evaluate(model, data=data, errors=model, force=True)


def test_a_long_label_leaves_the_probability_whole_and_the_head_names_model_and_data(
    tmp_path, monkeypatch
):
    lines = []
    monkeypatch.setattr(mistakes, "_line", lambda draw, place, text, *_, **__: lines.append(text))
    split = Split(np.full((2, 2, 2), 255, np.uint8), np.array([0, 0]))
    scores = np.array([[0.1, 0.9], [0.8, 0.2]], np.float32)
    labels = ("a", "a label that is far wider than the tile above it")
    picture = tmp_path / "e.png"
    assert mistakes.draw_mistakes(split, scores, labels, picture, model="m", data="d") == 1
    assert lines[:2] == ["1 of 2 wrong", "m on d"]
    assert lines[3:] == ["a", labels[1], "90 %"]
    with Image.open(picture) as image:  # the white picture shows its edge
        assert image.convert("L").getextrema()[0] < 255


def test_the_table_of_word_labels_is_numbered_and_fits_80_columns(tmp_path, monkeypatch):
    labels = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
              "Bag", "Ankle boot")  # fmt: skip
    model = brightness_model(tmp_path / "m.onnx", classes=10, labels=labels)
    np.savez(tmp_path / "d.npz", x=pictures([0, 100] * 600), y=np.array([0, 1] * 600))
    result = CliRunner().invoke(toolkit, ["evaluate", str(model), "--data", f"{tmp_path}/d.npz"])
    assert "1,200 samples" in result.stdout
    header, first, *_ = result.stdout.split("\n\n")[1].splitlines()
    assert header.split() == ["label", "count", "right", *map(str, range(10))]
    assert first.split() == ["0", "T-shirt/top", "600", "100.0", "%", "600", *["·"] * 9]
    assert len(first.rstrip()) <= 80


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": pictures([0, 10]), "y": np.array([0, 3])}, r"has the label 3, but .* has 3 classes"),
        ({"x": pictures([0, 10])}, "has no labels"),
        ({"x": np.zeros((2, 5, 5), np.uint8), "y": np.array([0, 1])}, "'image' takes"),
    ],
)
def test_data_that_does_not_fit_is_one_line(model, tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(DataError, match=message) as raised:
        evaluate(model, data=tmp_path / "bad.npz")
    assert "\n" not in str(raised.value)


def test_a_model_that_does_not_classify_is_refused(tmp_path, data):
    embedding = brightness_model(tmp_path / "e.onnx", kind="embedding")
    with pytest.raises(ModelError, match="embedding"):
        evaluate(embedding, data=data)


def test_without_data_and_provenance_it_asks_for_data(model):
    with pytest.raises(DataError, match="name a dataset with --data"):
        evaluate(model)


def test_the_command_prints_json_or_a_table(model, data):
    result = CliRunner().invoke(toolkit, ["evaluate", str(model), "--data", str(data), "--json"])
    document = json.loads(result.stdout)
    assert document["schema"] == "toolkit.evaluate/1"
    assert document["top1"] == 5 / 6
    assert document["confusion"][2] == [0, 1, 1]
    result = CliRunner().invoke(toolkit, ["evaluate", str(model), "--data", str(data)])
    assert "83.33 %  [43.65, 96.99]" in result.stdout


@pytest.mark.slow
def test_keras_and_onnx_give_the_same_figures():
    figures = []
    for suffix in (".keras", ".onnx"):
        path = builtin_dir("models") / f"mnist_cnn{suffix}"
        figures.append(evaluate(path, data="mnist"))
    keras, exported = figures
    assert keras.top1 == pytest.approx(exported.top1, abs=1e-4)
    assert keras.loss == pytest.approx(exported.loss, abs=1e-5)
    assert keras.top1 >= 0.99
