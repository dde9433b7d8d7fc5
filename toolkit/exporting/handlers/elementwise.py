"""Element-wise operators.

Erfc(x)       ->  1 - Erf(x)                  TensorFlow's exact GELU: ConvNeXt, transformers
Expm1(x)      ->  Exp(x) - 1                  Keras' celu
Bucketize(x)  ->  sum(not x < boundary)       Keras' Discretization
"""

from typing import Any


def erfc(graph: Any, node: Any, **_: object) -> None:
    """Write 1 - Erf(x)."""
    node.type = "Erf"
    _subtract_one(graph, node, from_one=True)


def expm1(graph: Any, node: Any, **_: object) -> None:
    """Write Exp(x) - 1."""
    node.type = "Exp"
    _subtract_one(graph, node, from_one=False)


def bucketize(graph: Any, node: Any, **_: object) -> None:
    """Count how many boundaries are at most x; they are compared all at once."""
    import numpy as np
    from onnx import TensorProto
    from tf2onnx import utils
    from tf2onnx.graph_builder import GraphBuilder

    builder = GraphBuilder(graph)
    source, shape = node.input[0], graph.get_shape(node.output[0])
    boundaries = np.array(node.get_attr("boundaries").floats, np.float32)
    limits = graph.make_const(utils.make_name("boundaries"), boundaries).output[0]

    def add(operator: str, *inputs: str, **attributes: int) -> str:
        made = graph.make_node(operator, list(inputs), attr=attributes)
        return str(made.output[0])

    number = add("Cast", source, to=TensorProto.FLOAT)
    axis = [len(graph.get_shape(source))]
    column = builder.make_unsqueeze({"data": number, "axes": axis})
    above = add("Cast", add("Not", add("Less", column, limits)), to=TensorProto.FLOAT)
    count = builder.make_reduce_sum({"data": above, "axes": axis, "keepdims": 0})
    name, outputs = node.name, node.output
    graph.remove_node(name)
    graph.make_node(
        "Cast",
        [count],
        name=name,
        outputs=outputs,
        attr={"to": TensorProto.INT32},
        shapes=[shape],
        dtypes=[TensorProto.INT32],
    )


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
