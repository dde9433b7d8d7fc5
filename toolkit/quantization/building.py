"""Builds a candidate: place, take ranges, rewrite, quantize, and look at what came of it."""

from dataclasses import dataclass, replace

import onnx
import onnx_ir as ir

from toolkit.errors import ModelError
from toolkit.graph.editing import constant, infer_shapes
from toolkit.quantization.bias_correction import correct_biases
from toolkit.quantization.calibration import Ranges
from toolkit.quantization.candidate import REWRITES, Candidate
from toolkit.quantization.float16 import float_tensors, overflowing, to_float16
from toolkit.quantization.float_model import FloatModel
from toolkit.quantization.pixels import MOVES, Pixels, dequantize, find_pixels, fold_into_weights
from toolkit.quantization.placement import Placement, is_selected, is_weight_layer, place
from toolkit.quantization.recipe import Recipe
from toolkit.quantization.rewriting import activations, quantize_dynamic, quantize_static
from toolkit.quantization.saturation import simulate
from toolkit.quantization.share_scales import share_scales
from toolkit.quantization.unfused import unfused
from toolkit.quantization.weights_only import quantize_weights

_ATTEMPTS = 4  # each puts nodes back that onnxruntime left unfused; nearly always the first is all
_NO_KERNEL = "onnxruntime has no int8 kernel for it here"


@dataclass(frozen=True)
class Built:
    """A quantized graph, without contract.

    Attributes:
        model: The graph.
        candidate: What it was built from, and the nodes that turned out to have no int8 kernel.
        int8_nodes: Names of the nodes of the float graph that work in int8.
        float_nodes: Names of the others.
        reasons: Why a node stayed in float, by its name: of all weight layers, and of others that
            the candidate keeps.
        repairs: What had to be done to the float model first, in words.
        samples: Calibration samples that were run.
        ranges_grew: See `toolkit.quantization.calibration.Ranges.growth`.
        warnings: What a person should know.
    """

    model: onnx.ModelProto
    candidate: Candidate
    int8_nodes: tuple[str, ...]
    float_nodes: tuple[str, ...]
    reasons: dict[str, str]
    repairs: tuple[str, ...]
    samples: int = 0
    ranges_grew: float | None = None
    warnings: tuple[str, ...] = ()


def build(source: FloatModel, candidate: Candidate) -> Built:
    """Quantize the graph of a float model.

    Args:
        source: The float model and the samples to calibrate with; left unchanged.
        candidate: How.

    Raises:
        ModelError: The model has nothing to quantize.
        DataError: The samples do not fit.
    """
    source = source.of(candidate.recipe)
    if candidate.recipe.method == "float16":
        return _float16(source, candidate)
    if candidate.recipe.method != "static":
        return _without_ranges(source, candidate)
    built = _joined(source, candidate)
    if candidate.recipe.weights.reduce_range == "where_needed":
        return _without_saturation(source, built)
    return built


def _joined(source: FloatModel, candidate: Candidate) -> Built:
    """Quantize; nodes that onnxruntime would leave without an int8 kernel stay in float."""
    for _ in range(_ATTEMPTS):
        built, left = _static(source, candidate)
        if not left:
            break
        candidate = candidate.keeping(left, _NO_KERNEL)
    return built


def _without_saturation(source: FloatModel, built: Built) -> Built:
    """Widen the ranges of weights in layers that clip on CPUs with 16-bit sums, until none does.

    A second pass is for layers that clip once those before them no longer do.
    """
    assert source.data is not None  # noqa: S101 - the ranges were measured on it
    for _ in range(_ATTEMPTS):
        disabled = built.candidate.disabled_optimizers
        clipped = simulate(
            built.model, source.data.calibration, disabled_optimizers=disabled
        ).clipped
        if not clipped:
            break
        ranges = {layer.weight: layer.widening for layer in clipped}
        built, _ = _static(source, built.candidate.widening(ranges))
    return built


def _static(source: FloatModel, candidate: Candidate) -> tuple[Built, list[str]]:
    """Return the quantized graph, and the nodes that onnxruntime would run in float after all."""
    recipe = candidate.recipe
    model = source.copy()
    pixels = find_pixels(model)
    placement = place(model, recipe, pixels, candidate.kept, candidate.allowed)
    _require_layers(source, placement, model)
    arithmetic = {
        str(node.name) for entry in _exact(pixels, placement) for node in entry.arithmetic
    }
    _rewrite_pixels(model, pixels, placement)
    placement = _rewritten(model, placement, candidate)
    ranges = _ranges(source, model, placement, recipe)
    ranges = replace(ranges, ranges=share_scales(model, placement.int8, ranges.ranges))
    quantized = quantize_static(model, placement, ranges.ranges, recipe, candidate.widened)
    if recipe.bias_correction and source.data is not None:
        samples = source.data.calibration
        correct_biases(model, quantized, placement.int8, samples, source.shifts)
        quantized = quantize_static(model, placement, ranges.ranges, recipe, candidate.widened)
    int8 = {*placement.int8, *arithmetic}
    built = Built(
        model=quantized,
        candidate=candidate,
        int8_nodes=tuple(name for name in source.nodes if name in int8),
        float_nodes=tuple(name for name in source.nodes if name not in int8),
        reasons=placement.stays_float,
        repairs=source.repairs,
        samples=ranges.samples,
        ranges_grew=ranges.growth,
        warnings=_calibration_warnings(ranges),
    )
    if recipe.format != "qdq":
        return built, []
    if recipe.activations.type != "uint8":
        # On x86 onnxruntime joins nodes with int8 activations only where it can turn them into
        # uint8, which says nothing about ARM; so the same graph with uint8 is judged.
        as_uint8 = recipe.activations.model_copy(update={"type": "uint8"})
        twin = recipe.model_copy(update={"activations": as_uint8})
        quantized = quantize_static(model, placement, ranges.ranges, twin, {})
    return built, unfused(quantized, placement.int8)


def _without_ranges(source: FloatModel, candidate: Candidate) -> Built:
    """Quantize weights; activations at every run or not at all."""
    recipe = candidate.recipe
    model = source.copy()
    if recipe.method == "weights":
        candidate = candidate.keeping(_no_matrices(model, recipe), "its weights are no matrix")
    placement = place(model, recipe, [], candidate.kept, candidate.allowed)
    _require_layers(source, placement, model)
    chosen = set(placement.int8)
    layers = [
        str(node.name) for node in model.graph if node.name in chosen and is_weight_layer(node)
    ]
    if recipe.method == "weights":
        quantized = quantize_weights(model, layers, recipe.weights)
    else:
        quantized = quantize_dynamic(model, layers, recipe)
    return Built(
        model=quantized,
        candidate=candidate,
        int8_nodes=tuple(layers),
        float_nodes=tuple(name for name in source.nodes if name not in set(layers)),
        reasons=placement.stays_float,
        repairs=source.repairs,
    )


def _no_matrices(model: ir.Model, recipe: Recipe) -> list[str]:
    """Return the weight layers that the recipe selects and whose weights are no matrix [K, N]."""
    layers = [node for node in model.graph if is_weight_layer(node)]
    arrays = [(node, constant(node.inputs[1])) for node in layers]
    return [
        str(node.name)
        for node, array in arrays
        if (array is None or array.ndim != 2) and is_selected(recipe.operators, node.op_type)
    ]


def _float16(source: FloatModel, candidate: Candidate) -> Built:
    recipe = candidate.recipe
    model = source.copy()
    infer_shapes(model)
    ranges = {} if source.data is None else source.extremes(float_tensors(model))
    kept = {**overflowing(model, ranges), **candidate.kept}
    for node in model.graph:
        name = str(node.name)
        if not (is_selected(recipe.operators, node.op_type) and is_selected(recipe.nodes, name)):
            kept.setdefault(name, "the recipe leaves it out")
    halved = [name for name in source.nodes if name not in kept]
    if not halved:
        raise ModelError(f"'{source.path}' has nothing to turn into float16; use the float model.")
    return Built(
        model=to_float16(model, kept, keep_ends=recipe.inputs_outputs == "keep"),
        candidate=candidate,
        int8_nodes=tuple(halved),
        float_nodes=tuple(name for name in source.nodes if name in kept),
        reasons={name: kept[name] for name in source.nodes if name in kept},
        repairs=source.repairs,
    )


def _require_layers(source: FloatModel, placement: Placement, model: ir.Model) -> None:
    if any(is_weight_layer(node) for node in model.graph if node.name in set(placement.int8)):
        return
    if placement.stays_float:
        name, reason = next(iter(placement.stays_float.items()))
        raise ModelError(
            f"'{source.path}' has nothing to quantize: '{name}' stays in float ({reason}), and so "
            "do all other weight layers. Use the float model, or another recipe."
        )
    raise ModelError(
        f"'{source.path}' has nothing to quantize: no convolution, dense layer or matrix product "
        "with constant float32 weights."
    )


def _exact(pixels: list[Pixels], placement: Placement) -> list[Pixels]:
    return [entry for entry in pixels if entry.result.name in placement.pixels]


def _rewrite_pixels(model: ir.Model, pixels: list[Pixels], placement: Placement) -> None:
    exact = _exact(pixels, placement)
    for entry in pixels:
        if entry in exact:
            dequantize(model, entry)
        else:
            fold_into_weights(model, entry)


def _rewritten(model: ir.Model, placement: Placement, candidate: Candidate) -> Placement:
    """Run the candidate's rewrites; return the placement with the nodes that they added."""
    if candidate.recipe.format == "tensorrt":  # they are for onnxruntime's own kernels
        return placement
    int8 = set(placement.int8)
    for name in candidate.rewrites:
        REWRITES[name](model, int8)
        infer_shapes(model)
    names = (str(node.name) for node in model.graph)
    return replace(placement, int8=tuple(name for name in names if name in int8))


def _ranges(source: FloatModel, model: ir.Model, placement: Placement, recipe: Recipe) -> Ranges:
    """Return the ranges of all activations; one that a rewrite moved has that of its origin."""
    values = {str(value.name): value for node in model.graph for value in node.outputs}
    origins = {}
    for name in activations(model, placement, recipe):
        origin = name
        while origin not in source.tensors:
            maker = values[origin].producer()
            assert maker is not None  # noqa: S101 - see REWRITES
            assert maker.op_type in MOVES  # noqa: S101 - see REWRITES
            origin = str(maker.inputs[0].name)  # type: ignore[union-attr]
        origins[name] = origin
    found = source.ranges(dict.fromkeys(origins.values()), recipe)
    return replace(found, ranges={name: found.ranges[origin] for name, origin in origins.items()})


def _calibration_warnings(ranges: Ranges) -> tuple[str, ...]:
    if ranges.settled:
        return ()
    text = (
        f"The range of '{ranges.growing}' still changed by {100 * ranges.growth:.0f} % over the "
        f"last quarter of the {ranges.samples} calibration samples; use more with --samples."
    )
    return (text,)
