"""Models that Keras 2 wrote, loaded by the package that carries it on, tf_keras."""

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np

from toolkit.errors import MissingPackageError
from toolkit.exporting import keras_contract, refusals, tf_graph
from toolkit.exporting.signature import Signature, Tensor, unique
from toolkit.exporting.sources import custom_objects
from toolkit.exporting.sources.keras3 import categories, takes_pixels
from toolkit.exporting.sources.model import Array, SourceModel, refusing
from toolkit.exporting.sources.source import Source
from toolkit.quiet_tensorflow import import_tensorflow

INSTALL = "pip install 'toolkit[keras2]'"


def is_installed() -> bool:
    """Tell whether tf_keras is there, without importing it."""
    return importlib.util.find_spec("tf_keras") is not None


def load(source: Source, version: str) -> SourceModel:
    """Load a file that Keras 2 wrote.

    Args:
        source: A .keras or HDF5 file that was checked for code.
        version: Of the Keras that wrote it, for messages.

    Raises:
        MissingPackageError: tf_keras is not installed.
        ModelError: tf_keras does not load it.
    """
    path = str(source.path)
    if not is_installed():
        raise MissingPackageError(
            f"'{path}' was written by Keras {version}, and Keras 3 does not load it. tf_keras "
            f"does: {INSTALL}"
        )
    import_tensorflow()
    import tf_keras

    with refusing(path, f"cannot be loaded by tf_keras {tf_keras.__version__}"):
        model = tf_keras.models.load_model(
            path,
            compile=False,
            safe_mode=not source.unsafe_load,
            custom_objects=custom_objects.load(source.custom_objects),
        )
        return _describe(model, source)


def _describe(model: Any, source: Source) -> SourceModel:
    import tensorflow as tf
    import tf2onnx
    import tf_keras

    path = str(source.path)
    signature = _signature(model)

    def call(*tensors: Any) -> list[Any]:
        structure = getattr(model, "_nested_inputs", None)
        if isinstance(structure, dict | list | tuple):
            arguments = tf.nest.pack_sequence_as(structure, list(tensors))
        else:
            arguments = tensors[0] if len(tensors) == 1 else list(tensors)
        return list(tf.nest.flatten(model(arguments, training=False)))

    def run(arrays: Sequence[Array]) -> list[Array]:
        with refusing(path, "cannot be run by tf_keras"):
            return [np.asarray(output) for output in call(*map(tf.constant, arrays))]

    def convert(opset: int, batch: int | None) -> Any:
        names = [tensor.name for tensor in (*signature.inputs, *signature.outputs)]

        def freeze() -> tf_graph.Frozen:
            traced = tf_graph.trace(call, signature.inputs, batch)
            return tf_graph.freeze(traced.get_concrete_function())

        return tf_graph.to_onnx(freeze, names, model.name, opset)

    return SourceModel(
        computed_by="Keras 2",
        contract=keras_contract.fit(
            source.contract,
            signature,
            name=str(model.name),
            kinds=[keras_contract.output_kind(tensor) for tensor in model.outputs],
            source=path,
        ),
        run=run,
        convert=convert,
        versions={
            "tf_keras": tf_keras.__version__,
            "tensorflow": tf.__version__,
            "tf2onnx": tf2onnx.__version__,
        },
        refuse=lambda: refusals.refuse_layers(model, path),
        layers=refusals.layer_classes(model),
        categories=categories(model),
        takes_pixels=takes_pixels(model),
    )


def _signature(model: Any) -> Signature:
    """Return names, dtypes and shapes; names are keys of dictionaries, else those of layers."""
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        raise ValueError("the model has no inputs or was never built")
    taken: set[str] = set()
    found = []
    for structure, tensors, names in (
        (getattr(model, "_nested_inputs", None), model.inputs, model.input_names),
        (getattr(model, "_nested_outputs", None), model.outputs, model.output_names),
    ):
        if isinstance(structure, dict):  # tf.nest flattens dictionaries in this order
            names = sorted(structure)
        found.append(
            tuple(
                Tensor(unique(name, taken), tensor.dtype.name, tuple(tensor.shape.as_list()))
                for name, tensor in zip(names, tensors, strict=True)
            )
        )
    return Signature(*found)
