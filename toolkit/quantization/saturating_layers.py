"""The layers of an optimized graph whose int8 kernels saturate on x86 CPUs without VNNI.

Those with unsigned activations and constant signed weights: QLinearConv, QGemm, QLinearMatMul,
MatMulInteger, MatMulIntegerToFloat. Convolutions run with their channels last: the values of a
row are ordered by the place in the kernel, then by channel, and so they pair. Depthwise
convolutions, unsigned weights and signed activations have kernels that do not saturate.
(onnxruntime 1.31.)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from toolkit.quantization.saturating_sums import SAFE_PAIR, Weights

Array = npt.NDArray[Any]
Values = Mapping[str, Array]


@dataclass(frozen=True)
class _Places:
    """Where an operator has its inputs; None where it has no such input."""

    weights: int
    scales: tuple[int, int] | None  # of activations and weights
    zero_points: tuple[int, int]
    bias: int | None = None
    output: tuple[int, int] | None = None  # scale and zero point


_PLACES = {
    "QLinearConv": _Places(3, (1, 4), (2, 5), 8, (6, 7)),
    "QGemm": _Places(3, (1, 4), (2, 5), 6, (7, 8)),
    "QLinearMatMul": _Places(3, (1, 4), (2, 5), None, (6, 7)),
    "MatMulInteger": _Places(1, None, (2, 3)),
    "MatMulIntegerToFloat": _Places(1, (2, 3), (4, 5), 6),
}


@dataclass(frozen=True)
class Computed:
    """One layer on one batch of n samples.

    Attributes:
        exact: Its output as CPUs without saturation compute it.
        saturated: Its output with saturated sums.
        clipped: How many of its 16-bit sums were clipped, for each sample; int64 [n].
        sums: How many sums of 16 bits the batch has.
    """

    exact: Array
    saturated: Array
    clipped: Array
    sums: int


class Layer:
    """A layer whose sums may saturate.

    Attributes:
        name: The node's name.
        weight: Name of its int8 weights.
        reads: Tensors that it reads and that are no constants.
        output: The tensor that it writes.
        groups: Its weights as the kernels read them, for each group of channels.
    """

    def __init__(self, node: onnx.NodeProto, constants: Values) -> None:
        self._node, self._constants, self._places = node, constants, _PLACES[node.op_type]
        self._attributes = _attributes(node)
        self.name = node.name
        self.weight = node.input[self._places.weights]
        self.reads = tuple(dict.fromkeys(n for n in node.input if n and n not in constants))
        self.output = node.output[0]
        self.groups = [Weights(each) for each in self._groups(constants[self.weight])]

    @property
    def largest_pair_sums(self) -> Array:
        """See `saturating_sums.Weights`; for each output channel."""
        return np.concatenate([weights.largest_pair_sums for weights in self.groups])

    @property
    def exposed(self) -> bool:
        """Whether its weights are large enough for a sum to saturate on some input."""
        return bool(self.largest_pair_sums.max(initial=0) > SAFE_PAIR)

    def compute(self, values: Values, samples: int) -> Computed:
        """Compute the layer, exactly and with saturated sums.

        Args:
            values: What it reads, and its output as onnxruntime computes it here. Only what
                saturation changes is computed anew, so it does not matter whether it saturates.
            samples: How many samples the batch has.
        """
        known = {**self._constants, **values}
        output = values[self.output]
        exact, saturated = output.copy(), output.copy()
        clipped, sums, first = np.zeros(1, np.int64), 0, 0
        for rows, weights in zip(self._rows(known), self.groups, strict=True):
            flat = rows.reshape(-1, rows.shape[-1])
            found = weights.clip(flat)
            channels = first + found.columns
            at = (*np.unravel_index(found.rows, rows.shape[:-1]), channels)
            shift = self._shift(flat[found.rows], weights.sums[found.columns], channels, known)
            for array, changed in ((exact, found.exact), (saturated, found.saturated)):
                self._channels_last(array)[at] = self._finish(
                    changed - shift, found.rows, channels, known
                )
            clipped = clipped + found.pairs
            sums += len(flat) * math.ceil(flat.shape[1] / 2) * len(weights.sums)
            first += len(weights.sums)
        # A graph may mix samples into one axis; then no sample can be told, and all are named.
        of_samples = (
            clipped.reshape(samples, -1).sum(axis=1)
            if len(clipped) % samples == 0
            else np.full(samples, clipped.sum())
        )
        return Computed(exact, saturated, of_samples, sums)

    def _groups(self, weights: Array) -> list[Array]:
        """Return the weights int8 [K, N] of each group."""
        if self._node.op_type == "QLinearConv":
            count = self._attributes.get("group", 1)
            rows = np.moveaxis(weights, 1, -1).reshape(len(weights), -1)
            return [part.T for part in np.split(rows, count)]
        return [weights.T if self._attributes.get("transB") else weights]

    def _rows(self, known: Values) -> list[Array]:
        """Return the activations as the kernels read them, uint8 [..., K] for each group."""
        activations = known[self._node.input[0]]
        if self._node.op_type != "QLinearConv":
            return [activations.T if self._attributes.get("transA") else activations]
        kernel = known[self.weight].shape[2:]
        zero_point = int(known[self._node.input[2]].reshape(-1)[0])
        pixels = self._channels_last(activations)
        windows = _windows(pixels, kernel, self._attributes, zero_point)
        parts = np.split(windows, len(self.groups), axis=-1)
        return [part.reshape(*windows.shape[: -1 - len(kernel)], -1) for part in parts]

    def _channels_last(self, array: Array) -> Array:
        """Return a view whose last axis has the channels."""
        is_last = self._node.op_type != "QLinearConv" or self._attributes.get("channels_last")
        return array if is_last else np.moveaxis(array, 1, -1)

    def _shift(self, rows: Array, weights: Array, channels: Array, known: Values) -> Array:
        """Return what the zero points take from raw sums.

        The sum of (a - za) * (b - zb) is that of a * b without za * sum(b) + zb * sum(a - za).

        Args:
            rows: The activations of some sums, uint8 [E, K].
            weights: sum(b) of each, int32 [E].
            channels: The output channel of each, int64 [E].
            known: All values.
        """
        of_rows, of_weights = (self._input(place, known) for place in self._places.zero_points)
        zero = np.int32(0) if of_rows is None else of_rows.astype(np.int32).reshape(-1)
        shift = np.asarray(zero * weights)
        if of_weights is None or not of_weights.any():
            return shift
        values = rows.sum(axis=1, dtype=np.int32) - zero * np.int32(rows.shape[1])
        return np.asarray(shift + _of_channels(of_weights.astype(np.int32), channels) * values)

    def _finish(self, sums: Array, rows: Array, channels: Array, known: Values) -> Array:
        """Return what becomes of int32 sums [E] in the output, rounded as onnxruntime rounds."""
        places = self._places
        if places.scales is None:
            return sums
        of_rows, of_weights = (self._input(place, known) for place in places.scales)
        assert of_rows is not None  # noqa: S101 - required inputs
        assert of_weights is not None  # noqa: S101 - see above
        alpha = np.float32(self._attributes.get("alpha", 1.0))
        scale = alpha * of_rows.reshape(-1) * _of_channels(of_weights, channels)
        bias = self._input(places.bias, known)
        if bias is not None:
            bias = _of_channels(bias, channels) if bias.ndim < 2 else _of_both(bias, rows, channels)
            sums = sums + bias if bias.dtype == np.int32 else sums
        step = None if places.output is None else self._input(places.output[0], known)
        if step is None or places.output is None:
            values = sums.astype(np.float32) * scale
            return values + bias if bias is not None and bias.dtype == np.float32 else values
        zero_point = self._input(places.output[1], known)
        assert zero_point is not None  # noqa: S101 - comes with the scale
        return _codes(sums, scale / step.reshape(-1), zero_point)

    def _input(self, place: int | None, known: Values) -> Array | None:
        if place is None or place >= len(self._node.input) or not self._node.input[place]:
            return None
        return known[self._node.input[place]]


def saturating_layers(graph: onnx.GraphProto, constants: Values) -> list[Layer]:
    """Return the layers of an optimized graph that have a saturating kernel, in its order.

    Args:
        graph: As onnxruntime's optimizer wrote it.
        constants: Its initializers.
    """
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    types |= {value.name: value.type.tensor_type.elem_type for value in graph.input}
    return [Layer(node, constants) for node in graph.node if _saturates(node, constants, types)]


def _saturates(node: onnx.NodeProto, constants: Values, types: Mapping[str, int]) -> bool:
    places = _PLACES.get(node.op_type)
    if places is None or node.input[0] in constants:
        return False
    weights = constants.get(node.input[places.weights])
    if weights is None or weights.dtype != np.int8:
        return False
    zero_point = (
        node.input[places.zero_points[0]] if len(node.input) > places.zero_points[0] else ""
    )
    signed = types.get(node.input[0]) == onnx.TensorProto.INT8
    if signed or (zero_point in constants and constants[zero_point].dtype == np.int8):
        return False
    if node.op_type != "QLinearConv":
        return weights.ndim == 2
    groups = _attributes(node).get("group", 1)
    return not (weights.shape[1] == 1 and len(weights) == groups)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}


def _of_channels(parameter: Array, channels: Array) -> Array:
    """Return a parameter of a layer, or of each of its output channels, for some channels."""
    flat = parameter.reshape(-1)
    return flat if len(flat) == 1 else flat[channels]


def _of_both(bias: Array, rows: Array, channels: Array) -> Array:
    """Return the bias [M or 1, N or 1] of a dense layer for some rows and channels."""
    row = rows if len(bias) > 1 else np.zeros_like(rows)
    return bias[row, channels if bias.shape[1] > 1 else np.zeros_like(channels)]


def _codes(sums: Array, scale: Array, zero_point: Array) -> Array:
    limits, zero = np.iinfo(zero_point.dtype), int(zero_point.reshape(-1)[0])
    scaled = sums.astype(np.float32) * scale
    codes = np.rint(np.clip(scaled, limits.min - zero, limits.max - zero)).astype(np.int32)
    return (codes + zero).astype(zero_point.dtype)


def _windows(
    pixels: Array, kernel: tuple[int, ...], attributes: Mapping[str, Any], zero_point: int
) -> Array:
    """Return what a convolution reads, [n, *places, *kernel, C], of pixels [n, *size, C]."""
    rank = len(kernel)
    strides = attributes.get("strides") or [1] * rank
    dilations = attributes.get("dilations") or [1] * rank
    reach = [(size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True)]
    pads = _pads(pixels.shape[1:-1], reach, strides, attributes)
    padded = np.pad(pixels, [(0, 0), *pads, (0, 0)], constant_values=zero_point)
    axes = tuple(range(1, rank + 1))
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=axes)
    places = [slice(None, None, step) for step in strides]
    inside = [slice(None, None, step) for step in dilations]
    return np.moveaxis(windows[(slice(None), *places, slice(None), *inside)], rank + 1, -1)


def _pads(
    size: tuple[int, ...], reach: list[int], strides: list[int], attributes: Mapping[str, Any]
) -> list[tuple[int, int]]:
    how = attributes.get("auto_pad", b"NOTSET")
    if how in (b"SAME_UPPER", b"SAME_LOWER"):
        totals = [
            max(0, (math.ceil(length / step) - 1) * step + window - length)
            for length, window, step in zip(size, reach, strides, strict=True)
        ]
        small = [(total // 2, total - total // 2) for total in totals]
        return small if how == b"SAME_UPPER" else [(after, before) for before, after in small]
    rank = len(reach)
    pads = attributes.get("pads") or [0] * 2 * rank
    if how == b"VALID":
        pads = [0] * 2 * rank
    return list(zip(pads[:rank], pads[rank:], strict=True))
