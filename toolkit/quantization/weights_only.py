"""Quantizes the weights of dense layers alone, in blocks, by onnxruntime's MatMulNBits.

    Gemm(x, W, b), MatMul(x, W)  ->  MatMulNBits(x, codes, scales [, zero points]) [-> Add(b)]

A column of W is cut into blocks with a scale each. Activations stay float32 between the layers;
inside, the kernel rounds them to int8 block by block (accuracy level 4). Without that it unpacks
the weights to float first: with 8 bits this takes 10 times as long as a float layer, with
DequantizeLinear and MatMul 7 to 10 times (measured on x86 with VNNI, onnxruntime 1.31).

The operator is in onnxruntime's own domain com.microsoft. It works with any opset and IR version;
4 bits need onnxruntime 1.19 or later, 8 bits 1.22 or later.
"""

from collections.abc import Collection

import numpy as np
import onnx
import onnx_ir as ir

from toolkit.graph.editing import add_initializer, constant
from toolkit.graph.matching import input_at, integer
from toolkit.quantization.recipe import Weights
from toolkit.quantization.rewriting import finished, quiet
from toolkit.runtime.session import import_onnxruntime

_BITS = {"int8": 8, "int4": 4}
_INT8_ACTIVATIONS = 4  # MatMulNBits' attribute accuracy_level


def quantize_weights(model: ir.Model, names: Collection[str], weights: Weights) -> onnx.ModelProto:
    """Return the model with the weights of some dense layers in 4 or 8 bits.

    Args:
        model: The float model; left unchanged.
        names: Gemm and MatMul nodes with a constant matrix [K, N].
        weights: Bits, symmetry and block size.
    """
    import_onnxruntime()
    # The module sets up logging for the whole process when it is imported.
    with quiet():
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        copy = model.clone()
        products = [_as_product(node) for node in list(copy.graph) if node.name in set(names)]
        others = [
            str(node.name)
            for node in copy.graph
            if node.op_type == "MatMul" and node.name not in set(products)
        ]
        quantizer = MatMulNBitsQuantizer(
            ir.to_proto(copy),
            bits=_BITS[weights.type],
            block_size=weights.block_size,
            is_symmetric=weights.is_symmetric,
            accuracy_level=_INT8_ACTIVATIONS,
            nodes_to_exclude=others,
        )
        quantizer.process()
    return finished(quantizer.model.model)


def _as_product(node: ir.Node) -> str:
    """Turn a Gemm without factors into MatMul and Add, in place; return the name of the MatMul."""
    if node.op_type == "MatMul":
        return str(node.name)
    graph, output = node.graph, node.outputs[0]
    assert isinstance(graph, ir.Graph)  # noqa: S101 - it was found in one
    value, bias = node.inputs[1], input_at(node, 2)
    assert value is not None  # noqa: S101 - a weight layer has one
    if integer(node, "transB", 0):
        weight = constant(value)
        assert weight is not None  # noqa: S101 - see above
        value = add_initializer(graph, f"{value.name}_matrix", np.ascontiguousarray(weight.T))
    product = ir.node("MatMul", [node.inputs[0], value], name=str(node.name))
    product.outputs[0].name = f"{output.name}_product"
    product.outputs[0].type, product.outputs[0].shape = output.type, output.shape
    graph.insert_before(node, product)
    result = product.outputs[0]
    if bias is not None:
        addition = ir.node("Add", [result, bias], name=f"{node.name}_bias")
        graph.insert_before(node, addition)
        result = addition.outputs[0]
        result.type, result.shape = output.type, output.shape
    name, output.name = output.name, None
    output.replace_all_uses_with(result, replace_graph_outputs=True)
    result.name = name
    graph.remove(node, safe=True)
    return str(product.name)
