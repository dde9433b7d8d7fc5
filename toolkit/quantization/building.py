"""Builds the quantized graph: prepare, place, calibrate, rewrite, and look at what came of it."""

from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import onnx_ir as ir

from toolkit.errors import ModelError
from toolkit.graph.editing import infer_shapes
from toolkit.graph.passes.relu_after_pool import relu_after_pool
from toolkit.quantization.calibration import Ranges, calibrate
from toolkit.quantization.pixels import Pixels, dequantize, find_pixels, fold_into_weights
from toolkit.quantization.placement import Placement, is_weight_layer, place
from toolkit.quantization.preparing import prepare
from toolkit.quantization.recipe import Recipe
from toolkit.quantization.rewriting import activations, quantize_dynamic, quantize_static
from toolkit.quantization.samples import Data
from toolkit.quantization.share_scales import share_scales
from toolkit.quantization.unfused import unfused

_ATTEMPTS = 4  # each puts nodes back that onnxruntime left unfused; nearly always the first is all


@dataclass(frozen=True)
class Built:
    """A quantized graph, without contract.

    Attributes:
        model: The graph.
        int8_nodes: Names of the nodes of the float graph that work in int8.
        float_nodes: Names of the others.
        reasons: Why a weight layer stayed in float, by its name.
        repairs: What had to be done to the float model first.
        samples: Calibration samples that were run.
        ranges_grew: See `toolkit.quantization.calibration.Ranges.growth`.
        warnings: What a person should know.
    """

    model: onnx.ModelProto
    int8_nodes: tuple[str, ...]
    float_nodes: tuple[str, ...]
    reasons: dict[str, str]
    repairs: tuple[str, ...]
    samples: int = 0
    ranges_grew: float | None = None
    warnings: tuple[str, ...] = ()


def build(source: Path, data: Data | None, recipe: Recipe) -> Built:
    """Quantize the graph of a file.

    Args:
        source: The float model.
        data: Samples to calibrate with; a dynamic recipe needs none.
        recipe: How.

    Raises:
        ModelError: The file cannot be quantized, or has nothing to quantize.
        DataError: The samples do not fit.
    """
    if recipe.method == "dynamic":
        return _dynamic(source, recipe)
    if data is None:
        raise ValueError("static quantization needs samples")
    return _static(source, data, recipe)


def _static(source: Path, data: Data, recipe: Recipe) -> Built:
    excluded: dict[str, str] = {}
    for _ in range(_ATTEMPTS):
        prepared = prepare(source)
        model = prepared.model
        pixels = find_pixels(model)
        names = [str(node.name) for node in model.graph]
        placement = place(model, recipe, pixels, excluded)
        _require_layers(source, placement, model)
        _rewrite_pixels(model, pixels, placement)
        relu_after_pool(model, placement.int8)
        infer_shapes(model)
        ranges = calibrate(
            ir.to_proto(model),
            activations(model, placement, recipe),
            data.calibration,
            recipe.calibration,
            recipe.activations,
            samples_key=data.key,
        )
        ranges = replace(ranges, ranges=share_scales(model, placement.int8, ranges.ranges))
        quantized = quantize_static(model, placement, ranges.ranges, recipe)
        left = _unfused(model, placement, ranges, recipe)
        if not left:
            break
        excluded.update(dict.fromkeys(left, "onnxruntime has no int8 kernel for it here"))
    int8 = set(placement.int8) | {
        str(node.name)
        for entry in pixels
        if entry.result.name in placement.pixels
        for node in entry.arithmetic
    }
    return Built(
        model=quantized,
        int8_nodes=tuple(name for name in names if name in int8),
        float_nodes=tuple(name for name in names if name not in int8),
        reasons=placement.stays_float,
        repairs=prepared.repairs,
        samples=ranges.samples,
        ranges_grew=ranges.growth,
        warnings=_calibration_warnings(ranges),
    )


def _unfused(model: ir.Model, placement: Placement, ranges: Ranges, recipe: Recipe) -> list[str]:
    """Return the nodes that onnxruntime would run in float after all.

    On x86 onnxruntime joins nodes with int8 activations only where it can turn them into uint8,
    which says nothing about ARM; so the same graph with uint8 activations is judged.
    """
    if recipe.format != "qdq":
        return []
    activations_uint8 = recipe.activations.model_copy(update={"type": "uint8"})
    twin = recipe.model_copy(update={"activations": activations_uint8})
    return unfused(quantize_static(model, placement, ranges.ranges, twin), placement.int8)


def _dynamic(source: Path, recipe: Recipe) -> Built:
    prepared = prepare(source)
    model = prepared.model
    placement = place(model, recipe, [], {})
    _require_layers(source, placement, model)
    names = [str(node.name) for node in model.graph]
    layers = [
        str(node.name)
        for node in model.graph
        if node.name in set(placement.int8) and is_weight_layer(node)
    ]
    return Built(
        model=quantize_dynamic(model, layers, recipe),
        int8_nodes=tuple(layers),
        float_nodes=tuple(name for name in names if name not in set(layers)),
        reasons=placement.stays_float,
        repairs=prepared.repairs,
    )


def _require_layers(source: Path, placement: Placement, model: ir.Model) -> None:
    if any(is_weight_layer(node) for node in model.graph if node.name in set(placement.int8)):
        return
    if placement.stays_float:
        name, reason = next(iter(placement.stays_float.items()))
        raise ModelError(
            f"'{source}' has nothing to quantize: '{name}' stays in float ({reason}), and so do "
            "all other weight layers. Use the float model, or another recipe."
        )
    raise ModelError(
        f"'{source}' has nothing to quantize: no convolution, dense layer or matrix product with "
        "constant float32 weights."
    )


def _rewrite_pixels(model: ir.Model, pixels: list[Pixels], placement: Placement) -> None:
    for entry in pixels:
        if entry.result.name in placement.pixels:
            dequantize(model, entry)
        else:
            fold_into_weights(model, entry)


def _calibration_warnings(ranges: Ranges) -> tuple[str, ...]:
    if ranges.settled:
        return ()
    text = (
        f"The range of '{ranges.growing}' still changed by {100 * ranges.growth:.0f} % over the "
        f"last quarter of the {ranges.samples} calibration samples; use more with --samples."
    )
    return (text,)
