"""Folds batch normalization, and any multiplication or addition per channel, into weights.

    BatchNormalization(Conv(x, W, b), gamma, beta, mean, var)  ->  Conv(x, W s, (b - mean) s + beta)
    Mul(Conv(x, W, b), s)                                      ->  Conv(x, W s, b s)
    Add(Conv(x, W, b), t)                                      ->  Conv(x, W, b + t)
    Conv(Mul(x, s), W, b)                                      ->  Conv(x, W s, b)
    Conv(Add(x, t), W, b), without padding                     ->  Conv(x, W, b + W t)

with s = gamma / sqrt(var + epsilon). The same for ConvTranspose (only behind it), Gemm, MatMul,
Add(MatMul(x, W), b), and for a one-dimensional convolution, where Squeeze stands between. Keras'
layer arrives as Mul and Add: tf2onnx folds it itself only where the convolution has no bias.

Left alone: constants that differ within a channel, intermediate results that are read elsewhere,
training mode, the bodies of loops, and what others look for: arithmetic on an input of the graph is
the preprocessing, which quantization reads, and the half of a GELU is one of the nodes that
onnxruntime fuses. Computed in float64; a fold whose result does not fit the
weights' type is not made. A weight that other nodes share is copied, not changed.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from toolkit.graph.editing import add_initializer, constant, infer_shapes, is_float, rank
from toolkit.graph.matching import (
    broadcast,
    bypass,
    constant_operand,
    follower,
    input_at,
    integer,
    integers,
    is_op,
    number,
    per_channel,
    producer,
    text,
)

_Float64 = npt.NDArray[np.float64]
_PREPROCESSING = ("Add", "Cast", "Div", "Mul", "Reshape", "Slice", "Sub", "Transpose")


@dataclass(frozen=True)
class _Affine:
    """``source * scale + shift``; either may be missing. Constants as they stand in the graph."""

    node: ir.Node
    source: ir.Value
    scale: npt.NDArray[Any] | None
    shift: npt.NDArray[Any] | None


@dataclass(frozen=True)
class _Linear:
    """A node with constant weights and perhaps a constant bias."""

    node: ir.Node
    weight: npt.NDArray[Any]
    bias: npt.NDArray[Any] | None
    addition: ir.Node | None = None
    """The Add that holds the bias of a MatMul."""
    squeezed: int = 0
    """How many axes a Squeeze behind the node removes."""

    @property
    def channels(self) -> int:
        """Of the output."""
        if self.node.op_type == "ConvTranspose":
            return int(self.weight.shape[1]) * integer(self.node, "group", 1)
        return int(self.weight.shape[0 if self.node.op_type == "Conv" or self.flipped else 1])

    @property
    def flipped(self) -> bool:
        """Whether a Gemm takes its weight as [M, K]."""
        return self.node.op_type == "Gemm" and integer(self.node, "transB", 0) != 0

    @property
    def rank(self) -> int | None:
        """Of the output, behind the Squeeze."""
        if self.node.op_type in ("Conv", "ConvTranspose"):
            return self.weight.ndim - self.squeezed
        return rank(self.node.outputs[0])

    def channel_axis(self, axes: int) -> int:
        """Of an output with so many axes."""
        return 1 if self.node.op_type in ("Conv", "ConvTranspose") else axes - 1


def fold_batch_norm(model: ir.Model) -> int:
    """Fold normalizations, factors and summands into weights; return how many."""
    infer_shapes(model)
    count = sum(_fold_backward(node) for node in list(model.graph))
    # From the end, so that the summand next to a convolution goes before the factor behind it.
    count += sum(_fold_forward(node) for node in reversed(list(model.graph)))
    if count:
        infer_shapes(model)
    return count


def _fold_backward(node: ir.Node) -> bool:
    """Fold an affine node into the weights of the node that computes its input."""
    affine = _affine(node)
    linear = None if affine is None or follower(affine.source) is not node else _behind(affine)
    if affine is None or linear is None:
        return False
    axes = linear.rank
    constants = _constants(affine, linear.channels, axes, linear.channel_axis(axes or 0))
    if constants is None:
        return False
    scale, shift = constants
    if linear.node.op_type == "MatMul" and linear.addition is None and affine.shift is not None:
        return is_op(node, "BatchNormalization") and _as_bias(affine, linear, scale, shift)
    bias = scale * _bias(linear) + shift
    if not _store(linear, _scaled_outputs(linear, scale), bias):
        return False
    return bypass(node, affine.source)


def _fold_forward(node: ir.Node) -> bool:
    """Fold an affine node into the weights of the node that reads its result."""
    affine = _affine(node)
    user = follower(node.outputs[0])
    if affine is None or user is None or user.inputs[0] is not node.outputs[0]:
        return False
    linear = _linear(user)
    if linear is None or user.op_type == "ConvTranspose":
        return False
    if _is_preprocessing(affine.source) or _is_gelu(affine.source):
        return False
    if user.op_type == "MatMul":
        linear = _with_addition(linear)
    conv, groups = user.op_type == "Conv", integer(user, "group", 1)
    channels = linear.weight.shape[1] * groups if conv else linear.weight.shape[linear.flipped]
    axes = linear.weight.ndim if conv else rank(affine.source)
    constants = _constants(affine, channels, axes, 1 if conv else (axes or 0) - 1)
    if constants is None:
        return False
    scale, shift = constants
    homeless = user.op_type == "MatMul" and linear.addition is None
    if affine.shift is not None and (homeless or (conv and not _is_unpadded(user))):
        return False
    weight = linear.weight.astype(np.float64)
    if conv:
        grouped = weight.reshape(groups, -1, *weight.shape[1:])
        spread = (groups, 1, -1) + (1,) * (weight.ndim - 2)
        added = (grouped * shift.reshape(spread)).reshape(len(weight), -1).sum(axis=1)
        weight = (grouped * scale.reshape(spread)).reshape(weight.shape)
    else:
        along = scale if linear.flipped else scale[:, np.newaxis]
        added = number(user, "alpha", 1) * (weight @ shift if linear.flipped else shift @ weight)
        weight = weight * along
    if not _store(linear, weight, _bias(linear) + added):
        return False
    return bypass(node, affine.source)


def _affine(node: ir.Node) -> _Affine | None:
    if is_op(node, "BatchNormalization"):
        arrays = [constant(value) for value in node.inputs[1:5]]
        source = node.inputs[0]
        trains = integer(node, "training_mode", 0) != 0 or len(node.outputs) > 1
        if source is None or trains or "spatial" in node.attributes:
            return None
        gamma, beta, mean, variance = (
            None if array is None else array.astype(np.float64) for array in arrays
        )
        if gamma is None or beta is None or mean is None or variance is None:
            return None
        scale = gamma / np.sqrt(variance + number(node, "epsilon", 1e-5))
        return _Affine(node, source, scale, beta - mean * scale)
    if not is_op(node, "Mul", "Add"):
        return None
    operands = constant_operand(node)
    if operands is None or not is_float(operands[1]):
        return None
    source, array = operands
    if is_op(node, "Mul"):
        return _Affine(node, source, array, None)
    return _Affine(node, source, None, array)


def _constants(
    affine: _Affine, channels: int, axes: int | None, axis: int
) -> tuple[_Float64, _Float64] | None:
    """Return scale and shift as [channels], or None where they differ within a channel."""
    if axes is None:
        return None
    if is_op(affine.node, "BatchNormalization"):
        axes, axis = (1, 0) if axis == 1 else (0, 0)
    scale = np.ones(1) if affine.scale is None else affine.scale
    shift = np.zeros(1) if affine.shift is None else affine.shift
    for array, given in ((scale, affine.scale), (shift, affine.shift)):
        if given is not None and not broadcast(array, channels, axes, axis):
            return None
    return per_channel(scale, channels), per_channel(shift, channels)


def _behind(affine: _Affine) -> _Linear | None:
    """Return what computes the affine node's input."""
    squeeze = producer(affine.source, "Squeeze")
    if squeeze is not None:
        axes, source = constant(input_at(squeeze, 1)), squeeze.inputs[0]
        if axes is None or source is None or follower(source) is not squeeze:
            return None
        inner = producer(source, "Conv", "ConvTranspose")
        linear = None if inner is None else _linear(inner)
        if linear is None or not all(axis % linear.weight.ndim >= 2 for axis in axes.ravel()):
            return None
        return _Linear(linear.node, linear.weight, linear.bias, squeezed=axes.size)
    addition = producer(affine.source, "Add")
    if addition is not None:
        operands = constant_operand(addition)
        product = None if operands is None else producer(operands[0], "MatMul")
        linear = None if product is None else _linear(product)
        linear = None if linear is None else _with_addition(linear)
        return linear if linear is not None and linear.addition is addition else None
    node = producer(affine.source, "Conv", "ConvTranspose", "Gemm", "MatMul")
    return None if node is None else _linear(node)


def _linear(node: ir.Node) -> _Linear | None:
    if not is_op(node, "Conv", "ConvTranspose", "Gemm", "MatMul"):
        return None
    weight, given = constant(node.inputs[1]), input_at(node, 2)
    bias = constant(given)
    if weight is None or not is_float(weight) or (given is not None and bias is None):
        return None
    matrix = node.op_type in ("Gemm", "MatMul")
    if weight.ndim < 2 or (matrix and weight.ndim != 2) or integer(node, "transA", 0):
        return None
    linear = _Linear(node, weight, bias)
    if bias is not None and not broadcast(bias, linear.channels, max(1, bias.ndim), bias.ndim - 1):
        return None
    return linear


def _with_addition(product: _Linear) -> _Linear:
    """Add the bias that the node behind a MatMul adds, if there is one."""
    addition, axes = follower(product.node.outputs[0]), product.rank
    if addition is None or axes is None or not is_op(addition, "Add"):
        return product
    operands = constant_operand(addition)
    if operands is None or not broadcast(operands[1], product.channels, axes, axes - 1):
        return product
    return _Linear(product.node, product.weight, operands[1], addition)


def _bias(linear: _Linear) -> _Float64:
    """Return what is added to the product, [channels]."""
    if linear.bias is None:
        return np.zeros(linear.channels)
    return number(linear.node, "beta", 1) * per_channel(linear.bias, linear.channels)


def _scaled_outputs(linear: _Linear, scale: _Float64) -> _Float64:
    weight = linear.weight.astype(np.float64)
    if linear.node.op_type == "ConvTranspose":  # [C, M / groups, ...]
        groups = integer(linear.node, "group", 1)
        grouped = weight.reshape(groups, -1, *weight.shape[1:])
        spread = (groups, 1, -1) + (1,) * (weight.ndim - 2)
        return (grouped * scale.reshape(spread)).reshape(weight.shape)
    if linear.node.op_type == "Conv" or linear.flipped:
        return weight * scale.reshape((-1,) + (1,) * (weight.ndim - 1))
    return weight * scale


def _store(linear: _Linear, weight: _Float64, bias: _Float64) -> bool:
    """Give the node new weights and a new bias; False when they overflow the type."""
    node, dtype = linear.node, linear.weight.dtype
    with np.errstate(over="ignore"):
        narrow_weight, narrow_bias = weight.astype(dtype), bias.astype(dtype)
    if not (np.isfinite(narrow_weight).all() and np.isfinite(narrow_bias).all()):
        return False
    if not np.array_equal(narrow_weight, linear.weight):
        _replace_constant(node, 1, narrow_weight)
    if linear.bias is None and not bias.any():
        return True
    if linear.addition is not None:
        _replace_constant(
            linear.addition, int(constant(linear.addition.inputs[1]) is not None), narrow_bias
        )
    elif node.op_type != "MatMul":
        if node.op_type == "Gemm":
            node.attributes.pop("beta", None)
        node.resize_inputs(3)
        _replace_constant(node, 2, narrow_bias)
    return True


def _as_bias(affine: _Affine, linear: _Linear, scale: _Float64, shift: _Float64) -> bool:
    """Put an Add in the place of a BatchNormalization behind a MatMul."""
    graph, old = affine.node.graph, affine.node.outputs[0]
    if not isinstance(graph, ir.Graph) or not _store(
        linear, _scaled_outputs(linear, scale), np.zeros(linear.channels)
    ):
        return False
    bias = add_initializer(graph, f"{old.name}_bias", shift.astype(linear.weight.dtype))
    addition = ir.node("Add", [affine.source, bias], name=affine.node.name)
    graph.insert_before(affine.node, addition)
    addition.outputs[0].shape, addition.outputs[0].type = old.shape, old.type
    return bypass(affine.node, addition.outputs[0])


def _replace_constant(node: ir.Node, index: int, array: npt.NDArray[Any]) -> None:
    graph, old = node.graph, node.inputs[index]
    assert isinstance(graph, ir.Graph)  # noqa: S101 - only nodes of the main graph come here
    base = f"{node.outputs[0].name}_bias" if old is None else str(old.name)
    name = f"{base.removesuffix('_folded')}_folded"
    node.replace_input_with(index, add_initializer(graph, name, array))
    if old is not None and not old.uses() and old.is_initializer() and not old.is_graph_output():
        graph.initializers.pop(str(old.name))


def _is_unpadded(conv: ir.Node) -> bool:
    mode = text(conv, "auto_pad", "NOTSET")
    return mode == "VALID" or (mode == "NOTSET" and not any(integers(conv, "pads") or ()))


def _is_preprocessing(value: ir.Value) -> bool:
    """Tell whether the value is an input of the graph, or one after preparation only."""
    node = producer(value, *_PREPROCESSING)
    while node is not None:
        sources = [source for source in node.inputs if constant(source) is None]
        if len(sources) != 1 or sources[0] is None:
            return False
        value = sources[0]
        node = producer(value, *_PREPROCESSING)
    return value.is_graph_input()


def _is_gelu(value: ir.Value) -> bool:
    """Tell whether the value is ``x * (1 + Erf(...))``."""
    product = producer(value, "Mul")
    gates = [producer(factor, "Add") for factor in product.inputs] if product is not None else []
    return any(producer(part, "Erf") for gate in gates if gate is not None for part in gate.inputs)
