from pathlib import Path

import onnx
import pytest
from quantization_models import cnn, labelled

from toolkit.errors import RecipeError
from toolkit.quantization import quantize
from toolkit.quantization.recipe import read_recipe
from toolkit.recipes import builtin_dir, builtin_names

NAMES = builtin_names("quantize")


def written(path: Path, text: str) -> Path:
    path.write_text(f'description = "test"\n{text}')
    return path


def test_the_shipped_recipes() -> None:
    assert set(NAMES) >= {
        "fp16",
        "int8-tensorrt",
        "weights-int4",
        "weights-int8",
        "int8",
        "int8-arm64",
        "int8-dynamic",
        "int8-qoperator",
        "int8-x86-avx2",
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_recipe_says_when_to_use_it_and_works(tmp_path: Path, name: str) -> None:
    assert len(read_recipe(name)[1].description) > 40
    assert f"`{name}`" in (builtin_dir("quantize") / "README.md").read_text()
    model = cnn(tmp_path / "cnn.onnx")
    data = labelled(tmp_path / "data.npz", model)
    result = quantize(model, tmp_path / "q.onnx", data=data, recipe=name)
    assert result.recipe == name
    assert result.test is not None
    assert result.test.agreement is not None
    # Of 4 bits, on a network that was never trained, more than a rough likeness is not to be had.
    assert result.test.agreement > (0.75 if name == "weights-int4" else 0.9)


def test_qoperator_reads_pixels_without_conversion(tmp_path: Path) -> None:
    model = cnn(tmp_path / "cnn.onnx")
    data = labelled(tmp_path / "data.npz", model)
    path = quantize(model, tmp_path / "q.onnx", data=data, recipe="int8-qoperator").path
    types = [node.op_type for node in onnx.load(path).graph.node]
    assert types.count("QLinearConv") == 2
    assert "QuantizeLinear" not in types


def test_a_path_is_a_recipe_of_ones_own(tmp_path: Path) -> None:
    name, recipe = read_recipe(written(tmp_path / "mine.toml", "max_drop = 0.5\n"))
    assert (name, recipe.max_drop, recipe.calibration.samples) == ("mine", 0.5, 500)


BAD = [
    ("per_chanel = true", r"unknown key 'per_chanel'"),
    ("[weights]\nper_chanel = true", r"unknown key 'weights.per_chanel'.*per_channel"),
    ("[calibration]\nsamples = 0", "calibration.samples"),
    ('[calibration]\nmethod = "kl"', "calibration.method"),
    ("[calibration]\npercentile = 101", "calibration.percentile"),
    ('[activations]\ntype = "int8"\n[weights]\ntype = "uint8"', "no kernels"),
    ('[weights]\ntype = "uint8"\nreduce_range = true', "reduce_range"),
    ('[weights]\ntype = "int4"', "4-bit weights need"),
    ('method = "weights"\n[weights]\ntype = "uint8"', "int4"),
    ("[weights]\nsymmetric = false", "weights.symmetric"),
    ("[weights]\nblock_size = 33", "weights.block_size"),
    ('format = "tensorrt"', "TensorRT takes int8"),
    ('inputs_outputs = "float16"', "needs 'method' \"float16\""),
    ('method = "dynamic"\nequalization = true', "'equalization' need"),
    ("min_agreement = 101", "min_agreement"),
    ("min_sqnr = nan", "min_sqnr"),
    ("max_drop = -1", "max_drop"),
    ("[nodes]\ninclude = 3", "nodes.include"),
    ("= 3", "no valid TOML"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_recipe_with_an_error_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        read_recipe(written(tmp_path / "bad.toml", text))
    assert "bad.toml" in str(caught.value)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"Did you mean 'int8'\?.*int8-dynamic"):
        read_recipe("int9")
