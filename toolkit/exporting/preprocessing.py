"""Moves preprocessing from the caller into the graph, so that the model takes pixels as decoded.

    image uint8  ->  Cast float32  ->  Mul scale  ->  Add offset  ->  the Keras model

Only what the affine form needs is written: division by 255 is Cast and Mul. The pass `fold_scale`
then moves a factor that is alone into the weights behind it. Quantization can use such an input
as its first quantized tensor at no cost.
"""

import numpy as np
import onnx_ir as ir

from toolkit.contract import Affine, InputSpec
from toolkit.graph.editing import add_initializer


def add_preprocessing(model: ir.Model, before: InputSpec, after: InputSpec) -> None:
    """Give an ONNX graph the input ``after`` in place of ``before``, in place.

    The new nodes cast to the old input's dtype and compute what ``before`` left to the caller,
    x * scale + offset, in float32. What the model does itself stays as it is.
    """
    if before.dtype == after.dtype:
        return
    graph = model.graph
    old = next(value for value in graph.inputs if value.name == before.name)
    old_type = old.dtype
    if old_type is None:
        raise ValueError(f"the input '{before.name}' has no type")
    uses = list(old.uses())
    nodes = [ir.node("Cast", [old], attributes={"to": ir.DataType.FLOAT.value})]
    affine = before.by_caller or Affine((1.0,), (0.0,))
    channels_first = after.image is not None and after.image.layout == "NCHW"
    for operator, values, neutral in (("Mul", affine.scale, 1.0), ("Add", affine.offset, 0.0)):
        if any(value != neutral for value in values):
            array = np.asarray(values[:1] if len(set(values)) == 1 else values, np.float32)
            if array.size == 1:
                array = array.reshape(())
            elif channels_first:
                array = array.reshape(-1, 1, 1)
            name = f"{before.name}_{'scale' if operator == 'Mul' else 'offset'}"
            operand = add_initializer(graph, name, array)
            nodes.append(ir.node(operator, [nodes[-1].outputs[0], operand]))
    if old_type != ir.DataType.FLOAT:
        nodes.append(ir.node("Cast", [nodes[-1].outputs[0]], attributes={"to": old_type.value}))
    for number, node in enumerate(nodes):
        node.name = f"preprocess/{before.name}/{node.op_type}_{number}"
        node.outputs[0].name = f"{node.name}:0"
    prepared = nodes[-1].outputs[0]
    graph.insert_before(graph[0], nodes)
    for node, index in uses:
        node.replace_input_with(index, prepared)
    old.dtype = ir.DataType[after.dtype.upper()]
