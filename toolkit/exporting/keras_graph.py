"""From a Keras model in memory to an ONNX model, through tf2onnx. Runs in the child process.

The converters that Keras and tf2onnx offer for Keras 3 lose or refuse common layers; this way
works for all of them, in these steps:

1. trace the model's call to a concrete function, with the inlining that grouped convolutions need
   (Keras wraps them in ``tf.function(jit_compile=True)``, a call that tf2onnx cannot see into);
2. freeze its variables, and the constant tensors that it captured (``Normalization`` keeps its
   mean and variance as such);
3. let TensorFlow fold constants, then let tf2onnx map every operator.
"""

import copy
import gc
import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest import mock

from toolkit.exporting import handlers

# Freezing fails with this text when a model assigns to its own variables (the seed generators of
# random layers do); tf2onnx has a second way that removes the assignments.
_ASSIGNED_VARIABLE = "incompatible with expected resource"


@dataclass(frozen=True)
class Tensor:
    """An input or output of a Keras model; a size of None is dynamic, the batch included."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Signature:
    """What a Keras model takes and gives, in the model's own order."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def read_signature(model: Any) -> Signature:
    """Return names, dtypes and shapes of a built Keras model.

    Names are the keys of dictionaries where the model has them, else those of the layers, as
    ``model.summary()`` shows them; equal names get a number.

    Raises:
        ValueError: The model has no inputs, or was never built.
    """
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        raise ValueError("the model has no inputs or was never built")
    taken: set[str] = set()
    inputs = [
        Tensor(_unique(name, taken), tensor.dtype, tuple(tensor.shape))
        for name, tensor in _named(getattr(model, "_inputs_struct", None), model.inputs)
    ]
    outputs = [
        Tensor(_unique(name, taken), tensor.dtype, tuple(tensor.shape))
        for name, tensor in _named(getattr(model, "_outputs_struct", None), model.outputs)
    ]
    return Signature(tuple(inputs), tuple(outputs))


def call(model: Any, tensors: Sequence[Any]) -> list[Any]:
    """Call the model on flat inputs in the signature's order and return its flat outputs."""
    import keras

    structure = getattr(model, "_inputs_struct", None)
    if isinstance(structure, dict | list | tuple):
        arguments = keras.tree.pack_sequence_as(structure, list(tensors))
    else:
        arguments = tensors[0] if len(tensors) == 1 else list(tensors)
    return list(keras.tree.flatten(model(arguments, training=False)))


def convert(model: Any, signature: Signature, *, opset: int, batch: int | None) -> Any:
    """Return the ONNX ModelProto that computes what the Keras model computes.

    Args:
        model: A built Keras model on the TensorFlow backend.
        signature: Of that model; its names become the graph's names.
        opset: ONNX opset, 11 to 18.
        batch: A fixed batch size, or None for a dynamic one.

    Operators that tf2onnx does not know stay in the graph under their TensorFlow names.
    """
    import tensorflow as tf
    from tf2onnx import optimizer, tf_loader, tfonnx

    handlers.register()
    names = [tensor.name for tensor in (*signature.inputs, *signature.outputs)]
    with tf.device("/cpu:0"):
        frozen, inputs, outputs = _frozen_graph(model, signature, batch)
        # The traced function holds the weights twice, and reference cycles hold the function.
        gc.collect()
        with tf.Graph().as_default():
            frozen = tf_loader.tf_optimize(inputs, outputs, frozen)
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(frozen, name="")
            del frozen
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
    return converted.make_model(model.name)


def _frozen_graph(
    model: Any, signature: Signature, batch: int | None
) -> tuple[Any, list[str], list[str]]:
    """Return a GraphDef without variables, and the names of its input and output tensors."""
    import keras
    import tensorflow as tf
    from tensorflow.python.framework import convert_to_constants
    from tf2onnx import tf_loader

    def outputs_of(*tensors: Any) -> list[Any]:
        # An identity each: one tensor may be two outputs, or an input may be an output.
        return [tf.identity(tensor) for tensor in call(model, tensors)]

    specs = [
        tf.TensorSpec([batch, *tensor.shape[1:]], tensor.dtype, name=f"input_{index}")
        for index, tensor in enumerate(signature.inputs)
    ]
    traced = tf.function(outputs_of, input_signature=specs)
    with (
        mock.patch.object(tf, "function", _inlined),
        # Keras opens each layer's scope twice, so that every name would get a number.
        mock.patch.object(keras.Layer, "_open_name_scope", _layer_scope(model), create=True),
        # Keras reads the sign out of the bits of a float, for which ONNX has no operators; its
        # arg-max asks for it.
        mock.patch.object(keras.src.backend.tensorflow.numpy, "signbit", _signbit, create=True),
    ):
        function = traced.get_concrete_function()
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
    inputs = [
        tensor.name
        for tensor in frozen.inputs
        if tensor.op.name not in captured and tensor.dtype != tf.resource
    ]
    return graph_def, inputs, [tensor.name for tensor in frozen.outputs]


def _inlined(function: Any = None, **_: object) -> Any:
    """Stand in for ``tf.function`` while tracing: leave the function as it is."""
    return (lambda decorated: decorated) if function is None else function


def _signbit(x: Any) -> Any:
    """Tell which numbers have a sign, -0.0 included: 1 / -0.0 is minus infinity."""
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    if not x.dtype.is_floating:
        return tf.less(tf.cast(x, tf.int32), 0)
    return tf.logical_or(tf.less(x, 0), tf.less(tf.math.reciprocal(x), 0))


def _layer_scope(model: Any) -> Any:
    """Return a method that names operators by their layers: ``conv2d_1/Relu``.

    The model's own name is left out. A scope that ends in a slash is entered again as it is.
    """
    import tensorflow as tf

    def scope(layer: Any) -> Any:
        parent = tf.get_current_name_scope()
        name = "" if layer is model else re.sub(r"[^A-Za-z0-9_.-]", "_", layer.name)
        path = "/".join(filter(None, (parent, name)))
        return tf.name_scope(f"{path}/" if path else "")

    return scope


def _thrifty_deepcopy(value: Any) -> Any:
    """Copy a graph after freeing earlier copies, which hold reference cycles.

    tf2onnx copies the whole graph, weights included, before each of its optimizers; left to
    itself, Python's collector lets several copies pile up.
    """
    gc.collect()
    return copy.deepcopy(value)


def _named(structure: Any, tensors: Sequence[Any]) -> list[tuple[str, Any]]:
    """Pair each tensor with its name: its key in a dictionary, or its layer's name."""
    import keras

    if not isinstance(structure, dict):
        return [(tensor._keras_history.operation.name, tensor) for tensor in tensors]
    return [(str(path[-1]), tensor) for path, tensor in keras.tree.flatten_with_path(structure)]


def _unique(name: str, taken: set[str]) -> str:
    """Return the name, with a number when it is taken, and note it."""
    number, candidate = 0, name
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    taken.add(candidate)
    return candidate
