"""`predict` answers for every picture that can be read, and says what it did to it."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw

from toolkit.cli import toolkit
from toolkit.errors import DataError, ModelError
from toolkit.prediction import predict


def drawn_one(mode="L", paper=255, ink=0, size=(90, 120)):
    """A vertical stroke with a foot: a 1."""
    image = Image.new(mode, size, paper)
    draw = ImageDraw.Draw(image)
    draw.line([(48, 18), (44, 100)], fill=ink, width=9)
    return image


@pytest.fixture
def one(tmp_path):
    path = tmp_path / "one.png"
    drawn_one().save(path)
    return path


PICTURES = {
    "dark on light": lambda: drawn_one(),
    "light on dark": lambda: drawn_one(paper=0, ink=255),
    "colour": lambda: drawn_one("RGB", (250, 244, 220), (30, 40, 160)),
    "alpha": lambda: drawn_one("RGBA", (0, 0, 0, 0), (0, 0, 0, 255)),
    "palette": lambda: drawn_one().convert("P"),
    "bilevel": lambda: drawn_one().convert("1"),
    "large": lambda: drawn_one().resize((900, 1200)),
    "small": lambda: drawn_one().resize((24, 32), Image.Resampling.LANCZOS),
    "16 bit": lambda: Image.fromarray(np.asarray(drawn_one(), np.uint16) * 257),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_any_kind_of_picture_is_prepared_as_mnist_was_made(tmp_path, kind):
    path = tmp_path / "picture.png"
    PICTURES[kind]().save(path)
    (answer,) = predict("mnist_cnn", [path]).predictions
    assert answer.top[0].label == "1"
    assert any("20x20" in note for note in answer.prepared)


def test_raw_switches_the_preparation_off(one):
    (answer,) = predict("mnist_cnn", [one], raw=True).predictions
    assert answer.prepared == ("resized from 90x120 to 28x28",)


def test_top_names_several_classes_best_first(one):
    (answer,) = predict("mnist_cnn", [one], top=3).predictions
    confidences = [entry.confidence for entry in answer.top]
    assert len(confidences) == 3
    assert confidences == sorted(confidences, reverse=True)
    with pytest.raises(ValueError, match="top is 0"):
        predict("mnist_cnn", [one], top=0)


def test_a_bad_picture_does_not_keep_the_others_from_being_answered(one, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    arguments = ["predict", "mnist_cnn", str(bad), str(one), str(tmp_path / "missing.png")]
    result = CliRunner().invoke(toolkit, arguments)
    assert result.exit_code == 1
    assert "1   " in result.stdout
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert "bad.png' is no picture" in lines[0]
    assert "missing.png' does not exist" in lines[1]
    document = json.loads(CliRunner().invoke(toolkit, [*arguments, "--json"]).stdout)
    assert document["schema"] == "toolkit.predict/1"
    assert document["predictions"][0]["label"] == "1"
    assert document["predictions"][0]["top"][0]["label"] == "1"
    assert len(document["failures"]) == 2


def test_a_model_that_takes_no_pictures_or_does_not_exist_is_one_line(one, tmp_path):
    import onnx
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 5])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5])
    graph = helper.make_graph([helper.make_node("Softmax", ["x"], ["y"])], "g", [x], [y])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "m.onnx")
    with pytest.raises(DataError, match="takes no pictures"):
        predict(tmp_path / "m.onnx", [one])
    with pytest.raises(ModelError, match="does not exist"):
        predict(tmp_path / "no.onnx", [one])
