"""Converts small Keras models for tests/test_graph_passes.py: a script that holds TensorFlow.

    python graph_keras_exports.py FOLDER

writes NAME.onnx, as tf2onnx gives it and without any pass, and NAME.npz with the input x and the
scores y that Keras computes for it.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 3


def models() -> dict[str, Callable[[], Any]]:
    import keras
    from keras import layers

    def stack(shape: tuple[int | None, ...], *parts: Any) -> keras.Model:
        return keras.Sequential([keras.Input(shape, name="image"), *parts])

    def digits(size: int, channels: int = 1) -> keras.Model:
        return stack(
            (size, size, channels),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(10, activation="softmax"),
        )

    def residual() -> keras.Model:
        image = keras.Input((12, 12, 3), name="image")
        x = layers.Conv2D(8, 3, padding="same")(image)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        y = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same")(x))
        x = layers.ReLU()(layers.Add()([x, y]))
        x = layers.Concatenate()([x, layers.MaxPooling2D(3, 1, padding="same")(x)])
        x = layers.BatchNormalization()(layers.DepthwiseConv2D(3, use_bias=False)(x))
        x = layers.PReLU()(layers.PReLU(shared_axes=[1, 2])(x))
        squeezed = layers.GlobalAveragePooling2D(keepdims=True)(x)
        squeezed = layers.Conv2D(4, 1, activation="relu")(squeezed)
        x = layers.Multiply()([x, layers.Conv2D(16, 1, activation="sigmoid")(squeezed)])
        return keras.Model(image, layers.Dense(5)(layers.GlobalAveragePooling2D()(x)))

    def transformer() -> keras.Model:
        tokens = keras.Input((6, 8), name="tokens")
        x = layers.LayerNormalization()(tokens)
        x = layers.Add()([layers.MultiHeadAttention(2, 4)(x, x), tokens])
        y = layers.Dense(16, activation="gelu")(layers.LayerNormalization()(x))
        tanh = functools.partial(keras.activations.gelu, approximate=True)
        return keras.Model(tokens, layers.Add()([x, layers.Dense(8, activation=tanh)(y)]))

    return {
        "digits": lambda: digits(28),
        "colours": lambda: digits(29, 3),
        "residual": residual,
        "transformer": transformer,
        "normalized between": lambda: stack(
            (8, 8, 3),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Conv2D(2, 1),
        ),
        "normalized dense": lambda: stack(
            (8,), layers.Dense(4), layers.BatchNormalization(), layers.ReLU(), layers.Dense(3)
        ),
        "transposed": lambda: stack(
            (8, 8, 3),
            layers.Conv2DTranspose(4, 3, strides=2, padding="same"),
            layers.BatchNormalization(),
        ),
        "one-dimensional": lambda: stack(
            (9, 3),
            layers.Conv1D(4, 3),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling1D(),
            layers.Conv1D(4, 3),
        ),
        "dense of rank 4": lambda: stack(
            (5, None, 3), layers.Dense(4, activation="relu"), layers.Dense(2)
        ),
        "groups": lambda: stack(
            (8, 8, 4), layers.Conv2D(4, 3), layers.GroupNormalization(2), layers.Conv2D(3, 3)
        ),
        "layer norm over two axes": lambda: stack(
            (5, 6, 8), layers.LayerNormalization(axis=[2, 3]), layers.LayerNormalization(axis=1)
        ),
        "padding and cropping": lambda: stack(
            (11, 11, 2),
            layers.Conv2D(8, 3),
            layers.Cropping2D(1),
            layers.ZeroPadding2D(2),
            layers.MaxPooling2D(3),
            layers.LeakyReLU(),
        ),
    }


def randomize(model: Any) -> None:
    """Give every weight a random value: fresh biases are 0, and vanish from the graph."""
    rng = np.random.default_rng(0)
    values: Sequence[np.ndarray] = [
        rng.uniform(0.5, 1.5, weight.shape)
        if "variance" in weight.path
        else rng.normal(0, 0.1, weight.shape)
        for weight in model.weights
    ]
    model.set_weights(values)


def main(folder: Path) -> None:
    import onnx

    from toolkit.exporting import keras_graph

    for name, build in models().items():
        model = build()
        randomize(model)
        proto = keras_graph.convert(model, keras_graph.read_signature(model), opset=17, batch=None)
        shape = [size or 4 for size in model.inputs[0].shape[1:]]
        x = np.random.default_rng(1).normal(0, 1, (BATCH, *shape)).astype(np.float32)
        onnx.save(proto, folder / f"{name}.onnx")
        np.savez(folder / f"{name}.npz", x=x, y=np.asarray(model(x, training=False)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
