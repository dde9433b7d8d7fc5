"""From a float graph, a placement and ranges to a quantized graph, by onnxruntime's quantizer.

The quantizer classes are used directly: `quantize_static` would calibrate by itself, with
unbounded memory.
"""

import contextlib
import logging
import warnings
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from toolkit.graph.editing import constant
from toolkit.quantization.coarse_scales import coarse_weights
from toolkit.quantization.placement import (
    WEIGHT_LAYERS,
    Placement,
    absorbing,
    is_weight_layer,
)
from toolkit.quantization.ranges import Range
from toolkit.quantization.recipe import Recipe
from toolkit.runtime.session import import_onnxruntime

# The quantizer takes this entry as the sign that shapes are inferred; it would otherwise write
# the model to a file and infer them again.
_INFERRED = ("onnx.infer", "onnxruntime.quant")

# What TensorRT's builder fuses best: a pair on each input of a layer and none on its output (it
# moves quantization up through ReLU and pooling itself). It reads no int32 biases, and wants a pair
# for every reader.
_TENSORRT = {
    "QuantizeBias": False,
    "DedicatedQDQPair": True,
    "OpTypesToExcludeOutputQuantization": list(WEIGHT_LAYERS),
}


def activations(model: ir.Model, placement: Placement, recipe: Recipe) -> list[str]:
    """Return the names of the activations that need a range of their own."""
    chosen = set(placement.int8)
    without = {*_absorbed(model, chosen), *_float_scores(model, placement, recipe)}
    names: dict[str, None] = {}
    for node in model.graph:
        if node.name not in chosen:
            continue
        for value in (*node.inputs, *node.outputs):
            producer = value.producer() if value is not None else None
            if (
                value is not None
                and value.name
                and value.dtype == ir.DataType.FLOAT
                and value.name not in without
                and constant(value) is None
                and (producer is None or producer.op_type != "DequantizeLinear")
            ):
                names[value.name] = None
    return list(names)


def quantize_static(
    model: ir.Model,
    placement: Placement,
    ranges: Mapping[str, Range],
    recipe: Recipe,
    widened: Mapping[str, tuple[float, ...]],
) -> onnx.ModelProto:
    """Return the statically quantized model.

    Args:
        model: The float model, its pictures already dequantized; left unchanged.
        placement: Which nodes to quantize.
        ranges: The range of each of the `activations`.
        recipe: Types and format.
        widened: See `toolkit.quantization.candidate.Candidate`.
    """
    import_onnxruntime()
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import TensorData
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode

    coarse = coarse_weights(model, placement, recipe)

    class Quantizer(QDQQuantizer):  # type: ignore[misc]
        """Keeps single weights at one scale, which the quantizer's own options cannot say."""

        def is_tensor_per_channel(self, tensor_name: str, *more: Any, **options: Any) -> Any:
            if tensor_name in coarse:
                return False, None
            return super().is_tensor_per_channel(tensor_name, *more, **options)

    types = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
    absorbed = _absorbed(model, set(placement.int8))
    complete = {**ranges, **{before: ranges[after] for before, after in absorbed.items()}}
    scores = _float_scores(model, placement, recipe)
    # The quantizer wants a range for these too; what it makes of it is removed below.
    complete.update(dict.fromkeys(scores, (0.0, 1.0)))
    if recipe.format == "qoperator":
        complete.update(_pixel_ranges(model))
    data = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in complete.items()
    }
    proto = ir.to_proto(model)
    proto.metadata_props.add(key=_INFERRED[0], value=_INFERRED[1])
    operators = {node.op_type for node in model.graph if node.name in set(placement.int8)}
    options: dict[str, Any] = {
        "ActivationSymmetric": recipe.activations.symmetric,
        "WeightSymmetric": recipe.weights.is_symmetric,
        "TensorQuantOverrides": _weight_ranges(model, widened, recipe, coarse),
    }
    if recipe.format == "tensorrt":
        options |= _TENSORRT
    shared: tuple[Any, ...] = (
        types[recipe.weights.type],
        types[recipe.activations.type],
        data,
        list(placement.int8),
        [],
        sorted(operators),
        options,
    )
    flags = (recipe.weights.per_channel, recipe.weights.reduce_range is True)
    with quiet():
        if recipe.format != "qoperator":
            quantized = Quantizer(proto, *flags, *shared).quantize_model()
        else:
            quantized = ONNXQuantizer(
                proto, *flags, QuantizationMode.QLinearOps, True, *shared
            ).quantize_model()
    for name in scores:
        _keep_float(quantized, name)
    if recipe.format == "qdq":
        _read_floats(quantized, set(placement.int8))
    if recipe.format == "qoperator":
        _drop_double_conversions(quantized)
    return finished(quantized)


def quantize_dynamic(model: ir.Model, names: list[str], recipe: Recipe) -> onnx.ModelProto:
    """Return the model with integer weights, whose activations are quantized at every run.

    Args:
        model: The float model; left unchanged.
        names: The weight layers to quantize.
        recipe: Types.
    """
    import_onnxruntime()
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode

    types = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
    proto = ir.to_proto(model)
    proto.metadata_props.add(key=_INFERRED[0], value=_INFERRED[1])
    operators = {node.op_type for node in model.graph if node.name in set(names)}
    # Dense layers become a product and an addition; the product keeps the name with this suffix.
    products = [f"{name}_MatMul" for name in names]
    with quiet():
        quantized = ONNXQuantizer(
            proto,
            recipe.weights.per_channel,
            recipe.weights.reduce_range is True,
            QuantizationMode.IntegerOps,
            False,
            types[recipe.weights.type],
            types[recipe.activations.type],
            None,
            [*names, *products],
            [],
            sorted(operators | {"MatMul"}),
            {"MatMulConstBOnly": True},
        ).quantize_model()
    return finished(quantized)


def _absorbed(model: ir.Model, chosen: set[str]) -> dict[str, str]:
    """Return the tensors that take another's range: of x -> Relu -> y, x takes that of y."""
    found = {
        str(value.name): str(node.outputs[0].name)
        for node in model.graph
        if node.name in chosen
        for value in absorbing(node, chosen)
    }
    # Of x -> Relu -> y -> Clip -> z both take the range of z.
    for before in found:
        while found[before] in found:
            found[before] = found[found[before]]
    return found


def _float_scores(model: ir.Model, placement: Placement, recipe: Recipe) -> list[str]:
    """Return the outputs of int8 layers that stay float32 (in QDQ form)."""
    if recipe.format == "qoperator":
        return []
    last = set(placement.last_layers)
    return [str(node.outputs[0].name) for node in model.graph if node.name in last]


def _weight_ranges(
    model: ir.Model,
    widened: Mapping[str, tuple[float, ...]],
    recipe: Recipe,
    coarse: Collection[str],
) -> dict[str, list[dict[str, Any]]]:
    """Return the ranges of widened weights in the quantizer's form: one entry per channel."""
    overrides: dict[str, list[dict[str, Any]]] = {}
    for node in model.graph:
        value = node.inputs[1] if len(node.inputs) > 1 else None
        name = "" if value is None else str(value.name)
        if value is None or name not in widened or not is_weight_layer(node):
            continue
        weights = constant(value)
        assert weights is not None  # noqa: S101 - it is a weight layer
        transposed = node.attributes.get_int("transB", 0)
        axis = 0 if node.op_type == "Conv" or transposed else weights.ndim - 1
        factors = np.asarray(widened[name], np.float32)
        others = tuple(other for other in range(weights.ndim) if other != axis)
        reach = np.abs(weights).max(axis=others)
        if recipe.weights.per_channel and name not in coarse:
            ranges = [{"axis": axis, "rmin": -each, "rmax": each} for each in reach * factors]
        else:
            whole = reach.max() * factors.max()
            ranges = [{"rmin": -whole, "rmax": whole}]
        overrides[name] = ranges
    return overrides


def _pixel_ranges(model: ir.Model) -> dict[str, Range]:
    """Return the ranges of dequantized pictures, which follow from scale and zero point."""
    found: dict[str, Range] = {}
    for node in model.graph:
        if node.op_type == "DequantizeLinear":
            scale, zero_point = (constant(value) for value in node.inputs[1:3])
            assert scale is not None  # noqa: S101 - it was written by pixels.dequantize
            assert zero_point is not None  # noqa: S101 - see above
            step, zero = float(scale), int(zero_point)
            found[str(node.outputs[0].name)] = (-zero * step, (255 - zero) * step)
    return found


def _keep_float(model: onnx.ModelProto, tensor: str) -> None:
    """Remove the QuantizeLinear and DequantizeLinear behind a tensor.

    The int8 kernels of dense layers add up in int32 and can give float32 as well.
    """
    graph = model.graph
    for quantize in [node for node in graph.node if node.op_type == "QuantizeLinear"]:
        partners = [node for node in graph.node if quantize.output[0] in node.input]
        if quantize.input[0] != tensor and not _gives(partners, tensor):
            continue
        if len(partners) != 1 or partners[0].op_type != "DequantizeLinear":
            return
        before, after = quantize.input[0], partners[0].output[0]
        graph.node.remove(quantize)
        graph.node.remove(partners[0])
        outputs = {output.name for output in graph.output}
        # A graph output keeps its name: then it is the layer that changes the name it writes.
        old, new = (before, after) if after in outputs else (after, before)
        for node in graph.node:
            for names in (node.input, node.output):
                for index, name in enumerate(names):
                    if name == old:
                        names[index] = new
        return


def _read_floats(model: onnx.ModelProto, int8: set[str]) -> None:
    """Let float nodes read what a float node gives, not its quantized and dequantized form.

    The quantizer converts for all readers of a tensor as soon as one of them is int8. A pooling
    between two conversions would run on bytes in NCHW, which takes twenty times as long.
    """
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    originals: dict[str, str] = {}
    for dequantize in graph.node:
        quantize = makers.get(dequantize.input[0]) if dequantize.input else None
        if (
            dequantize.op_type != "DequantizeLinear"
            or quantize is None
            or quantize.op_type != "QuantizeLinear"
        ):
            continue
        source = makers.get(quantize.input[0])
        if source is not None and source.name not in int8 and "Linear" not in source.op_type:
            originals[dequantize.output[0]] = quantize.input[0]
    for node in graph.node:
        if node.name in int8 or "Linear" in node.op_type:
            continue
        for index, name in enumerate(node.input):
            if name in originals:
                node.input[index] = originals[name]


def _gives(nodes: list[onnx.NodeProto], tensor: str) -> bool:
    return any(tensor in node.output for node in nodes)


def _drop_double_conversions(model: onnx.ModelProto) -> None:
    """Let int8 nodes read pixels: DequantizeLinear -> QuantizeLinear of one scale is nothing."""
    graph = model.graph
    arrays = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if len(tensor.dims) == 0 or list(tensor.dims) == [1]
    }
    makers = {name: node for node in graph.node for name in node.output}
    for quantize in [node for node in graph.node if node.op_type == "QuantizeLinear"]:
        maker = makers.get(quantize.input[0])
        if maker is None or maker.op_type != "DequantizeLinear":
            continue
        parameters = [[arrays.get(name) for name in node.input[1:3]] for node in (maker, quantize)]
        # The quantizer computes the scale from the range anew, which costs a rounding.
        if any(array is None for pair in parameters for array in pair) or not all(
            a.dtype == b.dtype and np.allclose(a, b, rtol=1e-6, atol=0)
            for a, b in zip(*parameters, strict=True)
        ):
            continue
        for node in graph.node:
            for index, name in enumerate(node.input):
                if name == quantize.output[0]:
                    node.input[index] = maker.input[0]
        graph.node.remove(quantize)
    used = {name for node in graph.node for name in node.input}
    used.update(output.name for output in graph.output)
    for node in [node for node in graph.node if node.op_type == "DequantizeLinear"]:
        if node.output[0] not in used:
            graph.node.remove(node)


def finished(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with its nodes in order, as ONNX demands, without the quantizer's notes."""
    ordered = ir.from_proto(model)
    ordered.graph.sort()
    # Scales of what was removed; onnxruntime would print a warning for each.
    RemoveUnusedNodesPass()(ordered)
    ordered.metadata_props.pop(_INFERRED[0], None)
    result = ir.to_proto(ordered)
    # Shapes and types that the quantizer noted for tensors that are gone since.
    del result.graph.value_info[:]
    return result


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the quantizer's log messages and warnings from the user: our checks say what matters.

    Some of its modules set up logging for the whole process when they are imported; that is undone.
    """
    disabled = logging.root.manager.disable
    handlers, level = logging.root.handlers[:], logging.root.level
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        logging.root.handlers[:], logging.root.level = handlers, level
