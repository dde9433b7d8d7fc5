"""Turns a float16 graph into a float32 one that is fed and read as before.

    weights, Cast to float16, types of activations   ->  float32
    input x: float16                                 ->  x -> Cast to float32 -> ...
    output y: float16                                ->  ... -> Cast to float16 -> y

The quantizer's scales and the int8 kernels are float32; float16 on a CPU is only a format to
store weights in, and int8 replaces it.
"""

import numpy as np
import onnx_ir as ir

from toolkit.graph.editing import infer_shapes

_HALF, _SINGLE = ir.DataType.FLOAT16, ir.DataType.FLOAT


def widen_float16(model: ir.Model) -> int:
    """Widen the graph, in place; return how many weights and casts were widened."""
    graph = model.graph
    count = 0
    for value in list(graph.initializers.values()):
        if value.dtype == _HALF and value.const_value is not None:
            array = value.const_value.numpy().astype(np.float32)
            value.const_value = ir.tensor(array, name=value.name)
            value.dtype = _SINGLE
            count += 1
    for node in graph.all_nodes():
        for name in ("to", "dtype"):
            attribute = node.attributes.get(name)
            if attribute is not None and attribute.as_int() == _HALF:
                node.attributes[name] = ir.AttrInt64(name, int(_SINGLE))
                count += 1
    inputs = [value for value in graph.inputs if value.dtype == _HALF]
    outputs = [value for value in graph.outputs if value.dtype == _HALF]
    if not count and not inputs:
        return 0
    for node in graph.all_nodes():
        for value in node.outputs:
            if value.dtype == _HALF:
                value.dtype = _SINGLE
    for value in inputs:
        _widen_input(graph, value)
    for value in outputs:
        _narrow_output(graph, value)
    infer_shapes(model)
    return max(count, 1)


def _widen_input(graph: ir.Graph, value: ir.Value) -> None:
    cast = ir.node("Cast", [value], attributes={"to": int(_SINGLE)}, name=f"{value.name}_widen")
    cast.outputs[0].name = f"{value.name}_float32"
    cast.outputs[0].dtype, cast.outputs[0].shape = _SINGLE, value.shape
    for user, index in list(value.uses()):
        if user is not cast:
            user.replace_input_with(index, cast.outputs[0])
    first = next(iter(graph))
    graph.insert_before(first, cast)


def _narrow_output(graph: ir.Graph, value: ir.Value) -> None:
    position = list(graph.outputs).index(value)
    name = value.name
    cast = ir.node("Cast", [value], attributes={"to": int(_HALF)}, name=f"{name}_narrow")
    graph.append(cast)
    value.name = f"{name}_float32"
    cast.outputs[0].name = name
    cast.outputs[0].dtype, cast.outputs[0].shape = _HALF, value.shape
    graph.outputs[position] = cast.outputs[0]
