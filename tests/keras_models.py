"""Small Keras models for the tests of export: one layer each, or one kind of model each."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

IMAGE = (8, 8, 3)
SEQUENCE = (6, 4)


def import_keras() -> Any:
    from toolkit.quiet_tensorflow import import_tensorflow

    import_tensorflow()
    import keras

    return keras


def single(layer: Callable[[Any], Any], shape=IMAGE, dtype="float32") -> Callable[[], Any]:
    """A functional model of one layer; `layer` gets keras.layers."""

    def build() -> Any:
        keras = import_keras()
        x = keras.Input(shape, dtype=dtype)
        return keras.Model(x, layer(keras.layers)(x))

    return build


def randomise(model: Any, seed: int = 0) -> Any:
    """Give weights, biases and statistics values for which a lost one shows."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if str(weight.dtype).startswith("float"):
            values = rng.normal(0, 0.5, weight.shape)
            positive = any(part in weight.path for part in ("variance", "gamma"))
            weight.assign(np.abs(values) + 0.3 if positive else values)
    return model


def mnist_cnn(seed: int = 0, **options: Any) -> Any:
    """The network of the zoo, untrained; `seed` makes its weights."""
    keras = import_keras()
    layers = keras.layers
    return randomise(
        keras.Sequential(
            [
                keras.Input((28, 28, 1), name="image"),
                layers.Conv2D(4, 3, activation="relu"),
                layers.MaxPooling2D(2),
                layers.Conv2D(8, 3, activation="relu"),
                layers.MaxPooling2D(2),
                layers.Flatten(),
                layers.Dense(16, activation="relu"),
                layers.Dense(10, activation="softmax", name="probabilities"),
            ],
            name="small_cnn",
            **options,
        ),
        seed,
    )


LAYERS = {
    "Conv2D, strided, padded": single(lambda k: k.Conv2D(4, 3, strides=2, padding="same")),
    "Conv2D, dilated": single(lambda k: k.Conv2D(4, 3, dilation_rate=2)),
    "Conv2D, grouped": single(lambda k: k.Conv2D(6, 3, groups=3)),
    "Conv1D, grouped": single(lambda k: k.Conv1D(4, 3, groups=2), SEQUENCE),
    "Conv3D": single(lambda k: k.Conv3D(3, 2), (5, 5, 5, 2)),
    "Conv3D, grouped": single(lambda k: k.Conv3D(4, 2, groups=2), (5, 5, 5, 2)),
    "DepthwiseConv2D": single(lambda k: k.DepthwiseConv2D(3)),
    "SeparableConv2D": single(lambda k: k.SeparableConv2D(5, 3)),
    "Conv2DTranspose": single(lambda k: k.Conv2DTranspose(4, 3, strides=2, padding="same")),
    "BatchNormalization": single(lambda k: k.BatchNormalization()),
    "LayerNormalization": single(lambda k: k.LayerNormalization()),
    "GroupNormalization": single(lambda k: k.GroupNormalization(2), (8, 8, 4)),
    "Normalization": single(
        lambda k: k.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])
    ),
    "Rescaling": single(lambda k: k.Rescaling(1 / 127.5, -1)),
    "Resizing": single(lambda k: k.Resizing(5, 7)),
    "Resizing, bicubic": single(lambda k: k.Resizing(5, 11, interpolation="bicubic")),
    "Resizing, area": single(lambda k: k.Resizing(5, 11, interpolation="area")),
    "Resizing, antialiased": single(lambda k: k.Resizing(5, 11, antialias=True)),
    "UpSampling2D, lanczos": single(lambda k: k.UpSampling2D((2, 3), interpolation="lanczos3")),
    "UpSampling2D": single(lambda k: k.UpSampling2D()),
    "MaxPooling2D, padded": single(lambda k: k.MaxPooling2D(3, 2, padding="same")),
    "GlobalAveragePooling2D": single(lambda k: k.GlobalAveragePooling2D()),
    "Dense on pictures": single(lambda k: k.Dense(5)),
    "EinsumDense": single(lambda k: k.EinsumDense("abc,cd->abd", output_shape=(None, 3)), SEQUENCE),
    "glu": single(lambda k: k.Activation("glu"), SEQUENCE),
    "gelu": single(lambda k: k.Activation("gelu")),
    "celu": single(lambda k: k.Activation("celu")),
    "LSTM": single(lambda k: k.LSTM(5), SEQUENCE),
    "GRU": single(lambda k: k.GRU(5), SEQUENCE),
    "Bidirectional": single(lambda k: k.Bidirectional(k.LSTM(3)), SEQUENCE),
    "LSTM of any length": single(lambda k: k.LSTM(5), (None, 4)),
    "TimeDistributed": single(lambda k: k.TimeDistributed(k.Conv2D(2, 3)), (3, 8, 8, 3)),
    "Embedding": single(lambda k: k.Embedding(11, 3), (5,), "int32"),
    "CategoryEncoding": single(lambda k: k.CategoryEncoding(7), (5,), "int32"),
    "Discretization": single(lambda k: k.Discretization(bin_boundaries=[-0.5, 0.0, 0.5]), (4,)),
    "Discretization, one-hot": single(
        lambda k: k.Discretization(bin_boundaries=[-0.5, 0.5], output_mode="one_hot"), (1,)
    ),
    "MelSpectrogram": single(lambda k: k.MelSpectrogram(fft_length=256), (2000,)),
    "Dropout": single(lambda k: k.Dropout(0.5)),
    "RandomFlip": single(lambda k: k.RandomFlip()),
}


def _attention() -> Any:
    keras = import_keras()
    x = keras.Input((6, 8))
    return keras.Model(x, keras.layers.MultiHeadAttention(2, 4)(x, x))


def _padded_pooling() -> Any:
    keras = import_keras()
    layers = keras.layers
    x = keras.Input(IMAGE)
    padded = layers.ZeroPadding2D(1)(layers.Conv2D(4, 3)(x))
    return keras.Model(x, layers.MaxPooling2D(3, 2)(padded))


def _several() -> Any:
    keras = import_keras()
    layers = keras.layers
    a, b = keras.Input((4,), name="left"), keras.Input((3,), name="right")
    hidden = layers.Dense(5, name="hidden")(layers.Concatenate()([a, b]))
    return keras.Model([a, b], [hidden, layers.Dense(2, name="scores")(hidden)])


def _dictionaries() -> Any:
    keras = import_keras()
    layers = keras.layers
    a, b = keras.Input((4,), name="left"), keras.Input((3,), name="right")
    hidden = layers.Dense(5)(layers.Concatenate()([a, b]))
    return keras.Model(
        {"left": a, "right": b}, {"features": hidden, "classes": layers.Dense(2)(hidden)}
    )


def _nested() -> Any:
    keras = import_keras()
    layers = keras.layers
    inner = keras.Sequential(
        [keras.Input(IMAGE), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(4)], name="inner"
    )
    x = keras.Input(IMAGE)
    return keras.Model(x, layers.Add()([inner(x), inner(layers.ReLU()(x))]))


def _passed_through() -> Any:
    keras = import_keras()
    x = keras.Input((4,), name="given")
    hidden = keras.layers.Dense(5, name="hidden")(x)
    return keras.Model(x, [x, hidden, hidden])


def _arg_max() -> Any:
    keras = import_keras()
    x = keras.Input((4,), name="scores")
    return keras.Model(x, keras.ops.argmax(x * keras.ops.cast(x > 0, "float32"), axis=-1))


def _never_called() -> Any:
    keras = import_keras()
    model = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(2)])
    model.build((None, 3))
    return model


def _called_without_input() -> Any:
    keras = import_keras()
    model = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(2)])
    model(np.zeros((4, 8), np.float32))
    return model


# Builders with the names of inputs and outputs that the ONNX model gets; None for Keras' counters.
MODELS: dict[str, tuple[Callable[[], Any], list[str] | None, list[str] | None]] = {
    "a network for digits": (mnist_cnn, ["image"], ["probabilities"]),
    "attention": (_attention, None, ["multi_head_attention"]),
    "zero padding before maximum pooling": (_padded_pooling, None, ["max_pooling2d"]),
    "several inputs and outputs": (_several, ["left", "right"], ["hidden", "scores"]),
    "dictionaries": (_dictionaries, ["left", "right"], ["classes", "features"]),
    "a shared model inside": (_nested, None, ["add"]),
    "an input and one tensor twice as outputs": (
        _passed_through,
        ["given"],
        ["given_1", "hidden", "hidden_1"],
    ),
    "the index of the largest": (_arg_max, ["scores"], None),
    "built, never called": (_never_called, None, None),
    "called, without an Input": (_called_without_input, None, None),
}

REFUSED = {
    "the layer .* \\(Resizing\\) needs .*'ResizeArea'.* input a fixed height": single(
        lambda k: k.Resizing(5, 7, interpolation="area"), (None, None, 3)
    ),
    "the layer .* \\(Resizing\\) needs .*'ScaleAndTranslate'.* without antialias": single(
        lambda k: k.Resizing(5, 7, antialias=True), (None, None, 3)
    ),
    "the layer .* \\(Conv2D\\) computes in mixed_bfloat16": single(
        lambda k: k.Conv2D(3, 3, dtype="mixed_bfloat16")
    ),
    "the layer .* \\(Hashing\\) has no ONNX form; do the hashing before the model": single(
        lambda k: k.Hashing(7), (5,), "int32"
    ),
    "the layer .* \\(StringLookup\\) has no ONNX form; look words up before the model": single(
        lambda k: k.StringLookup(vocabulary=["a", "b"]), (1,), "string"
    ),
}


@contextlib.contextmanager
def warnings_off() -> Iterator[None]:
    """Keras warns of saving a model that was never called."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
