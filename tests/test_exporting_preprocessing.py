"""Preprocessing moves into the graph: the same numbers, from pixels as decoded."""

import numpy as np
import onnx_ir as ir
import pytest
from graph_models import build, operators, run

from toolkit.contract import Affine, ImageSpec, InputSpec
from toolkit.errors import RecipeError
from toolkit.exporting.keras_contract import exported_inputs
from toolkit.exporting.preprocessing import add_preprocessing

NHWC = ImageSpec("NHWC", "rgb")
NCHW = ImageSpec("NCHW", "rgb")
BY_255 = Affine((1 / 255,), (0.0,))
PER_CHANNEL = Affine((0.1, 0.2, 0.3), (-1.0, 0.0, 1.0))


def spec(image=NHWC, by_caller=BY_255, dtype="float32"):
    size = (4, 4, 3) if image is not NCHW else (3, 4, 4)
    return InputSpec("image", dtype, ("batch", *size), image=image, by_caller=by_caller)


def test_an_image_with_known_preprocessing_takes_pixels():
    (changed,) = exported_inputs((spec(),), None)

    assert changed == InputSpec(
        "image", "uint8", ("batch", 4, 4, 3), image=NHWC, in_graph=BY_255, by_caller=None
    )


@pytest.mark.parametrize(
    ("before", "dtype"),
    [
        (spec(), "float32"),
        (spec(by_caller=None), None),
        (spec(image=None, by_caller=None), None),
        (spec(dtype="int32", by_caller=None), None),
    ],
)
def test_other_inputs_stay(before, dtype):
    assert exported_inputs((before,), dtype) == (before,)


def test_pixels_may_be_asked_for_without_preprocessing():
    (changed,) = exported_inputs((spec(by_caller=None),), "uint8")

    assert (changed.dtype, changed.in_graph) == ("uint8", None)


def test_pixels_need_an_image():
    with pytest.raises(RecipeError, match=r"--input uint8 needs an image input.*'image' float32"):
        exported_inputs((spec(image=None),), "uint8")


CASES = {
    "division by 255": (spec(), ["Cast", "Mul"]),
    "per channel, channels last": (spec(by_caller=PER_CHANNEL), ["Cast", "Mul", "Add"]),
    "per channel, channels first": (
        spec(image=NCHW, by_caller=PER_CHANNEL),
        ["Cast", "Mul", "Add"],
    ),
    "an offset alone": (spec(by_caller=Affine((1.0,), (-128.0,))), ["Cast", "Add"]),
    "nothing": (spec(by_caller=None), ["Cast"]),
}


@pytest.mark.parametrize("name", CASES)
def test_the_graph_computes_what_the_caller_did(name):
    before, nodes = CASES[name]
    (after,) = exported_inputs((before,), "uint8")
    shape = ",".join(str(size) for size in before.shape[1:])
    model = build(f"(float[N,{shape}] image) => (float[N,{shape}] y) {{ y = Abs(image) }}")
    pixels = np.random.default_rng(0).integers(0, 256, (2, *before.shape[1:]), np.uint8)

    add_preprocessing(model, before, after)

    affine = before.by_caller or Affine((1.0,), (0.0,))
    scale, offset = (np.asarray(part, np.float32) for part in (affine.scale, affine.offset))
    if before.image is NCHW:
        scale, offset = scale.reshape(-1, 1, 1), offset.reshape(-1, 1, 1)
    expected = np.abs(pixels.astype(np.float32) * scale + offset)
    assert operators(model) == [*nodes, "Abs"]
    assert model.graph.inputs[0].dtype == ir.DataType.UINT8
    np.testing.assert_array_equal(run(model, {"image": pixels}, optimize=False)[0], expected)


def test_half_precision_models_get_half_precision():
    before = InputSpec("image", "float16", ("batch", 4), image=NHWC, by_caller=BY_255)
    (after,) = exported_inputs((before,), None)
    model = build("(float16[N,4] image) => (float16[N,4] y) { y = Relu(image) }")

    add_preprocessing(model, before, after)

    assert operators(model) == ["Cast", "Mul", "Cast", "Relu"]
    pixels = np.array([[0, 1, 128, 255]], np.uint8)
    expected = (pixels.astype(np.float32) * np.float32(1 / 255)).astype(np.float16)
    np.testing.assert_array_equal(run(model, {"image": pixels}, optimize=False)[0], expected)
