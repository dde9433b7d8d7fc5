"""Gives the channels between two layers weights of like size, so that one scale fits them all.

    W2 f(W1 x + b1)  =  (W2 S) f(W1 / S x + b1 / S)    for any f with f(s y) = s f(y), s > 0

    s_i = sqrt(r1_i / r2_i)    r1_i: max |W1| of output channel i, r2_i: max |W2| of input channel i

Afterwards both ranges are sqrt(r1_i r2_i). Pairs share layers, so the rule is repeated until
nothing moves. f may be ReLU, leaky ReLU, a pooling, a flattening, or several of them. ReLU6 (Clip)
is none: its upper bound does not scale.

Source: M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
ICCV 2019, section 4.1. Two things differ from it: a factor stays within
[1/64, 64], because the activations grow as the weights shrink (the paper absorbs their large
biases instead); and a Clip is not replaced by a ReLU, which would change the model.

The model computes the same as before, but for float32 rounding. The tensors between the layers are
scaled; their names stay.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from toolkit.graph.editing import add_initializer, constant, rank
from toolkit.graph.matching import follower, input_at, integer, is_op

_Float64 = npt.NDArray[np.float64]

_HOMOGENEOUS = (
    "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Identity", "LeakyRelu", "MaxPool", "Relu",
)  # fmt: skip
_FLATTENING = ("Flatten", "Reshape", "Squeeze")
_LARGEST = 64.0
_ROUNDS = 50
_SETTLED = 1e-3  # a round that changes no factor by more is the last


@dataclass(frozen=True)
class _Pair:
    """Two layers and what connects their channels.

    Attributes:
        first: Its output channels are divided.
        second: Its input channels are multiplied.
        repeat: How many inputs of the second are one channel of the first, in a row.
    """

    first: ir.Node
    second: ir.Node
    repeat: int


def equalize_layers(model: ir.Model) -> int:
    """Equalize all pairs of layers, in place; return how many pairs changed.

    Left alone: weights that other nodes share, weights that are no float32, and layers whose
    output is read more than once or is an output of the graph.
    """
    pairs = [pair for node in model.graph if (pair := _pair(node)) is not None]
    nodes = {node: None for pair in pairs for node in (pair.first, pair.second)}
    weights = {node: _weight(node) for node in nodes}
    factors = [np.ones(_output_channels(pair.first)) for pair in pairs]
    for _ in range(_ROUNDS):
        moved = 1.0
        for index, pair in enumerate(pairs):
            first, second = weights[pair.first], weights[pair.second]
            wanted = _factors(_output_ranges(pair.first, first), _input_ranges(pair, second))
            total = np.clip(factors[index] * wanted, 1 / _LARGEST, _LARGEST)
            step, factors[index] = total / factors[index], total
            moved = max(moved, float(np.max(np.maximum(step, 1 / step))))
            weights[pair.first] = first / _along_outputs(pair.first, first, step)
            weights[pair.second] = second * _along_inputs(pair, second, step)
        if moved <= 1 + _SETTLED:
            break
    changed = [
        (pair, scale)
        for pair, scale in zip(pairs, factors, strict=True)
        if np.max(np.maximum(scale, 1 / scale)) > 1 + _SETTLED
    ]
    for pair, scale in changed:
        bias = constant(input_at(pair.first, 2))
        if bias is not None:
            _store(pair.first, 2, bias / scale)
    for node in {node: None for pair, _ in changed for node in (pair.first, pair.second)}:
        _store(node, 1, weights[node])
    return len(changed)


def _pair(first: ir.Node) -> _Pair | None:
    """Return a layer and the next one, if nothing but homogeneous functions lies between."""
    if not _is_layer(first):
        return None
    channels = _output_channels(first)
    value, flat = first.outputs[0], False
    while (node := follower(value)) is not None and node.inputs[0] is value:
        if _is_layer(node):
            inputs = _input_channels(node)
            repeat = inputs // channels
            if inputs != channels * repeat or (
                repeat > 1 and not (flat and node.op_type == "Gemm")
            ):
                return None
            return _Pair(first, node, repeat)
        if is_op(node, *_FLATTENING):
            if not _keeps_channels_first(node):
                return None
            flat = True
        elif not is_op(node, *_HOMOGENEOUS):
            return None
        value = node.outputs[0]
    return None


def _is_layer(node: ir.Node) -> bool:
    if not is_op(node, "Conv", "Gemm") or integer(node, "transA", 0):
        return False
    value, bias = node.inputs[1], input_at(node, 2)
    weight = constant(value)
    if weight is None or value is None or weight.dtype != np.float32 or weight.ndim < 2:
        return False
    given = constant(bias)
    fits = bias is None or (given is not None and given.shape == (_output_channels(node),))
    return fits and len(list(value.uses())) == 1 and not value.is_graph_output()


def _keeps_channels_first(node: ir.Node) -> bool:
    """Tell whether a flattening of [N, C, ...] gives [N, C * ...] with the channels outermost."""
    source, result = node.inputs[0], node.outputs[0]
    if rank(result) != 2 or source is None or source.shape is None or result.shape is None:
        return False
    sizes = [size for size in source.shape[1:] if isinstance(size, int)]
    return len(sizes) == len(source.shape) - 1 and result.shape[1] == math.prod(sizes)


def _weight(node: ir.Node) -> _Float64:
    array = constant(node.inputs[1])
    assert array is not None  # noqa: S101 - _is_layer saw it
    return array.astype(np.float64)


def _output_axis(node: ir.Node) -> int:
    return 0 if node.op_type == "Conv" or integer(node, "transB", 0) else 1


def _output_channels(node: ir.Node) -> int:
    return int(_weight(node).shape[_output_axis(node)])


def _input_channels(node: ir.Node) -> int:
    weight = _weight(node)
    return int(weight.shape[1 - _output_axis(node)]) * integer(node, "group", 1)


def _output_ranges(node: ir.Node, weight: _Float64) -> _Float64:
    axis = _output_axis(node)
    others = tuple(index for index in range(weight.ndim) if index != axis)
    return np.asarray(np.abs(weight).max(axis=others))


def _input_ranges(pair: _Pair, weight: _Float64) -> _Float64:
    """Return the largest weight of each channel of the first layer."""
    node = pair.second
    if node.op_type == "Conv":
        groups = integer(node, "group", 1)
        grouped = np.abs(weight).reshape(groups, len(weight) // groups, weight.shape[1], -1)
        return np.asarray(grouped.max(axis=(1, 3))).ravel()
    largest = np.abs(weight).max(axis=_output_axis(node))
    return np.asarray(largest.reshape(-1, pair.repeat).max(axis=1))


def _factors(first: _Float64, second: _Float64) -> _Float64:
    """Return s_i; 1 for channels that one of the layers does not use."""
    used = (first > 0) & (second > 0)
    return np.sqrt(np.divide(first, second, out=np.ones_like(first), where=used))


def _along_outputs(node: ir.Node, weight: _Float64, factors: _Float64) -> _Float64:
    shape = [1] * weight.ndim
    shape[_output_axis(node)] = -1
    return factors.reshape(shape)


def _along_inputs(pair: _Pair, weight: _Float64, factors: _Float64) -> _Float64:
    node = pair.second
    if node.op_type == "Conv":
        groups = integer(node, "group", 1)
        spread = factors.reshape(groups, 1, -1).repeat(len(weight) // groups, axis=1)
        return spread.reshape(len(weight), weight.shape[1], *(1,) * (weight.ndim - 2))
    repeated = factors.repeat(pair.repeat)
    return repeated if _output_axis(node) == 0 else repeated[:, np.newaxis]


def _store(node: ir.Node, index: int, array: _Float64) -> None:
    graph, old = node.graph, node.inputs[index]
    assert isinstance(graph, ir.Graph)  # noqa: S101 - it was found in one
    assert old is not None  # noqa: S101 - it had an array
    name = f"{str(old.name).removesuffix('_equalized')}_equalized"
    node.replace_input_with(index, add_initializer(graph, name, array.astype(np.float32)))
    if not old.uses() and old.is_initializer():
        graph.initializers.pop(str(old.name))
