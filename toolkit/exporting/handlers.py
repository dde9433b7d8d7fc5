"""TensorFlow operators that tf2onnx 1.17 does not know, written as ONNX operators.

Erfc(x)   ->  1 - Erf(x)     TensorFlow's exact GELU: ConvNeXt, transformers
Expm1(x)  ->  Exp(x) - 1     Keras' celu
"""

from typing import Any


def register() -> None:
    """Add the operators to tf2onnx's table of conversions, for this process."""
    from tf2onnx.handler import tf_op

    tf_op("Erfc")(_Erfc)
    tf_op("Expm1")(_Expm1)


class _Erfc:
    @classmethod
    def version_9(cls, graph: Any, node: Any, **_: object) -> None:
        """Erf came with opset 9."""
        node.type = "Erf"
        _subtract_one(graph, node, from_one=True)


class _Expm1:
    @classmethod
    def version_7(cls, graph: Any, node: Any, **_: object) -> None:
        """Subtraction broadcasts since opset 7."""
        node.type = "Exp"
        _subtract_one(graph, node, from_one=False)


def _subtract_one(graph: Any, node: Any, *, from_one: bool) -> None:
    """Insert ``1 - y`` or ``y - 1`` behind the node's output y."""
    import numpy as np
    from tf2onnx import utils

    result = node.output[0]
    dtype = utils.map_onnx_to_numpy_type(graph.get_dtype(node.input[0]))
    one = graph.make_const(utils.make_name("one"), np.array(1, dtype)).output[0]
    subtraction = graph.insert_new_node_on_output(
        "Sub", result, name=utils.make_name(f"{node.name}_minus_one")
    )
    graph.replace_inputs(subtraction, [one, result] if from_one else [result, one])
