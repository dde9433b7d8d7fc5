"""Computes what depends on constants alone, so that weights are seen as weights.

    Reshape(W), Transpose(W), Cast(W), ... with constant inputs  ->  an initializer

Old exporters write dense layers as MatMul(x, Reshape(W)), PyTorch's as MatMul(x, Transpose(W)).
onnxruntime folds both when it loads the model; the quantizer would take them for products of two
activations.
"""

from typing import Any

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from toolkit.graph.editing import add_initializer, constant

# Deterministic, of one output, and at home on weights.
_FOLDED = frozenset(
    {
        "Add", "Cast", "Concat", "Div", "Flatten", "Identity", "Mul", "Neg", "Reshape", "Slice",
        "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze",
    }
)  # fmt: skip


def fold_constants(model: ir.Model) -> int:
    """Replace nodes with constant inputs by their results, in place; return how many."""
    count = 0
    for node in list(model.graph):
        values = [value for value in node.inputs if value is not None]
        arrays = [constant(value) for value in values]
        if (
            node.op_type not in _FOLDED
            or node.domain != ""
            or not values
            or any(array is None for array in arrays)
            or node.outputs[0].is_graph_output()
        ):
            continue
        feeds = {str(value.name): array for value, array in zip(values, arrays, strict=True)}
        result = _evaluate(node, feeds, model.opset_imports.get("", 1))
        name = str(node.outputs[0].name)
        node.outputs[0].name = None
        node.outputs[0].replace_all_uses_with(add_initializer(model.graph, name, result))
        model.graph.remove(node, safe=True)
        count += 1
    return count


def _evaluate(node: ir.Node, feeds: dict[str, np.ndarray | None], opset: int) -> np.ndarray:
    inputs = [ir.Value(name=name) for name in feeds]
    by_name = {value.name: value for value in inputs}
    copy = ir.node(
        node.op_type,
        [None if value is None else by_name[value.name] for value in node.inputs],
        attributes=dict(node.attributes),
    )
    copy.outputs[0].name = "result"
    graph = ir.Graph(inputs, [copy.outputs[0]], nodes=[copy], opset_imports={"": opset}, name="one")
    evaluator = ReferenceEvaluator(ir.to_proto(ir.Model(graph, ir_version=8)))
    outputs: Any = evaluator.run(None, feeds)
    return np.asarray(outputs[0])
