"""Corrects biases for the mean error that rounded weights make.

    y~ = W~ x + b = y + e x,  e = W~ - W      so that      E[y~] = E[y] + E[e x]

and the corrected bias is b - E[e x], one value per output channel. Rounding errors of single
weights have mean zero, but those of one small kernel, of a depthwise convolution above all, need
not cancel; behind a ReLU, whose outputs are all positive, they shift the channel.

E[e x] is measured: the layer runs once more with the weights e, on the float model's activations of
the calibration samples, so that padding, strides and groups count as they do in the layer.

Source: M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
ICCV 2019, section 4.2 (which takes E[x] from batch normalization, for want of data).
"""

import hashlib
from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from toolkit.graph.editing import add_initializer, constant
from toolkit.graph.matching import input_at, integer
from toolkit.quantization.calibration import batch_size
from toolkit.quantization.placement import is_weight_layer
from toolkit.quantization.running import Runner
from toolkit.quantization.samples import Samples
from toolkit.reporting.terminal import progress

Shifts = dict[str, npt.NDArray[np.float64]]
"""The mean error of each output channel, by layer, weight error and input."""


def correct_biases(
    model: ir.Model,
    quantized: onnx.ModelProto,
    int8: Collection[str],
    samples: Samples,
    known: Shifts,
) -> int:
    """Correct the biases of the layers that will be quantized, in place; return how many.

    Dense layers written as MatMul have no bias and stay.

    Args:
        model: The float model, in the form in which it is quantized.
        quantized: The same with rounded weights, as onnxruntime's quantizer writes it.
        int8: Names of the nodes that are quantized.
        samples: What to run.
        known: Shifts that were measured before; new ones are added.
    """
    errors = _weight_errors(model, quantized, set(int8))
    keys = {node: _key(node, error) for node, error in errors.items()}
    missing = {node: error for node, error in errors.items() if keys[node] not in known}
    if missing:
        shifts = _mean_outputs(model, missing, samples)
        known.update({keys[node]: shift for node, shift in shifts.items()})
    for node in errors:
        _subtract(node, known[keys[node]])
    return len(errors)


def _weight_errors(
    model: ir.Model, quantized: onnx.ModelProto, int8: set[str]
) -> dict[ir.Node, npt.NDArray[np.float32]]:
    """Return W~ - W of the layers with a bias, or with a place for one."""
    arrays = {entry.name: entry for entry in quantized.graph.initializer}
    errors = {}
    for node in model.graph:
        if node.name not in int8 or node.op_type == "MatMul" or not is_weight_layer(node):
            continue
        weight, name = constant(node.inputs[1]), str(node.inputs[1].name)  # type: ignore[union-attr]
        parts = [arrays.get(f"{name}_{part}") for part in ("quantized", "scale", "zero_point")]
        bias = input_at(node, 2)
        if weight is None or any(part is None for part in parts):
            continue
        if bias is not None and constant(bias) is None:
            continue
        codes, scale, zero = (numpy_helper.to_array(part).astype(np.float64) for part in parts)  # type: ignore[arg-type]
        if scale.size > 1:
            along = [1] * weight.ndim
            along[_output_axis(node)] = -1
            scale, zero = scale.reshape(along), zero.reshape(along)
        errors[node] = ((codes - zero) * scale - weight).astype(np.float32)
    return errors


def _output_axis(node: ir.Node) -> int:
    return 0 if node.op_type == "Conv" or integer(node, "transB", 0) else 1


def _key(node: ir.Node, error: npt.NDArray[np.float32]) -> str:
    digest = hashlib.sha256(error.tobytes())
    digest.update(f"{node.name} {node.inputs[0].name if node.inputs[0] else ''}".encode())
    return digest.hexdigest()


def _mean_outputs(
    model: ir.Model, weights: dict[ir.Node, npt.NDArray[np.float32]], samples: Samples
) -> dict[ir.Node, npt.NDArray[np.float64]]:
    """Return what layers would give on average with other weights and no bias, per channel."""
    proto = ir.to_proto(model)
    names = {}
    for node, weight in weights.items():
        tensor = f"{node.outputs[0].name}_error"
        proto.graph.initializer.append(numpy_helper.from_array(weight, f"{tensor}_weight"))
        original = next(entry for entry in proto.graph.node if entry.name == node.name)
        copy = onnx.NodeProto()
        copy.CopyFrom(original)
        copy.name, copy.output[0] = tensor, tensor
        del copy.input[1:]
        copy.input.append(f"{tensor}_weight")
        proto.graph.node.append(copy)
        proto.graph.output.append(
            onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None)
        )
        names[node] = tensor
    runner = Runner(proto, list(names.values()))
    sums: dict[ir.Node, npt.NDArray[np.float64]] = {}
    with progress("correcting biases", len(samples)) as advance:
        for feed in samples.feeds(runner.fixed_batch or batch_size(runner, samples)):
            count = len(next(iter(feed.values())))
            for node, array in zip(names, runner.run(feed), strict=True):
                channels = np.moveaxis(array, 1, 0).reshape(array.shape[1], -1)
                mean = channels.mean(axis=1, dtype=np.float64) * count
                sums[node] = sums[node] + mean if node in sums else mean
            advance(count)
    return {node: total / len(samples) for node, total in sums.items()}


def _subtract(node: ir.Node, shift: npt.NDArray[np.float64]) -> None:
    graph, old = node.graph, input_at(node, 2)
    assert isinstance(graph, ir.Graph)  # noqa: S101 - it was found in one
    bias = constant(old)
    before = np.zeros(len(shift)) if bias is None else bias.astype(np.float64)
    name = f"{node.outputs[0].name}_bias" if old is None else str(old.name)
    corrected = add_initializer(graph, f"{name}_corrected", (before - shift).astype(np.float32))
    node.resize_inputs(3)
    node.replace_input_with(2, corrected)
