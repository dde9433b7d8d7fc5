"""Folds a batch normalization into the convolution before it.

    BatchNormalization(Conv(x, W, b))  ->  Conv(x, W * f, (b - mean) * f + beta)
    f = gamma / sqrt(var + epsilon), one factor per output channel

onnxruntime does the same when it loads a float model; for int8 it has to be done before the
weights are rounded.
"""

import numpy as np
import onnx_ir as ir

from toolkit.graph.editing import add_initializer, constant, infer_shapes, replace, sole_use

_EPSILON = 1e-5  # the operator's default


def fold_batchnorm(model: ir.Model) -> int:
    """Fold batch normalizations, in place; return how many."""
    count = 0
    for convolution in list(model.graph.all_nodes()):
        if convolution.op_type != "Conv" or convolution.domain != "":
            continue
        normalization = sole_use(convolution.outputs[0])
        if normalization is not None and normalization.op_type == "BatchNormalization":
            count += _fold(convolution, normalization)
    if count:
        infer_shapes(model)
    return count


def _fold(convolution: ir.Node, normalization: ir.Node) -> bool:
    graph = convolution.graph
    bias = convolution.inputs[2] if len(convolution.inputs) > 2 else None
    weight = constant(convolution.inputs[1])
    parameters = [constant(value) for value in normalization.inputs[1:5]]
    extra_outputs = any(output.uses() for output in normalization.outputs[1:])
    training = normalization.attributes.get("training_mode")
    if (
        not isinstance(graph, ir.Graph)
        or weight is None
        or weight.dtype != np.float32
        or any(parameter is None for parameter in parameters)
        or (bias is not None and constant(bias) is None)
        or extra_outputs
        or (training is not None and training.as_int() != 0)
    ):
        return False
    gamma, beta, mean, variance = (np.asarray(parameter, np.float64) for parameter in parameters)
    attribute = normalization.attributes.get("epsilon")
    epsilon = _EPSILON if attribute is None else attribute.as_float()
    factor = gamma / np.sqrt(variance + epsilon)
    old_bias = np.zeros_like(mean) if bias is None else np.asarray(constant(bias), np.float64)
    shape = (-1,) + (1,) * (weight.ndim - 1)
    name = convolution.inputs[1].name if convolution.inputs[1] is not None else convolution.name
    folded = [
        add_initializer(
            graph, f"{name}_folded", (weight * factor.reshape(shape)).astype(np.float32)
        ),
        add_initializer(
            graph, f"{name}_bias_folded", ((old_bias - mean) * factor + beta).astype(np.float32)
        ),
    ]
    joined = ir.node(
        "Conv",
        [convolution.inputs[0], *folded],
        attributes=dict(convolution.attributes),
        name=convolution.name,
    )
    _drop_extra_outputs(normalization)
    replace(normalization, joined)
    graph.remove(convolution, safe=True)
    return True


def _drop_extra_outputs(node: ir.Node) -> None:
    if len(node.outputs) > 1:
        node.resize_outputs(1)
