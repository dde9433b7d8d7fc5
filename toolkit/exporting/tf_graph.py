"""From a TensorFlow function to an ONNX model, through tf2onnx. Runs in the child process.

1. freeze the function's variables, and the constant tensors that it captured (Keras'
   ``Normalization`` keeps its mean and variance as such);
2. let TensorFlow fold constants, then let tf2onnx map every operator.
"""

import copy
import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest import mock

from toolkit.exporting import handlers
from toolkit.exporting.signature import Tensor

# Freezing fails with this text when a model assigns to its own variables (the seed generators of
# random layers do); tf2onnx has a second way that removes the assignments.
_ASSIGNED_VARIABLE = "incompatible with expected resource"


@dataclass(frozen=True)
class Frozen:
    """A GraphDef without variables, and the names of its input and output tensors."""

    graph_def: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def trace(function: Callable[..., list[Any]], inputs: Sequence[Tensor], batch: int | None) -> Any:
    """Return the TensorFlow function of flat tensors, to be made concrete by the caller.

    Args:
        function: Takes one tensor for each input and returns the flat outputs.
        inputs: What it takes.
        batch: A fixed batch size, or None for a dynamic one.
    """
    import tensorflow as tf

    def outputs_of(*tensors: Any) -> list[Any]:
        # An identity each: one tensor may be two outputs, or an input may be an output.
        return [tf.identity(tensor) for tensor in function(*tensors)]

    specs = [
        tf.TensorSpec(
            [batch, *(size if isinstance(size, int) else None for size in tensor.shape[1:])],
            tensor.dtype,
            name=f"input_{index}",
        )
        for index, tensor in enumerate(inputs)
    ]
    return tf.function(outputs_of, input_signature=specs)


def freeze(function: Any) -> Frozen:
    """Return the graph of a concrete function with its variables and captures as constants."""
    import tensorflow as tf
    from tensorflow.python.framework import convert_to_constants
    from tf2onnx import tf_loader

    try:
        frozen = convert_to_constants.convert_variables_to_constants_v2(
            function, lower_control_flow=False, aggressive_inlining=True
        )
        graph_def = frozen.graph.as_graph_def(add_shapes=True)
    except ValueError as error:
        if _ASSIGNED_VARIABLE not in str(error):
            raise
        frozen = function
        graph_def = tf_loader.fix_freezing_errors(
            tf_loader.convert_variables_to_constants_large_model(function)
        )
    graph_def = tf_loader.fix_freezing_errors_part2(graph_def)

    captured = {
        placeholder.op.name: value
        for value, placeholder in function.graph.captures
        if value.dtype != tf.resource
    }
    for node in graph_def.node:
        if node.op == "Placeholder" and node.name in captured:
            name, dtype = node.name, node.attr["dtype"].type
            node.Clear()
            node.name, node.op = name, "Const"
            node.attr["dtype"].type = dtype
            constant = tf.make_tensor_proto(captured[name].numpy())
            node.attr["value"].tensor.CopyFrom(constant)
    _see_into(graph_def)
    inputs = tuple(
        tensor.name
        for tensor in frozen.inputs
        if tensor.op.name not in captured and tensor.dtype != tf.resource
    )
    return Frozen(graph_def, inputs, tuple(tensor.name for tensor in frozen.outputs))


def _see_into(graph_def: Any) -> None:
    """Let TensorFlow put functions that are compiled as a whole where they are called, in place.

    Keras wraps grouped convolutions in one; a SavedModel holds it as such.
    """
    nodes = [*graph_def.node, *(node for f in graph_def.library.function for node in f.node_def)]
    for holder in (*nodes, *graph_def.library.function):
        for name in ("_XlaMustCompile", "_noinline"):
            holder.attr.pop(name, None)


def to_onnx(freezer: Callable[[], Frozen], names: Sequence[str], name: str, opset: int) -> Any:
    """Return the ONNX ModelProto of a frozen graph.

    Args:
        freezer: Makes the graph. Called once; the graph holds all weights, so that nothing else
            should keep it.
        names: What to call the inputs, then the outputs.
        name: What to call the graph.
        opset: ONNX opset, 11 to 18.

    Operators that tf2onnx does not know stay in the graph under their TensorFlow names.
    """
    import tensorflow as tf
    from tf2onnx import optimizer, tf_loader, tfonnx

    handlers.register()
    with tf.device("/cpu:0"):
        frozen = freezer()
        graph_def, inputs, outputs = frozen.graph_def, list(frozen.inputs), list(frozen.outputs)
        del frozen
        # The traced function holds the weights twice, and reference cycles hold the function.
        gc.collect()
        with tf.Graph().as_default():
            graph_def = tf_loader.tf_optimize(inputs, outputs, graph_def)
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(graph_def, name="")
            del graph_def
            gc.collect()
            converted = tfonnx.process_tf_graph(
                graph,
                continue_on_error=True,
                opset=opset,
                input_names=inputs,
                output_names=outputs,
                tensors_to_rename=dict(zip((*inputs, *outputs), names, strict=True)),
            )
            # What is alive now stays alive: leave it out of the collections that follow.
            gc.freeze()
            with mock.patch.object(optimizer, "copy", SimpleNamespace(deepcopy=_thrifty_deepcopy)):
                converted = optimizer.optimize_graph(converted)
    return converted.make_model(name)


def _thrifty_deepcopy(value: Any) -> Any:
    """Copy a graph after freeing earlier copies, which hold reference cycles.

    tf2onnx copies the whole graph, weights included, before each of its optimizers; left to
    itself, Python's collector lets several copies pile up.
    """
    gc.collect()
    return copy.deepcopy(value)
