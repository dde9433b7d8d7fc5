"""Folds the multiplication of an input by one number into the weights that read it.

    Conv(Mul(x, s), W)    ->  Conv(x, W * s)        MatMul and Gemm likewise
    Conv(move(Mul(x, s)), W)  ->  Conv(move(x), W * s)    move: Reshape, Transpose, Slice, ...

A picture divided by 255 then costs its Cast alone. Zero padding stays zero, and a bias is added
later, so nothing else changes; W * s is computed in float64 and rounded once. An offset does not
fold where a convolution pads, so nothing is folded past an Add.
"""

import numpy as np
import onnx_ir as ir

from toolkit.graph.editing import add_initializer, constant, infer_shapes, is_float, repeat
from toolkit.graph.matching import bypass, constant_operand, is_op

# They move elements and compute nothing.
MOVES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Identity")


def fold_scale(model: ir.Model) -> int:
    """Fold multiplications into weights; return how many."""
    infer_shapes(model)
    return repeat(lambda: sum(_fold(node) for node in list(model.graph) if is_op(node, "Mul")))


def _fold(product: ir.Node) -> bool:
    operands = constant_operand(product)
    if operands is None or product.outputs[0].is_graph_output():
        return False
    source, factor = operands
    scaled = product.outputs[0]
    if factor.size != 1 or not is_float(factor) or source.shape is None or scaled.shape is None:
        return False
    # A factor of more axes than the tensor would add some.
    if len(source.shape) != len(scaled.shape):
        return False
    layers = _layers(scaled, product.graph)
    if not layers:
        return False
    graph = product.graph
    assert isinstance(graph, ir.Graph)  # noqa: S101 - it was found in one
    for layer in layers:
        weight = layer.inputs[1]
        old = constant(weight)
        assert weight is not None  # noqa: S101 - _layers saw to it
        assert old is not None  # noqa: S101
        new = (old.astype(np.float64) * float(factor.item())).astype(old.dtype)
        layer.replace_input_with(1, add_initializer(graph, f"{weight.name}_scaled", new))
    return bypass(product, source)


def _layers(value: ir.Value, graph: ir.Graph | ir.Function | None) -> list[ir.Node]:
    """Return the layers with constant weights that read the value, or nothing if others do."""
    found: list[ir.Node] = []
    if value.is_graph_output():
        return []
    for node, index in value.uses():
        if node.graph is not graph or index != 0:
            return []
        if is_op(node, *MOVES):
            behind = _layers(node.outputs[0], graph)
            if not behind:
                return []
            found.extend(behind)
        elif is_op(node, "Conv", "MatMul", "Gemm") and _has_weight(node):
            found.append(node)
        else:
            return []
    return found


def _has_weight(node: ir.Node) -> bool:
    weight = constant(node.inputs[1])
    return weight is not None and is_float(weight)
