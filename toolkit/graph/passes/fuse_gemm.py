"""Joins a matrix product and the addition of a bias.

    Add(MatMul(A, B), C)  ->  Gemm(A, B, C)    A and B of rank 2, C [M], [1, M] or [1]

onnxruntime does the same when it loads a model with a fixed batch, but not with a dynamic one.
"""

import onnx_ir as ir

from toolkit.graph.editing import constant, infer_shapes, rank, replace
from toolkit.graph.matching import follower, is_op


def fuse_gemm(model: ir.Model) -> int:
    """Join products and biases; return how many."""
    infer_shapes(model)
    count = 0
    for product in list(model.graph.all_nodes()):
        if product.graph is None or not is_op(product, "MatMul"):
            continue
        a, b = product.inputs
        addition = follower(product.outputs[0])
        if addition is None or not is_op(addition, "Add") or (rank(a), rank(b)) != (2, 2):
            continue
        bias = addition.inputs[1 if addition.inputs[0] is product.outputs[0] else 0]
        if bias is not None and _is_bias(bias, b):
            joined = ir.node("Gemm", [a, b, bias], name=product.name)
            replace(addition, joined)
            product.graph.remove(product, safe=True)
            count += 1
    return count


def _is_bias(bias: ir.Value, weight: ir.Value | None) -> bool:
    """Tell whether C is constant and adding it leaves the product's shape [N, M] alone."""
    array = constant(bias)
    if array is None or weight is None or weight.shape is None or array.ndim > 2 or not array.ndim:
        return False
    columns = weight.shape[1]
    return array.shape[-1] in (1, columns) and (array.ndim == 1 or array.shape[0] == 1)
