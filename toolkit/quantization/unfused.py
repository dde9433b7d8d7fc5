"""Finds quantized nodes that onnxruntime still computes in float.

A node between DequantizeLinear and QuantizeLinear becomes one int8 kernel when onnxruntime loads
the model. Where it has no such kernel the node runs in float and both conversions are added:
slower than float and less exact. So the optimized graph is looked at, not trusted.
"""

from collections.abc import Collection

import onnx

from toolkit.quantization.optimized_graph import optimized
from toolkit.quantization.pixels import MOVES
from toolkit.quantization.placement import CARRIERS, WEIGHT_LAYERS

_FUSED = {"FusedConv": "Conv", "FusedGemm": "Gemm", "FusedMatMul": "MatMul"}
_COMPUTING = (*WEIGHT_LAYERS, *_FUSED, *(CARRIERS - MOVES - {"MaxPool", "Split", "Relu", "Clip"}))


def unfused(model: onnx.ModelProto, int8: Collection[str]) -> list[str]:
    """Return the names of the nodes among ``int8`` that run in float after all.

    Args:
        model: A model with QuantizeLinear and DequantizeLinear; left unchanged.
        int8: Names of the nodes that are meant to be int8.

    Raises:
        ModelError: onnxruntime cannot load the model.
    """
    graph = optimized(model).graph
    makers = {name: node for node in graph.node for name in node.output}
    weights = _weight_owners(model)
    found: set[str] = set()
    for node in graph.node:
        if node.op_type not in _COMPUTING:
            continue
        dequantized = [
            makers[name]
            for name in node.input
            if name in makers and makers[name].op_type == "DequantizeLinear"
        ]
        if not dequantized:
            continue
        if node.name in int8:
            found.add(node.name)
        found.update(weights[maker.input[0]] for maker in dequantized if maker.input[0] in weights)
    return [name for name in int8 if name in found]


def meant_int8(model: onnx.ModelProto) -> list[str]:
    """Return the names of the nodes that read dequantized values alone, in their order.

    Those are what a quantizer wants to be int8: of weight layers the weights count as well.
    """
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    constants = {entry.name for entry in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type not in _COMPUTING or not node.name:
            continue
        read = node.input[:2] if node.op_type in WEIGHT_LAYERS else node.input
        data = [name for name in read if name and name not in constants]
        if data and all(makers.get(name) == "DequantizeLinear" for name in data):
            found.append(node.name)
    return found


def _weight_owners(model: onnx.ModelProto) -> dict[str, str]:
    """Return the layer that reads each integer weight, by the weight's name."""
    makers = {name: node for node in model.graph.node for name in node.output}
    return {
        makers[node.input[1]].input[0]: node.name
        for node in model.graph.node
        if node.op_type in WEIGHT_LAYERS
        and len(node.input) > 1
        and node.input[1] in makers
        and makers[node.input[1]].op_type == "DequantizeLinear"
    }
