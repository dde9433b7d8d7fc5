"""The layer cases of bench/coverage.py: every layer of Keras, most in several forms.

A case is a small model around one layer. A test fails when a layer class of the installed Keras
has no case here and does not stand among `NO_CASE`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

IMAGE = (8, 8, 3)
SEQUENCE = (6, 4)
VOLUME = (5, 6, 7, 2)
SOUND = (2000,)
PIXELS = (0.0, 255.0)

# Layers that no model file holds, or that are no layers of the TensorFlow backend.
NO_CASE = {
    "Layer": "the base class of all layers",
    "Wrapper": "the base class of Bidirectional, TimeDistributed and SpectralNormalization",
    "InputLayer": "an input of every model of this table",
    "TFSMLayer": "holds a TensorFlow SavedModel; Keras' safe mode, which export keeps on, "
    "refuses to load it",
    "FlaxLayer": "needs the JAX backend",
    "JaxLayer": "needs the JAX backend",
    "TorchModuleWrapper": "needs the PyTorch backend",
}


@dataclass(frozen=True)
class Case:
    """One model for the exporter.

    Attributes:
        layer: The class in keras.layers that it is about, or "keras.ops".
        variant: What is special about it.
        build: Makes the model; gets the module keras.
        low: The smallest value of an input.
        high: Floating point inputs are below this; integers too.
        gaps: Some rows of the input are zero: steps that a mask leaves out.
    """

    layer: str
    variant: str
    build: Callable[[Any], Any]
    low: float = -2.0
    high: float = 2.0
    gaps: bool = False

    @property
    def name(self) -> str:
        """The layer with its variant."""
        return f"{self.layer}: {self.variant}" if self.variant else self.layer


def one(
    layer: str,
    variant: str = "",
    /,
    shape: tuple[int | None, ...] = IMAGE,
    dtype: str = "float32",
    values: tuple[float, float] = (-2.0, 2.0),
    gaps: bool = False,
    **arguments: Any,
) -> Case:
    """Return the case of a layer with one input.

    A function among the arguments gets keras.layers, and returns the argument.
    """

    def build(keras: Any) -> Any:
        x = keras.Input(shape, dtype=dtype)
        given = {
            name: value(keras.layers) if callable(value) else value
            for name, value in arguments.items()
        }
        return keras.Model(x, getattr(keras.layers, layer)(**given)(x))

    return Case(layer, variant, build, *values, gaps)


def many(
    layer: str,
    variant: str,
    shapes: list[tuple[int, ...]],
    connect: Callable[[Any, list[Any]], Any],
    dtype: str = "float32",
    values: tuple[float, float] = (-2.0, 2.0),
    gaps: bool = False,
) -> Case:
    """Return a case with several inputs; `connect` gets keras and them, and gives the outputs."""

    def build(keras: Any) -> Any:
        inputs = [keras.Input(shape, dtype=dtype) for shape in shapes]
        return keras.Model(inputs, connect(keras, inputs))

    return Case(layer, variant, build, *values, gaps)


def several(layer: str, size: int = 2, **arguments: Any) -> Case:
    """Return the case of a layer that merges inputs of one shape."""
    return many(
        layer, "", [SEQUENCE] * size, lambda keras, x: getattr(keras.layers, layer)(**arguments)(x)
    )


CONVOLUTIONS = (
    one("Conv1D", "", SEQUENCE, filters=5, kernel_size=3),
    one("Conv1D", "causal, dilated", (9, 4), filters=5, kernel_size=3, padding="causal",
        dilation_rate=2),
    one("Conv1D", "same, stride 2", SEQUENCE, filters=5, kernel_size=3, padding="same", strides=2),
    one("Conv1D", "groups", SEQUENCE, filters=4, kernel_size=3, groups=2),
    one("Conv1D", "channels first", SEQUENCE, filters=4, kernel_size=3,
        data_format="channels_first"),
    one("Conv2D", "same, stride 2", filters=4, kernel_size=3, strides=2, padding="same"),
    one("Conv2D", "dilation 2", filters=4, kernel_size=3, dilation_rate=2),
    one("Conv2D", "groups", filters=6, kernel_size=3, groups=3),
    one("Conv2D", "uneven kernel, no bias, relu", filters=4, kernel_size=(2, 3), use_bias=False,
        activation="relu"),
    one("Conv2D", "any height and width", (None, None, 3), filters=4, kernel_size=3,
        padding="same"),
    one("Conv3D", "", VOLUME, filters=3, kernel_size=2),
    one("Conv3D", "same, stride 2", VOLUME, filters=3, kernel_size=3, strides=2, padding="same"),
    one("Conv3D", "groups", VOLUME, filters=4, kernel_size=2, groups=2),
    one("DepthwiseConv1D", "", SEQUENCE, kernel_size=3),
    one("DepthwiseConv1D", "multiplier 2", SEQUENCE, kernel_size=3, depth_multiplier=2),
    one("DepthwiseConv2D", "", kernel_size=3),
    one("DepthwiseConv2D", "same, stride 2", kernel_size=3, strides=2, padding="same"),
    one("DepthwiseConv2D", "multiplier 2, dilation 2", kernel_size=3, depth_multiplier=2,
        dilation_rate=2),
    one("SeparableConv1D", "", SEQUENCE, filters=5, kernel_size=3),
    one("SeparableConv2D", "", filters=5, kernel_size=3),
    one("SeparableConv2D", "same, stride 2", filters=5, kernel_size=3, strides=2, padding="same"),
    one("Conv1DTranspose", "", SEQUENCE, filters=3, kernel_size=3, strides=2),
    one("Conv1DTranspose", "same", SEQUENCE, filters=3, kernel_size=3, strides=2, padding="same"),
    one("Conv2DTranspose", "valid", filters=4, kernel_size=3, strides=2),
    one("Conv2DTranspose", "same", filters=4, kernel_size=3, strides=2, padding="same"),
    one("Conv2DTranspose", "output padding", filters=4, kernel_size=3, strides=2, padding="same",
        output_padding=1),
    one("Conv2DTranspose", "any height and width", (None, None, 3), filters=4, kernel_size=3,
        strides=2, padding="same"),
    one("Conv3DTranspose", "", VOLUME, filters=3, kernel_size=2),
    one("Conv3DTranspose", "same, stride 2", VOLUME, filters=3, kernel_size=3, strides=2,
        padding="same"),
)  # fmt: skip

POOLING = (
    one("MaxPooling1D", "", SEQUENCE),
    one("MaxPooling1D", "same", SEQUENCE, pool_size=3, strides=2, padding="same"),
    one("MaxPooling2D"),
    one("MaxPooling2D", "same", pool_size=3, strides=2, padding="same"),
    one("MaxPooling3D", "", VOLUME),
    one("AveragePooling1D", "", SEQUENCE, pool_size=2),
    one("AveragePooling1D", "same", SEQUENCE, pool_size=3, strides=2, padding="same"),
    one("AveragePooling2D", "", pool_size=2),
    one("AveragePooling2D", "same", pool_size=3, strides=2, padding="same"),
    one("AveragePooling3D", "same", VOLUME, pool_size=2, padding="same"),
    one("GlobalMaxPooling1D", "", SEQUENCE),
    one("GlobalMaxPooling2D"),
    one("GlobalMaxPooling3D", "", VOLUME),
    one("GlobalAveragePooling1D", "", SEQUENCE),
    one("GlobalAveragePooling2D", "keepdims", keepdims=True),
    one("GlobalAveragePooling2D"),
    one("GlobalAveragePooling3D", "", VOLUME),
    one("AdaptiveAveragePooling1D", "", SEQUENCE, output_size=4),
    one("AdaptiveAveragePooling2D", "", output_size=3),
    one("AdaptiveAveragePooling3D", "", VOLUME, output_size=3),
    one("AdaptiveMaxPooling1D", "", SEQUENCE, output_size=4),
    one("AdaptiveMaxPooling2D", "", output_size=3),
    one("AdaptiveMaxPooling3D", "", VOLUME, output_size=3),
    many("MaxPooling2D", "behind ZeroPadding2D, negative values", [IMAGE],
         lambda k, x: k.layers.MaxPooling2D(3, 2)(k.layers.ZeroPadding2D(1)(
             -k.ops.exp(k.layers.Conv2D(4, 3)(x[0]))))),
)  # fmt: skip

NORMALIZATIONS = (
    one("BatchNormalization"),
    one("BatchNormalization", "on sequences", SEQUENCE),
    one("BatchNormalization", "without scale and centre", scale=False, center=False),
    one("LayerNormalization"),
    one("LayerNormalization", "two axes", axis=[-2, -1]),
    one("RMSNormalization"),
    one("GroupNormalization", "", (8, 8, 4), groups=2),
    one("GroupNormalization", "one channel a group", groups=-1),
    one("UnitNormalization"),
    one("SpectralNormalization", "Conv2D", layer=lambda k: k.Conv2D(4, 3)),
    one("SpectralNormalization", "Dense", layer=lambda k: k.Dense(4)),
    one("Normalization", "", mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0]),
    one("Normalization", "inverted", mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0], invert=True),
    one("Normalization", "learned statistics"),
)  # fmt: skip

SHAPES = (
    one("Flatten"),
    one("Flatten", "channels first", data_format="channels_first"),
    one("Reshape", "", target_shape=(-1, 6)),
    one("Permute", "", dims=(3, 1, 2)),
    one("RepeatVector", "", (5,), n=3),
    one("ZeroPadding1D", "", SEQUENCE, padding=(1, 2)),
    one("ZeroPadding2D", "", padding=((1, 2), (0, 3))),
    one("ZeroPadding3D", "", VOLUME),
    one("Cropping1D", "", SEQUENCE, cropping=(1, 2)),
    one("Cropping2D", "", cropping=((1, 2), (0, 3))),
    one("Cropping3D", "", VOLUME, cropping=1),
    one("UpSampling1D", "", SEQUENCE),
    one("UpSampling2D", "nearest"),
    *(one("UpSampling2D", name, size=(2, 3), interpolation=name)
      for name in ("bilinear", "bicubic", "lanczos3", "lanczos5")),
    one("UpSampling3D", "", VOLUME),
    *(one("Resizing", name, height=5, width=11, interpolation=name)
      for name in ("nearest", "bilinear", "bicubic", "area", "lanczos3", "lanczos5")),
    one("Resizing", "bilinear, antialias", (9, 10, 3), height=4, width=13, antialias=True),
    one("Resizing", "bicubic, antialias", (9, 10, 3), height=4, width=13, antialias=True,
        interpolation="bicubic"),
    one("Resizing", "crop to aspect ratio", height=5, width=4, crop_to_aspect_ratio=True),
    one("Resizing", "pad to aspect ratio", height=5, width=4, pad_to_aspect_ratio=True),
    one("Resizing", "any height and width", (None, None, 3), height=5, width=11),
    one("Resizing", "bicubic, any height and width", (None, None, 3), height=5, width=11,
        interpolation="bicubic"),
    one("CenterCrop", "", height=5, width=4),
    one("CenterCrop", "larger than the picture", height=9, width=4),
)  # fmt: skip

CORE = (
    one("Dense", "", (7,), units=5, activation="relu"),
    one("Dense", "on pictures", units=5),
    one("EinsumDense", "", SEQUENCE, equation="abc,cd->abd", output_shape=(None, 3),
        bias_axes="d"),
    one("EinsumDense", "heads", SEQUENCE, equation="abc,cde->abde", output_shape=(None, 3, 2)),
    one("Embedding", "", (5,), "int32", (0, 11), input_dim=11, output_dim=3),
    many("Embedding", "mask_zero, LSTM behind", [(6,)],
         lambda k, x: k.layers.LSTM(4)(k.layers.Embedding(11, 3, mask_zero=True)(x[0])),
         "int32", (0, 11), gaps=True),
    one("ReversibleEmbedding", "", (5,), "int32", (0, 11), input_dim=11, output_dim=3),
    many("ReversibleEmbedding", "there and back", [(5,)], lambda k, x: _there_and_back(k, x[0]),
         "int32", (0, 11)),
    one("Identity"),
    one("Lambda", "", function=lambda k: lambda x: x * 2),
    many("Masking", "LSTM behind", [SEQUENCE],
         lambda k, x: k.layers.LSTM(5)(k.layers.Masking()(x[0])), gaps=True),
    one("ActivityRegularization", "", l2=0.1),
    *(one(name, "", shape, rate=0.5) for name, shape in (
        ("Dropout", IMAGE), ("AlphaDropout", IMAGE), ("GaussianDropout", IMAGE),
        ("SpatialDropout1D", SEQUENCE), ("SpatialDropout2D", IMAGE),
        ("SpatialDropout3D", VOLUME))),
    one("GaussianNoise", "", stddev=0.3),
)  # fmt: skip

MERGING = (
    *(several(name, size) for name, size in (
        ("Add", 3), ("Average", 3), ("Maximum", 2), ("Minimum", 2), ("Multiply", 3),
        ("Subtract", 2), ("Concatenate", 3))),
    several("Dot", axes=2),
    many("Dot", "normalized", [SEQUENCE, SEQUENCE],
         lambda k, x: k.layers.Dot(axes=2, normalize=True)(x)),
)  # fmt: skip

ACTIVATIONS = (
    *(one("Activation", name, SEQUENCE, activation=name) for name in (
        "celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu",
        "hard_swish", "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish",
        "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink", "softmax", "softplus",
        "softsign", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "swish", "tanh",
        "tanh_shrink")),
    many("Activation", "threshold", [SEQUENCE],
         lambda k, x: k.ops.threshold(x[0], 0.2, -1.0)),
    many("Activation", "gelu, approximate", [SEQUENCE],
         lambda k, x: k.ops.gelu(x[0], approximate=True)),
    one("ReLU"),
    one("ReLU", "6, slope 0.1, threshold 0.2", max_value=6.0, negative_slope=0.1, threshold=0.2),
    one("LeakyReLU"),
    one("ELU", "alpha 0.5", alpha=0.5),
    one("PReLU"),
    one("PReLU", "shared", shared_axes=[1, 2]),
    one("Softmax", "axis 1", axis=1),
    one("Softmax", "two axes", axis=(1, 2)),
)  # fmt: skip

RECURRENT = (
    one("LSTM", "", SEQUENCE, units=5),
    one("LSTM", "sequences", SEQUENCE, units=5, return_sequences=True),
    one("LSTM", "unrolled", SEQUENCE, units=5, unroll=True),
    one("LSTM", "backwards", SEQUENCE, units=5, go_backwards=True),
    one("LSTM", "relu", SEQUENCE, units=5, activation="relu"),
    one("LSTM", "states", SEQUENCE, units=5, return_state=True),
    one("LSTM", "any length", (None, 4), units=5),
    one("GRU", "", SEQUENCE, units=5),
    one("GRU", "reset before", SEQUENCE, units=5, reset_after=False),
    one("GRU", "sequences", SEQUENCE, units=5, return_sequences=True),
    one("GRU", "states, backwards", SEQUENCE, units=5, return_state=True, go_backwards=True),
    one("GRU", "any length", (None, 4), units=5),
    many("GRU", "masked", [SEQUENCE],
         lambda k, x: k.layers.GRU(5)(k.layers.Masking()(x[0])), gaps=True),
    one("SimpleRNN", "", SEQUENCE, units=5),
    one("SimpleRNN", "sequences", SEQUENCE, units=5, return_sequences=True),
    one("Bidirectional", "LSTM", SEQUENCE, layer=lambda k: k.LSTM(3)),
    one("Bidirectional", "LSTM, sequences, sum", SEQUENCE, merge_mode="sum",
        layer=lambda k: k.LSTM(3, return_sequences=True)),
    one("Bidirectional", "GRU", SEQUENCE, layer=lambda k: k.GRU(3)),
    many("StackedRNNCells", "two LSTM cells in RNN", [SEQUENCE],
         lambda k, x: k.layers.RNN(k.layers.StackedRNNCells(
             [k.layers.LSTMCell(3), k.layers.LSTMCell(2)]))(x[0])),
    *(many(cell, "in RNN", [SEQUENCE], lambda k, x, cell=cell: k.layers.RNN(
        getattr(k.layers, cell)(4), return_sequences=True)(x[0]))
      for cell in ("LSTMCell", "GRUCell", "SimpleRNNCell")),
    one("RNN", "a list of cells", SEQUENCE, cell=lambda k: [k.GRUCell(3), k.GRUCell(2)]),
    one("ConvLSTM1D", "", (4, 6, 3), filters=2, kernel_size=3),
    one("ConvLSTM2D", "", (4, 6, 5, 3), filters=2, kernel_size=3),
    one("ConvLSTM2D", "same, sequences", (4, 6, 5, 3), filters=2, kernel_size=3, padding="same",
        return_sequences=True),
    one("ConvLSTM3D", "", (3, 4, 4, 4, 2), filters=2, kernel_size=2),
    one("TimeDistributed", "Conv1D", (3, 6, 4), layer=lambda k: k.Conv1D(2, 3)),
    one("TimeDistributed", "Conv2D", (3, *IMAGE), layer=lambda k: k.Conv2D(2, 3)),
    one("TimeDistributed", "Dense", (3, 6, 4), layer=lambda k: k.Dense(5)),
)  # fmt: skip

ATTENTION = (
    many("MultiHeadAttention", "of itself", [(6, 8)],
         lambda k, x: k.layers.MultiHeadAttention(2, 4)(x[0], x[0])),
    many("MultiHeadAttention", "causal", [(6, 8)],
         lambda k, x: k.layers.MultiHeadAttention(2, 4)(x[0], x[0], use_causal_mask=True)),
    many("MultiHeadAttention", "of another sequence", [(6, 8), (5, 8)],
         lambda k, x: k.layers.MultiHeadAttention(2, 4)(x[0], x[1])),
    many("GroupQueryAttention", "", [(6, 8)],
         lambda k, x: k.layers.GroupQueryAttention(4, 4, 2)(x[0], x[0])),
    many("Attention", "", [SEQUENCE, (5, 4)], lambda k, x: k.layers.Attention()(x)),
    many("Attention", "scaled, causal", [SEQUENCE, SEQUENCE],
         lambda k, x: k.layers.Attention(use_scale=True)(x, use_causal_mask=True)),
    many("AdditiveAttention", "", [SEQUENCE, (5, 4)],
         lambda k, x: k.layers.AdditiveAttention()(x)),
)  # fmt: skip

PREPROCESSING = (
    one("Rescaling", "", scale=1 / 127.5, offset=-1.0, values=PIXELS),
    many("Rescaling", "uint8 pixels, Conv2D behind", [IMAGE],
         lambda k, x: k.layers.Conv2D(4, 3)(k.layers.Rescaling(1 / 255)(x[0])), "uint8",
         (0, 256)),
    one("Discretization", "int", (4,), bin_boundaries=[-0.5, 0.0, 0.5]),
    one("Discretization", "one_hot", (1,), bin_boundaries=[-0.5, 0.5], output_mode="one_hot"),
    *(one("CategoryEncoding", mode, (1,) if mode == "one_hot" else (5,), "int32", (0, 7),
          num_tokens=7, output_mode=mode) for mode in ("multi_hot", "one_hot", "count")),
    one("Hashing", "", (5,), "int32", (0, 50), num_bins=7),
    many("HashedCrossing", "", [(1,), (1,)],
         lambda k, x: k.layers.HashedCrossing(num_bins=5)(x), "int32", (0, 9)),
    one("IntegerLookup", "", (5,), "int32", (0, 60), vocabulary=[12, 36, 40]),
    one("IntegerLookup", "multi_hot", (5,), "int32", (0, 60), vocabulary=[12, 36, 40],
        output_mode="multi_hot"),
    one("StringLookup", "", (1,), "string", vocabulary=["a", "b", "c"]),
    one("TextVectorization", "", (1,), "string", vocabulary=["a", "b", "c"]),
    one("MelSpectrogram", "", SOUND, fft_length=256),
    one("MelSpectrogram", "powers, longer hop", SOUND, fft_length=200, sequence_stride=80,
        power_to_db=False, num_mel_bins=20, sampling_rate=8000, max_freq=4000),
    one("STFTSpectrogram", "magnitudes", (500, 1), frame_length=64, frame_step=32, fft_length=64),
    one("STFTSpectrogram", "logarithms", (500, 1), mode="log", frame_length=64, frame_step=32,
        fft_length=64),
    one("AutoContrast", "", values=PIXELS),
    # Keras cannot connect it in a functional model by itself.
    many("Equalization", "in a Pipeline", [IMAGE],
         lambda k, x: k.layers.Pipeline([k.layers.Equalization()])(x[0]), values=PIXELS),
    one("ContrastLimitedAdaptiveHistogramEqualization", "", values=PIXELS, tile_grid_size=(2, 2)),
    one("Solarization", "", values=PIXELS),
    one("MaxNumBoundingBoxes", "", max_number=3),
    one("Pipeline", "", layers=lambda k: [k.Rescaling(2.0), k.CenterCrop(5, 5)]),
    *(one(layer, "", values=PIXELS, **arguments) for layer, arguments in (
        ("AugMix", {}), ("CutMix", {}), ("MixUp", {}), ("RandAugment", {}),
        ("RandomBrightness", {"factor": 0.2}), ("RandomColorDegeneration", {"factor": 0.2}),
        ("RandomColorJitter", {"brightness_factor": 0.2}), ("RandomContrast", {"factor": 0.2}),
        ("RandomElasticTransform", {}), ("RandomErasing", {}), ("RandomFlip", {}),
        ("RandomGaussianBlur", {}), ("RandomGrayscale", {}), ("RandomHue", {"factor": 0.2}),
        ("RandomInvert", {}), ("RandomPerspective", {}), ("RandomPosterization", {"factor": 4}),
        ("RandomRotation", {"factor": 0.2}), ("RandomSaturation", {"factor": 0.2}),
        ("RandomSharpness", {"factor": 0.2}), ("RandomShear", {"x_factor": (0.1, 0.2)}),
        ("RandomTranslation", {"height_factor": 0.2, "width_factor": 0.2}),
        ("RandomZoom", {"height_factor": 0.2}))),
    one("RandomCrop", "of the same size", height=8, width=8),
    one("RandomCrop", "smaller", height=5, width=4),
)  # fmt: skip

OPERATIONS = (
    many("keras.ops", "top_k", [SEQUENCE], lambda k, x: list(k.ops.top_k(x[0], 2))),
    many("keras.ops", "argmax", [SEQUENCE], lambda k, x: k.ops.argmax(x[0], axis=-1)),
    many("keras.ops", "argmin", [SEQUENCE], lambda k, x: k.ops.argmin(x[0], axis=1)),
    many("keras.ops", "argmax of integers", [SEQUENCE], lambda k, x: k.ops.argmax(x[0], axis=-1),
         "int32", (-9, 9)),
    many("keras.ops", "cumsum, sort", [SEQUENCE],
         lambda k, x: [k.ops.cumsum(x[0], axis=1), k.ops.sort(x[0], axis=-1)]),
    many("keras.ops", "where, clip, erf", [SEQUENCE],
         lambda k, x: k.ops.where(x[0] > 0, k.ops.erf(x[0]), k.ops.clip(x[0], -1.0, 1.0))),
    many("keras.ops", "einsum", [SEQUENCE, (5, 4)],
         lambda k, x: k.ops.einsum("bij,bkj->bik", x[0], x[1])),
    many("keras.ops", "softmax, logsumexp, std", [SEQUENCE],
         lambda k, x: [k.ops.softmax(x[0]), k.ops.logsumexp(x[0], axis=-1),
                       k.ops.std(x[0], axis=1)]),
    many("keras.ops", "slices, stack, split", [SEQUENCE],
         lambda k, x: k.ops.stack([x[0][:, 1:4], k.ops.split(x[0], 2, axis=1)[1]], axis=1)),
    many("keras.ops", "power, rsqrt, sign, round", [SEQUENCE],
         lambda k, x: k.ops.sign(x[0]) * k.ops.rsqrt(k.ops.abs(x[0]) + 0.1)
         + k.ops.round(x[0] * 3) + k.ops.power(k.ops.abs(x[0]) + 0.5, 1.5)),
    many("keras.ops", "image.resize, any height and width", [(None, None, 3)],
         lambda k, x: k.ops.image.resize(x[0], (6, 7))),
    many("keras.ops", "sequence of layers, any height and width", [(None, None, 3)],
         lambda k, x: k.layers.Dense(5)(k.layers.GlobalAveragePooling2D()(
             k.layers.Conv2D(4, 3, padding="same")(x[0])))),
)  # fmt: skip


def _there_and_back(keras: Any, tokens: Any) -> Any:
    layer = keras.layers.ReversibleEmbedding(11, 3)
    return layer(layer(tokens), reverse=True)


CASES: dict[str, Case] = {
    case.name: case
    for case in (
        *CONVOLUTIONS,
        *POOLING,
        *NORMALIZATIONS,
        *SHAPES,
        *CORE,
        *MERGING,
        *ACTIVATIONS,
        *RECURRENT,
        *ATTENTION,
        *PREPROCESSING,
        *OPERATIONS,
    )
}
