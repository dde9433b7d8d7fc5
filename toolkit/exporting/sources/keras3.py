"""Models that Keras 3 loads: ``.keras`` and HDF5 files."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from toolkit.contract import Contract
from toolkit.exporting import keras_contract, keras_graph, refusals
from toolkit.exporting.leading_layers import leading_preprocessing
from toolkit.exporting.sources import custom_objects, keras_building
from toolkit.exporting.sources.model import Array, SourceModel, refusing
from toolkit.exporting.sources.source import Source
from toolkit.quiet_tensorflow import import_tensorflow


def load(source: Source) -> SourceModel:
    """Load a Keras file, with Keras' safe mode on unless its code may run.

    Raises:
        ModelError: Keras does not load it.
    """
    path = str(source.path)
    import_tensorflow()
    import keras

    remedy = ""
    if source.unsafe_load and source.custom_objects is None:
        remedy = " (--custom-objects FILE.py names the file that defines its own classes)"
    with refusing(path, f"cannot be loaded by Keras {keras.__version__}{remedy}"):
        model = keras.saving.load_model(
            path,
            compile=False,
            safe_mode=not source.unsafe_load,
            custom_objects=custom_objects.load(source.custom_objects),
        )
        return describe(keras_building.functional(model), path, source.contract)


def describe(model: Any, source: str, known: Contract | None = None) -> SourceModel:
    """Return what `export` needs of a Keras model.

    Args:
        model: A built Keras model on the TensorFlow backend.
        source: What to call its file.
        known: The contract that the file carries, or None.

    Raises:
        ValueError: The model has no inputs, or was never built.
        ModelError: The contract is that of another model.
    """
    import keras
    import tensorflow as tf
    import tf2onnx

    signature = keras_graph.read_signature(model)

    def run(tensors: Sequence[Array]) -> list[Array]:
        with refusing(source, "cannot be run by Keras"):
            outputs = keras_graph.call(model, [tf.convert_to_tensor(tensor) for tensor in tensors])
            return [np.asarray(output) for output in outputs]

    def convert(opset: int, batch: int | None) -> Any:
        return keras_graph.convert(model, signature, opset=opset, batch=batch)

    return SourceModel(
        computed_by="Keras",
        contract=keras_contract.with_own_preprocessing(
            keras_contract.fit(
                known,
                signature,
                name=str(model.name),
                kinds=[keras_contract.output_kind(tensor) for tensor in model.outputs],
                source=source,
            ),
            leading_preprocessing(model),
        ),
        run=run,
        convert=convert,
        versions={
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "tf2onnx": tf2onnx.__version__,
        },
        refuse=lambda: refusals.refuse_layers(model, source),
        layers=refusals.layer_classes(model),
        categories=categories(model),
        takes_pixels=takes_pixels(model),
    )


def categories(model: Any) -> int:
    """Return how many values an integer input may have: what the smallest embedding knows."""
    known = [
        int(value)
        for layer in model._flatten_layers()
        for value in (getattr(layer, "input_dim", None), getattr(layer, "num_tokens", None))
        if isinstance(value, int) and value > 0
    ]
    return min(known, default=10)


def takes_pixels(model: Any) -> bool:
    """Tell whether the model scales its inputs down itself, as those that take 0 to 255 do."""
    return any(
        type(layer).__name__ == "Rescaling" and float(np.max(np.abs(layer.scale))) < 0.1
        for layer in model._flatten_layers()
    )
