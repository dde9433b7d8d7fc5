"""Quantization recipes: the files quantize/<name>.toml, and how they are read."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from toolkit.errors import RecipeError
from toolkit.recipes import Table, find, read_toml

Method = Literal["static", "dynamic"]
Format = Literal["qdq", "qoperator"]
Integer = Literal["uint8", "int8"]
RangeMethod = Literal["minmax", "moving_average", "percentile", "entropy", "mse"]

_Patterns = tuple[Annotated[str, Field(min_length=1)], ...]


class Activations(Table):
    """The integers that stand for activations (static quantization).

    Attributes:
        type: "uint8" is the fast one on x86, "int8" on ARM.
        symmetric: Zero point in the middle of the range. Costs a bit of every ReLU's output;
            TensorRT asks for it.
    """

    type: Integer = "uint8"
    symmetric: bool = False


class Weights(Table):
    """The integers that stand for weights.

    Attributes:
        type: "int8" with zero point 0, or "uint8".
        per_channel: One scale per output channel rather than one per tensor.
        reduce_range: 7 bits instead of 8, so that the 16-bit sums of x86 CPUs without VNNI
            cannot saturate.
    """

    type: Integer = "int8"
    per_channel: bool = True
    reduce_range: bool = False


class Calibration(Table):
    """How the ranges of activations are measured.

    Attributes:
        method: "minmax": smallest and largest value; "moving_average": the mean over samples of
            each sample's smallest and largest value; "percentile": without the rarest values;
            "entropy": least information lost; "mse": least squared error.
        samples: Training samples to run.
        percentile: The part of the values that "percentile" keeps, in percent.
    """

    method: RangeMethod = "minmax"
    samples: int = Field(default=500, ge=1)
    percentile: float = Field(default=99.99, gt=50, le=100)


class Selection(Table):
    """Names to quantize, as patterns with * and ?; ``exclude`` wins over ``include``."""

    include: _Patterns = ("*",)
    exclude: _Patterns = ()


class Placement(Table):
    """Choices about the graph (static quantization).

    Attributes:
        slow_convolutions: "float" keeps convolutions in float that int8 only slows down: those
            of one to three input channels, and depthwise ones of few channels next to them.
        last_layer: "float" lets the last dense layer give float scores, finer than int8 and at
            no cost.
    """

    slow_convolutions: Literal["float", "int8"] = "float"
    last_layer: Literal["float", "int8"] = "float"


class Recipe(Table):
    """One way to quantize.

    Attributes:
        description: When to use it, in a sentence.
        method: "static" measures the ranges of activations beforehand; "dynamic" measures them
            at every run and needs no data.
        format: "qdq" writes QuantizeLinear and DequantizeLinear, which every runtime reads;
            "qoperator" writes QLinearConv and its kin.
        activations: See `Activations`.
        weights: See `Weights`.
        calibration: See `Calibration`.
        operators: Patterns of operator types.
        nodes: Patterns of node names.
        placement: See `Placement`.
        bias_correction: Move biases by the mean error that rounded weights make (static
            quantization); see `toolkit.quantization.bias_correction`.
        equalization: Scale channels between layers to weights of like size first (static
            quantization); see `toolkit.graph.passes.equalize_layers`.
        max_drop: Accuracy budget in points of top-1, used when the caller gives none.
        min_agreement: Accuracy budget in percent of equal classes, used when the caller gives none.
        min_sqnr: Accuracy budget in decibels, used when the caller gives none.
    """

    description: str = Field(min_length=1)
    method: Method = "static"
    format: Format = "qdq"
    activations: Activations = Activations()
    weights: Weights = Weights()
    calibration: Calibration = Calibration()
    operators: Selection = Selection()
    nodes: Selection = Selection()
    placement: Placement = Placement()
    bias_correction: bool = False
    equalization: bool = False
    max_drop: float | None = Field(default=None, ge=0, le=100)
    min_agreement: float | None = Field(default=None, ge=0, le=100)
    min_sqnr: float | None = Field(default=None, allow_inf_nan=False)


def read_recipe(name: str | Path) -> tuple[str, Recipe]:
    """Return the name and the content of a built-in recipe, or of a user's own .toml file.

    Raises:
        RecipeError: It is unknown, cannot be read, or has an unknown key or a bad value.
    """
    path = find("quantize", str(name))
    recipe = read_toml(path, Recipe)
    if recipe.weights.reduce_range and recipe.weights.type == "uint8":
        raise RecipeError(f"'{path}': 'weights.reduce_range' is for int8 weights; leave it out.")
    if (recipe.activations.type, recipe.weights.type) == ("int8", "uint8"):
        raise RecipeError(
            f"'{path}': onnxruntime has no kernels for int8 activations with uint8 weights; "
            "set 'weights.type' to \"int8\"."
        )
    return path.stem, recipe
