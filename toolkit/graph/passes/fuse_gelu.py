"""Writes GELU as one operator, or in the form that onnxruntime fuses itself.

From opset 20 on:

    0.5 x (1 - Erf(-x / sqrt(2))),  0.5 x (1 + Erf(x / sqrt(2)))  ->  Gelu(x)
    0.5 x (1 + Tanh(sqrt(2 / pi) (x + 0.044715 x^3)))             ->  Gelu(x, approximate="tanh")

Before, where ONNX has no such operator:

    0.5 x (1 - Erf(-x / sqrt(2)))  ->  0.5 x (1 + Erf(x / sqrt(2)))

The left side is what TensorFlow's Erfc becomes (Keras' exact GELU); onnxruntime's optimizer knows
only the right one, with a division by sqrt(2), and joins it with the bias before it. Factors may
stand in any order. Left alone: factors that are not these, and intermediate results that are read
elsewhere. Source: Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv:1606.08415.
"""

import math

import numpy as np
import onnx_ir as ir

from toolkit.graph.editing import add_initializer, infer_shapes, replace
from toolkit.graph.matching import follower, is_op, producer, remove_dead, scalar

_CLOSE = 1e-4  # relative; the constants are rounded to float32, or to float16


def fuse_gelu(model: ir.Model) -> int:
    """Rewrite GELU activations; return how many."""
    infer_shapes(model)
    opset = model.graph.opset_imports.get("", 0)
    count = sum(_rewrite(node, opset) for node in list(model.graph))
    remove_dead(model.graph)
    return count


def _rewrite(last: ir.Node, opset: int) -> bool:
    if not is_op(last, "Mul") or last.graph is None:
        return False
    factors = _factors(last)
    if factors is None:
        return False
    source, gate = factors
    error, flipped = _error(gate, source)
    if opset >= 20 and (error or _tanh(gate, source)):
        kind = "none" if error else "tanh"
        replace(last, ir.node("Gelu", [source], {"approximate": kind}, name=last.name))
        return True
    if opset < 20 and error and flipped and source.dtype is not None:
        return _standard(last, source)
    return False


def _factors(last: ir.Node) -> tuple[ir.Value, ir.Value] | None:
    """Return x and the gate (1 + ...) of ``0.5 * x * gate``, however the three are grouped."""
    parts = [*last.inputs]
    for index in (0, 1):
        inner = producer(parts[index], "Mul")
        if inner is not None and follower(inner.outputs[0]) is last:
            three = [*inner.inputs, parts[1 - index]]
            half = [value for value in three if _is(value, 0.5)]
            rest = [value for value in three if not _is(value, 0.5)]
            for source, gate in (rest, rest[::-1]) if len(half) == 1 else ():
                if source is not None and gate is not None and producer(gate, "Add", "Sub"):
                    return source, gate
    return None


def _error(gate: ir.Value, source: ir.Value) -> tuple[bool, bool]:
    """Tell whether the gate is ``1 + Erf(x / sqrt(2))``, and whether it is written with a minus."""
    node = producer(gate, "Add", "Sub")
    if node is None or follower(gate) is None:
        return False, False
    flipped = is_op(node, "Sub")
    if flipped and not _is(node.inputs[0], 1):
        return False, False
    inner = _other(node, 1)
    erf = producer(inner, "Erf")
    if erf is None or follower(erf.outputs[0]) is not node:
        return False, False
    sign = -1 if flipped else 1
    return _is_multiple(erf.inputs[0], source, sign * math.sqrt(0.5), erf), flipped


def _is_multiple(value: ir.Value | None, source: ir.Value, factor: float, user: ir.Node) -> bool:
    """Tell whether the value, read only by the user, is the source times the factor."""
    if value is source:
        return math.isclose(factor, 1, rel_tol=_CLOSE)
    node = producer(value, "Mul", "Div", "Neg")
    if value is None or node is None or follower(value) is not user:
        return False
    if is_op(node, "Neg"):
        return _is_multiple(node.inputs[0], source, -factor, node)
    for index in (1,) if is_op(node, "Div") else (0, 1):
        found = scalar(node.inputs[index])
        if found:
            rest = factor * found if is_op(node, "Div") else factor / found
            return _is_multiple(node.inputs[1 - index], source, rest, node)
    return False


def _tanh(gate: ir.Value, source: ir.Value) -> bool:
    """Tell whether the gate is ``1 + Tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))``."""
    node = producer(gate, "Add")
    tanh = None if node is None else producer(_other(node, 1), "Tanh")
    if tanh is None or follower(gate) is None or follower(tanh.outputs[0]) is not node:
        return False
    scaled = producer(tanh.inputs[0], "Mul")
    if scaled is None or follower(scaled.outputs[0]) is not tanh:
        return False
    addition = producer(_other(scaled, math.sqrt(2 / math.pi)), "Add")
    if addition is None or follower(addition.outputs[0]) is not scaled:
        return False
    for index in (0, 1):
        product = producer(addition.inputs[1 - index], "Mul")
        if addition.inputs[index] is source and product is not None:
            power = producer(_other(product, 0.044715), "Pow")
            alone = follower(product.outputs[0]) is addition
            return (
                power is not None
                and alone
                and follower(power.outputs[0]) is product
                and power.inputs[0] is source
                and _is(power.inputs[1], 3)
            )
    return False


def _other(node: ir.Node, wanted: float) -> ir.Value | None:
    """Return the operand beside the wanted constant, or None when there is no such constant."""
    for index in (0, 1):
        if _is(node.inputs[index], wanted):
            return node.inputs[1 - index]
    return None


def _is(value: ir.Value | None, wanted: float) -> bool:
    found = scalar(value)
    return found is not None and math.isclose(found, wanted, rel_tol=_CLOSE)


def _standard(last: ir.Node, source: ir.Value) -> bool:
    graph, dtype = last.graph, source.dtype
    if not isinstance(graph, ir.Graph) or dtype is None:
        return False
    name = last.outputs[0].name
    root, one, half = (
        add_initializer(graph, f"{name}_{label}", np.array(number, dtype.numpy()))
        for label, number in (("sqrt2", math.sqrt(2)), ("one", 1), ("half", 0.5))
    )
    quotient = ir.node("Div", [source, root])
    erf = ir.node("Erf", quotient.outputs)
    gate = ir.node("Add", [erf.outputs[0], one])
    scaled = ir.node("Mul", [source, half])
    for node in (quotient, erf, gate, scaled):
        node.outputs[0].shape, node.outputs[0].type = source.shape, source.type
        graph.insert_before(last, node)
    replace(last, ir.node("Mul", [scaled.outputs[0], gate.outputs[0]], name=last.name))
    return True
