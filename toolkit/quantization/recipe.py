"""Quantization recipes: the files quantize/<name>.toml, and how they are read."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from toolkit.errors import RecipeError
from toolkit.recipes import Table, find, read_toml

Method = Literal["static", "dynamic", "weights", "float16"]
Format = Literal["qdq", "qoperator", "tensorrt"]
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
        type: "int8", "uint8", or "int4" (method "weights" alone).
        symmetric: Zero point 0, or in the middle for "uint8". By default of signed types. The
            method "weights" alone has kernels for signed types that are not.
        per_channel: One scale per output channel rather than one per tensor.
        block_size: Weights of a column that share a scale (method "weights").
        dense_scales: "auto" gives a dense layer one scale where that rounds no more than a bit
            coarser, which is faster; "channel" always keeps one per channel.
        reduce_range: True gives weights 7 bits instead of 8, so that the 16-bit sums of x86 CPUs
            without VNNI cannot saturate. "where_needed" does so only where weights are large
            enough for it, and only by as much as it takes (static quantization).
    """

    type: Literal["uint8", "int8", "int4"] = "int8"
    symmetric: bool | None = None
    per_channel: bool = True
    block_size: Literal[16, 32, 64, 128, 256] = 32
    dense_scales: Literal["auto", "channel"] = "auto"
    reduce_range: bool | Literal["where_needed"] = False

    @property
    def is_symmetric(self) -> bool:
        """Whether the zero point is fixed: as the recipe says, else for signed types."""
        return self.type != "uint8" if self.symmetric is None else self.symmetric


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
            at every run and needs no data; "weights" stores the weights of dense layers in 4 or
            8 bits; "float16" halves all numbers, for GPUs.
        format: Of static quantization: "qdq" writes QuantizeLinear and DequantizeLinear, which
            every runtime reads; "qoperator" writes QLinearConv and its kin; "tensorrt" is QDQ as
            TensorRT wants it.
        activations: See `Activations`.
        weights: See `Weights`.
        calibration: See `Calibration`.
        operators: Patterns of operator types.
        nodes: Patterns of node names.
        placement: See `Placement`.
        inputs_outputs: "keep" leaves inputs and outputs as they are; "float16" turns those of
            float32 into float16, too (method "float16").
        bias_correction: Move biases by the mean error that rounded weights make (static
            quantization); see `toolkit.quantization.bias_correction`.
        equalization: Scale channels between layers to weights of like size first (static
            quantization); see `toolkit.graph.passes.equalize_layers`.
        portable: Place nodes by rules, without a measurement on the machine that quantizes: for
            recipes that are meant for another. Used when the caller does not say.
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
    inputs_outputs: Literal["keep", "float16"] = "keep"
    bias_correction: bool = False
    equalization: bool = False
    portable: bool = False
    max_drop: float | None = Field(default=None, ge=0, le=100)
    min_agreement: float | None = Field(default=None, ge=0, le=100)
    min_sqnr: float | None = Field(default=None, allow_inf_nan=False)

    @property
    def precision(self) -> str:
        """What nodes become, in words: "int8", "float16", "int4 weights"."""
        if self.method == "weights":
            return f"{self.weights.type} weights"
        return "float16" if self.method == "float16" else "int8"


def read_recipe(name: str | Path) -> tuple[str, Recipe]:
    """Return the name and the content of a built-in recipe, or of a user's own .toml file.

    Raises:
        RecipeError: It is unknown, cannot be read, or has an unknown key or a bad value.
    """
    path = find("quantize", str(name))
    recipe = read_toml(path, Recipe)
    contradiction = _contradiction(recipe)
    if contradiction:
        raise RecipeError(f"'{path}': {contradiction}")
    return path.stem, recipe


def _contradiction(recipe: Recipe) -> str | None:
    """Return what does not go together in a recipe, with the remedy, or None."""
    method, weights, activations = recipe.method, recipe.weights, recipe.activations
    if weights.reduce_range and weights.type == "uint8":
        return "'weights.reduce_range' is for int8 weights; leave it out."
    if weights.reduce_range == "where_needed" and method != "static":
        return (
            "'weights.reduce_range' \"where_needed\" is found on calibration samples, which need "
            "'method' \"static\"; set it to true or false."
        )
    if (activations.type, weights.type) == ("int8", "uint8"):
        return (
            "onnxruntime has no kernels for int8 activations with uint8 weights; set "
            "'weights.type' to \"int8\"."
        )
    if method == "weights":
        return None if weights.type != "uint8" else 'set \'weights.type\' to "int8" or "int4".'
    if weights.type == "int4":
        return "4-bit weights need 'method' \"weights\"."
    if weights.type == "int8" and not weights.is_symmetric:
        return "int8 weights with a zero point have no kernels; leave out 'weights.symmetric'."
    if recipe.inputs_outputs == "float16" and method != "float16":
        return "'inputs_outputs' \"float16\" needs 'method' \"float16\"."
    if recipe.format == "tensorrt" and not (activations.type == "int8" and activations.symmetric):
        return (
            "TensorRT takes int8 with zero point 0 alone; set 'activations.type' to \"int8\" and "
            "'activations.symmetric' to true."
        )
    if method != "static" and (recipe.bias_correction or recipe.equalization):
        return "'bias_correction' and 'equalization' need 'method' \"static\"."
    return None
