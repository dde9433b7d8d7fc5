"""What a user says about inputs and outputs: the formula, whom it concerns, what is refused."""

import dataclasses
import json

import numpy as np
import pytest

from toolkit.contract import Affine, Contract, ImageSpec, InputSpec, OutputSpec
from toolkit.errors import RecipeError
from toolkit.exporting.promises import check_promises, from_job, promise
from toolkit.runtime.feeding import to_batch

RGB = InputSpec("image", "float32", ("batch", 4, 4, 3), image=ImageSpec("NHWC", "rgb"))
NUMBERS = InputSpec("numbers", "float32", ("batch", 5))
SCORES = OutputSpec("scores", "float32", ("batch", 2))


def contract(*inputs, outputs=(SCORES,)):
    return Contract("m", inputs or (RGB,), outputs)


def promised(known, *, scale=None, mean=None, std=None, labels=None):
    promises = check_promises(scale, mean, std, labels)
    assert from_job(json.loads(json.dumps(promises.to_job()))) == promises
    return promise(known, promises)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"scale": 1 / 255}, Affine((1 / 255,), (0.0,))),
        ({"mean": 127.5, "std": 127.5}, Affine((1 / 127.5,), (-1.0,))),
        ({"std": [1, 2, 4]}, Affine((1.0, 0.5, 0.25), (0.0, 0.0, 0.0))),
        ({"scale": 2, "mean": [1, 2, 3], "std": 4}, Affine((0.5,) * 3, (-0.25, -0.5, -0.75))),
        ({"scale": [3, 3, 3], "mean": 1, "std": 1}, Affine((3.0,) * 3, (-1.0,) * 3)),
    ],
)
def test_pixels_are_scaled_then_the_mean_is_taken_off_then_divided(options, expected):
    (spec,) = promised(contract(), **options).inputs

    assert spec.by_caller == expected
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    scale, mean, std = (np.asarray(options.get(k, d)) for k, d in
                        (("scale", 1), ("mean", 0), ("std", 1)))  # fmt: skip
    wanted = (pixels * scale - mean) / std
    np.testing.assert_allclose(to_batch(pixels, spec), wanted, rtol=1e-5, atol=1e-6)


def test_several_inputs_are_told_apart_by_name():
    left, right = (dataclasses.replace(RGB, name=name) for name in ("left", "right"))

    given = promised(
        contract(left, right, NUMBERS), scale={"left": 1, "right": 0.5}, mean={"left": 2}
    )

    assert [spec.by_caller for spec in given.inputs] == [
        Affine((1.0,), (-2.0,)), Affine((0.5,), (0.0,)), None,
    ]  # fmt: skip


def test_the_only_picture_needs_no_name():
    assert promised(contract(NUMBERS, RGB), scale=2).inputs[1].by_caller == Affine((2.0,), (0.0,))


def test_pictures_without_a_channel_axis_are_grey():
    flat = InputSpec("image", "float32", ("batch", 28, 28))

    (spec,) = promised(contract(flat), scale=1 / 255).inputs

    assert spec.image == ImageSpec("NHW", "grayscale")


def test_labels_replace_those_that_are_known(tmp_path):
    (tmp_path / "names").write_text("no\nyes\n")
    known = dataclasses.replace(SCORES, labels=("0", "1"))

    assert promised(contract(outputs=(known,)), labels=tmp_path / "names").outputs[0].labels == (
        "no", "yes",
    )  # fmt: skip


SCALED = dataclasses.replace(RGB, by_caller=Affine((1 / 255,), (0.0,)))
SELF_SCALED = dataclasses.replace(RGB, in_graph=Affine((1 / 255,), (0.0,)))
OTHER = dataclasses.replace(RGB, name="other")


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ([SCALED], {"scale": 2}, "'image' is scaled already, by the model's contract; done twice"),
        ([SELF_SCALED], {"std": 2}, "'image' is scaled already, by the model itself"),
        ([RGB], {"scale": [1, 2]}, "--scale has 2 values, the input 'image' 3 channels"),
        ([RGB], {"scale": []}, "--scale has no value"),
        ([RGB], {"scale": 0}, "--scale 0 is no number to scale with"),
        ([RGB], {"mean": float("nan")}, "--mean nan is no number"),
        ([RGB], {"std": 0}, "--std 0 is not positive"),
        ([RGB], {"std": -1}, "--std -1 is not positive"),
        ([RGB], {"scale": 1e30, "std": 1e-30}, "no float32 number"),
        ([RGB], {"scale": {"imag": 1}}, r"no picture input 'imag'\. Did you mean 'image'\?"),
        ([RGB, OTHER], {"mean": 1}, r"2 picture inputs \(image, other\); say which: --mean image="),
        ([NUMBERS], {"mean": 1}, "the model has no picture input"),
        ([RGB, NUMBERS], {"mean": {"numbers": 1}}, "'numbers' float32 .* takes no pictures"),
        ([dataclasses.replace(RGB, dtype="uint8")], {"scale": 2}, "takes no pictures as floating"),
    ],
)
def test_what_does_not_fit_is_one_line(inputs, options, message):
    with pytest.raises(RecipeError, match=message) as caught:
        promised(contract(*inputs), **options)
    assert "\n" not in str(caught.value)


def test_the_number_of_labels_must_fit_the_output(tmp_path):
    (tmp_path / "names").write_text("one\ntwo\nthree\n")
    second = OutputSpec("features", "float32", ("batch", 7))

    with pytest.raises(RecipeError, match=r"3 classes, the output 'scores' has the shape"):
        promised(contract(), labels=tmp_path / "names")
    with pytest.raises(RecipeError, match=r"2 outputs \(scores, features\); say which"):
        promised(contract(outputs=(SCORES, second)), labels=tmp_path / "names")
    with pytest.raises(RecipeError, match=r"no output 'score'\. Did you mean 'scores'"):
        promised(contract(), labels={"score": tmp_path / "names"})
