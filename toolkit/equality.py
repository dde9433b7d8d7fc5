"""How equal a model's answers must be on two CPUs: what its graph allows to expect.

Integer kernels add in any order with one result, and elementwise operators round as IEEE 754
says. Float products are added in the order that suits the CPU, so their last bits differ; where a
rounding to int8 follows, it may fall the other way.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx

Rule = Literal["bit for bit", "float rounding", "one output step", "float", "half"]

# Equal on every CPU when their inputs are: they move values, or round them in one way only.
_DETERMINISTIC = frozenset(
    {
        "Add", "Cast", "Clip", "Concat", "DepthToSpace", "DequantizeLinear", "Div", "Flatten",
        "Gather", "Identity", "Max", "MaxPool", "Min", "Mul", "Neg", "Pad", "QuantizeLinear",
        "Relu", "Reshape", "Shape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Sub",
        "Transpose", "Unsqueeze", "Where",
        # Integer arithmetic.
        "ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearAdd", "QLinearConcat",
        "QLinearConv", "QLinearGlobalAveragePool", "QLinearMatMul", "QLinearMul", "QGemm",
    }
)  # fmt: skip
# onnxruntime runs them in int8 when DequantizeLinear stands before and QuantizeLinear behind.
_INT8_BETWEEN = frozenset(
    {"AveragePool", "Conv", "Gemm", "GlobalAveragePool", "MatMul", "Sigmoid", "Softmax"}
)
_PASSED_ON = frozenset({"Relu", "Clip"})  # between product and QuantizeLinear, part of the kernel
_ROUNDING = frozenset({"QuantizeLinear", "DynamicQuantizeLinear"})
_QUANTIZED = _ROUNDING | {"DequantizeLinear"}

_SAME, _ROUNDED, _STEPPED = range(3)  # how far a tensor may differ between CPUs


@dataclass(frozen=True)
class Difference:
    """How far answers are from what was expected.

    Attributes:
        max_abs: The largest difference; infinite for NaN or another shape.
        allowed: The largest that the rule allows.
        samples: Samples with any difference.
        classes: Samples whose highest score is elsewhere.
    """

    max_abs: float
    allowed: float
    samples: int
    classes: int

    @property
    def passed(self) -> bool:
        """Whether the difference is allowed."""
        return self.max_abs <= self.allowed


def rule(model: onnx.ModelProto) -> Rule:
    """Return how equal the answers of a model must be on two CPUs.

    "bit for bit": every sum is of integers. "float rounding": so is every sum before the last
    rounding to int8. "one output step": a float sum stands before such a rounding. "float" and
    "half": nothing is quantized.
    """
    nodes = list(_nodes(model.graph))
    if not any(node.op_type in _QUANTIZED or "Integer" in node.op_type for node in nodes):
        half = onnx.TensorProto.FLOAT16
        stored = (tensor.data_type for tensor in model.graph.initializer)
        return "half" if half in stored else "float"
    if any(_bodies(node) for node in nodes):
        return "one output step"  # what a loop's body feeds back is not followed
    maker = {name: node for node in nodes for name in node.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    states: dict[str, int] = {}
    for node in nodes:
        state = max((states.get(name, _SAME) for name in node.input), default=_SAME)
        if node.op_type in _ROUNDING and state == _ROUNDED:
            state = _STEPPED
        elif node.op_type not in _DETERMINISTIC and not _in_int8(node, maker, readers):
            state = max(state, _ROUNDED)
        states.update(dict.fromkeys(node.output, state))
    worst = max((states.get(output.name, _SAME) for output in model.graph.output), default=_SAME)
    names: tuple[Rule, ...] = ("bit for bit", "float rounding", "one output step")
    return names[worst]


def compare(found: npt.NDArray[Any], expected: npt.NDArray[Any], how: Rule) -> Difference:
    """Compare one output [N, ...] with what was expected.

    The rules allow: "bit for bit" nothing; "float rounding" 2e-6, "float" 1e-4 and "half" 1e-2 of
    the largest expected value; "one output step" 1/255 of the range of the expected values.
    """
    samples = len(expected)
    if found.shape != expected.shape:
        return Difference(float("inf"), 0.0, samples, samples)
    a, b = found.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore"):
        distance = np.abs(a - b)
    # Equal infinities are no difference; one NaN more or less is.
    distance[(a == b) | (np.isnan(a) & np.isnan(b))] = 0.0
    distance[np.isnan(distance)] = np.inf
    finite = b[np.isfinite(b)]
    largest = float(np.abs(finite).max(initial=0.0))
    spread = float(np.ptp(finite)) if finite.size else 0.0
    allowed = {
        "bit for bit": 0.0,
        "float rounding": 2e-6 * largest,
        "one output step": spread / 255,
        "float": 1e-4 * largest,
        "half": 1e-2 * largest,
    }[how]
    # A size of -1 is ambiguous when there is no sample.
    rows, a, b = (array.reshape(samples, math.prod(b.shape[1:])) for array in (distance, a, b))
    flipped = a.argmax(1) != b.argmax(1)
    return Difference(
        max_abs=float(rows.max(initial=0.0)),
        allowed=allowed,
        samples=int(np.count_nonzero(rows.any(axis=1))),
        classes=int(np.count_nonzero(flipped)),
    )


def _in_int8(
    node: onnx.NodeProto,
    maker: dict[str, onnx.NodeProto],
    readers: dict[str, list[onnx.NodeProto]],
) -> bool:
    """Tell whether a node is computed by an integer kernel: Q, the node, DQ around it."""
    if node.op_type not in _INT8_BETWEEN:
        return False
    before = (maker.get(name) for name in node.input if name)
    if not all(entry is not None and entry.op_type == "DequantizeLinear" for entry in before):
        return False
    behind = readers.get(node.output[0], [])
    while len(behind) == 1 and behind[0].op_type in _PASSED_ON:
        behind = readers.get(behind[0].output[0], [])
    return bool(behind) and all(entry.op_type == "QuantizeLinear" for entry in behind)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a graph and of the bodies in it."""
    for node in graph.node:
        yield node
        for body in _bodies(node):
            yield from _nodes(body)


def _bodies(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    kinds = (onnx.AttributeProto.GRAPH,)
    return [attribute.g for attribute in node.attribute if attribute.type in kinds]
