"""From a Keras 3 model in memory to a TensorFlow function, and from there to ONNX.

The converters that Keras and tf2onnx offer for Keras 3 lose or refuse common layers; this way
works for all of them: the model's call is traced with the inlining that grouped convolutions need
(Keras wraps them in ``tf.function(jit_compile=True)``, a call that tf2onnx cannot see into), and
what is traced is frozen and converted by `toolkit.exporting.tf_graph`. Runs in the child process.
"""

import re
from collections.abc import Sequence
from typing import Any
from unittest import mock

from toolkit.exporting import tf_graph
from toolkit.exporting.signature import Signature, Tensor, unique


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
        Tensor(unique(name, taken), tensor.dtype, _shape(model, tensor))
        for name, tensor in _named(getattr(model, "_inputs_struct", None), model.inputs)
    ]
    outputs = [
        Tensor(unique(name, taken), tensor.dtype, _shape(model, tensor))
        for name, tensor in _named(getattr(model, "_outputs_struct", None), model.outputs)
    ]
    return Signature(tuple(inputs), tuple(outputs))


def _shape(model: Any, tensor: Any) -> tuple[int | None, ...]:
    """Return the shape of a symbolic tensor, with the batch that the model is bound to, if any.

    A Sequential model without an Input takes the batch of its first call for its shape; that binds
    it to nothing, as long as no layer keeps a state for each sample.
    """
    import keras

    bound = not isinstance(model, keras.Sequential) or any(
        getattr(layer, "stateful", False) for layer in model._flatten_layers()
    )
    return tuple(tensor.shape) if bound else (None, *tensor.shape[1:])


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
    names = [tensor.name for tensor in (*signature.inputs, *signature.outputs)]
    return tf_graph.to_onnx(
        lambda: tf_graph.freeze(_traced(model, signature, batch)), names, model.name, opset
    )


def _traced(model: Any, signature: Signature, batch: int | None) -> Any:
    """Return the concrete function of the model's call."""
    import keras
    import tensorflow as tf

    traced = tf_graph.trace(lambda *tensors: call(model, tensors), signature.inputs, batch)
    with (
        mock.patch.object(tf, "function", _inlined),
        # Keras opens each layer's scope twice, so that every name would get a number.
        mock.patch.object(keras.Layer, "_open_name_scope", _layer_scope(model), create=True),
        # Keras reads the sign out of the bits of a float, for which ONNX has no operators; its
        # arg-max asks for it.
        mock.patch.object(keras.src.backend.tensorflow.numpy, "signbit", _signbit, create=True),
    ):
        return traced.get_concrete_function()


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


def _named(structure: Any, tensors: Sequence[Any]) -> list[tuple[str, Any]]:
    """Pair each tensor with its name: its key in a dictionary, or its layer's name."""
    import keras

    if not isinstance(structure, dict):
        return [(tensor._keras_history.operation.name, tensor) for tensor in tensors]
    return [(str(path[-1]), tensor) for path, tensor in keras.tree.flatten_with_path(structure)]
