"""`predict` answers for every picture that can be read, and says what it did to it."""

import json

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper
from PIL import Image, ImageDraw
from runtime_models import classifier

from toolkit.cli import toolkit
from toolkit.errors import DataError, ModelError
from toolkit.prediction import predict


def one(mode="L", paper=255, ink=0):
    """A vertical stroke, a little slanted: a 1."""
    image = Image.new(mode, (90, 120), paper)
    ImageDraw.Draw(image).line([(48, 18), (44, 100)], fill=ink, width=9)
    return image


@pytest.fixture
def digit(tmp_path):
    path = tmp_path / "one.png"
    one().save(path)
    return path


PICTURES = {
    "dark on light": lambda: one(),
    "light on dark": lambda: one(paper=0, ink=255),
    "colour": lambda: one("RGB", (250, 244, 220), (30, 40, 160)),
    "alpha": lambda: one("RGBA", (0, 0, 0, 0), (0, 0, 0, 255)),
    "white on transparency": lambda: one("RGBA", (0, 0, 0, 0), (255, 255, 255, 255)),
    "palette": lambda: one().convert("P"),
    "one bit": lambda: one().convert("1"),
    "large": lambda: one().resize((900, 1200)),
    "small": lambda: one().resize((18, 24), Image.Resampling.LANCZOS),
    "16 bit": lambda: Image.fromarray(np.asarray(one(), np.uint16) * 257),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_any_kind_of_picture_is_prepared_as_mnist_was_made(tmp_path, kind):
    path = tmp_path / "picture.png"
    PICTURES[kind]().save(path)
    (answer,) = predict("mnist_cnn", [path]).predictions
    assert answer.label == "1"
    assert any("20x20" in note for note in answer.preparation)


def test_raw_switches_the_preparation_off(digit):
    (answer,) = predict("mnist_cnn", [digit], raw=True).predictions
    assert answer.preparation == ("resized from 90x120 to 28x28",)


def test_top_names_several_classes_best_first(digit):
    (answer,) = predict("mnist_cnn", [digit], top=3).predictions
    confidences = [confidence for _, confidence in answer.top]
    assert answer.top[0] == (answer.label, answer.confidence)
    assert confidences == sorted(confidences, reverse=True)
    assert len(confidences) == 3
    assert len(predict("mnist_cnn", [digit], top=99).predictions[0].top) == 10
    with pytest.raises(ValueError, match="top is 0"):
        predict("mnist_cnn", [digit], top=0)


def test_the_command_prints_answers_on_stdout_and_what_it_did_on_stderr(digit):
    result = CliRunner().invoke(toolkit, ["predict", "mnist_cnn", str(digit), "--top", "2"])
    assert result.exit_code == 0, result.output
    header, first, second = result.stdout.splitlines()
    assert header.split() == ["image", "answer", "confidence"]
    assert first.split()[:2] == [str(digit), "1"]
    assert len(second.split()) == 3  # label, confidence, %
    assert "inverted to light on dark" in result.stderr
    assert "inverted" not in result.stdout


def test_what_was_done_to_all_pictures_is_said_once(digit, tmp_path):
    twin = tmp_path / "twin.png"
    one().save(twin)
    result = CliRunner().invoke(toolkit, ["predict", "mnist_cnn", str(digit), str(twin)])
    assert result.stderr.count("\n") == 1
    assert "one.png" not in result.stderr
    light = tmp_path / "light.png"
    one(paper=0, ink=255).save(light)
    arguments = ["predict", "mnist_cnn", str(digit), str(twin), str(light)]
    first, second = CliRunner().invoke(toolkit, arguments).stderr.splitlines()
    assert first.startswith(f"{digit} and 1 more: ")
    assert second.startswith(f"{light}: ")


def test_json_is_one_document_with_the_fields_of_the_schema(digit):
    result = CliRunner().invoke(toolkit, ["predict", "mnist_cnn", str(digit), "--json"])
    document = json.loads(result.stdout)
    assert document["schema"] == "toolkit.predict/1"
    (entry,) = document["predictions"]
    assert entry["file"] == str(digit)
    assert entry["label"] == entry["top"][0]["label"] == "1"
    assert 0 <= entry["confidence"] == entry["top"][0]["confidence"] <= 1
    assert document["failures"] == []
    assert result.stderr == ""


def test_a_bad_picture_does_not_keep_the_others_from_being_answered(digit, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    blank = tmp_path / "blank.png"
    Image.new("L", (30, 30), 255).save(blank)
    missing = tmp_path / "missing.png"
    arguments = ["predict", "mnist_cnn", *map(str, (bad, digit, blank, missing)), "--json"]
    result = CliRunner().invoke(toolkit, arguments)
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    assert "bad.png' is no picture" in lines[0]
    assert "blank.png' shows no stroke" in lines[1]
    assert "missing.png' does not exist" in lines[2]
    document = json.loads(result.stdout)
    assert [entry["label"] for entry in document["predictions"]] == ["1"]
    assert [entry["file"] for entry in document["failures"]] == [str(bad), str(blank), str(missing)]


def test_a_model_without_a_contract_answers_and_says_what_is_assumed(tmp_path):
    model = classifier(tmp_path / "m.onnx", contract=False)
    picture = tmp_path / "p.png"
    Image.fromarray(np.array([[9, 9, 250], [9, 9, 250]], np.uint8)).save(picture)
    result = CliRunner().invoke(toolkit, ["predict", str(model), str(picture)])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1].split()[1] == "2"
    assert "carries no contract: assumed" in result.stderr


def test_a_model_that_cannot_classify_pictures_is_an_error_before_any_is_read(digit, tmp_path):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 5])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5])
    graph = helper.make_graph([helper.make_node("Softmax", ["x"], ["y"])], "g", [x], [y])
    opset = [helper.make_opsetid("", 17)]
    vectors = tmp_path / "vectors.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), vectors)
    with pytest.raises(DataError, match="takes no pictures"):
        predict(vectors, [digit])
    embedding = classifier(tmp_path / "embedding.onnx", kind="embedding", labels=None)
    with pytest.raises(ModelError, match="without classes"):
        predict(embedding, [digit])
    with pytest.raises(ModelError, match="does not exist"):
        predict(tmp_path / "no.onnx", [digit])


@pytest.mark.parametrize(
    "arguments", [["mnist_cnn"], ["mnist_cnn", "p.png", "--top", "0"], ["mnist_cnn", "p", "--x"]]
)
def test_wrong_usage_exits_with_2(arguments):
    assert CliRunner().invoke(toolkit, ["predict", *arguments]).exit_code == 2
