"""The networks of bench/coverage.py: every one of keras.applications, with random weights."""

from typing import Any

import numpy as np
import numpy.typing as npt

SIZE = 64
# The smallest picture that the others take.
SIZES = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}
_SEED = 0
_SETTLING = 16  # samples that statistics are taken from
# A relative change of the input, and how many times as much the outputs may change for it.
_CHANGE, _AMPLIFICATION = 1e-5, 50
_STEPS = 10

# Ascending by parameters, so that what is quick comes first.
NETWORKS = (
    "MobileNetV3Small", "MobileNetV2", "MobileNet", "NASNetMobile", "EfficientNetB0",
    "MobileNetV3Large", "EfficientNetV2B0", "EfficientNetB1", "DenseNet121", "EfficientNetV2B1",
    "EfficientNetB2", "EfficientNetV2B2", "EfficientNetB3", "DenseNet169", "EfficientNetV2B3",
    "EfficientNetB4", "DenseNet201", "EfficientNetV2S", "Xception", "InceptionV3", "ResNet50",
    "ResNet50V2", "ConvNeXtTiny", "EfficientNetB5", "VGG16", "VGG19", "EfficientNetB6",
    "ResNet101", "ResNet101V2", "ConvNeXtSmall", "EfficientNetV2M", "InceptionResNetV2",
    "ResNet152", "ResNet152V2", "EfficientNetB7", "ConvNeXtBase", "NASNetLarge",
    "EfficientNetV2L", "ConvNeXtLarge", "ConvNeXtXLarge",
)  # fmt: skip


def build(name: str) -> Any:
    """Return a network for small pictures that gives logits, with its weights randomised."""
    import keras

    size = SIZES.get(name, SIZE)
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classifier_activation=None
    )
    randomise(model)
    settle(model, draw(model, _SETTLING))
    calm(model, draw(model, 2))
    return model


def randomise(model: Any) -> None:
    """Give biases, scales and statistics values for which a lost one shows.

    Fresh layers have biases of 0 and scales and variances of 1: an exporter could drop them and
    nobody would see it. Kernels are random already and keep their size.
    """
    generator = np.random.default_rng(_SEED)
    for weight in model.weights:
        kind = weight.path.rsplit("/", 1)[-1]
        if not str(weight.dtype).startswith("float"):
            continue
        if any(part in kind for part in ("variance", "gamma", "scale")):
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
        elif any(part in kind for part in ("beta", "bias", "mean")):
            weight.assign(generator.normal(0, 0.1, weight.shape))
    for layer in model._flatten_layers():
        if hasattr(layer, "finalize_state"):  # Normalization keeps what it computes with aside
            layer.finalize_state()


def settle(model: Any, samples: npt.NDArray[np.float32]) -> None:
    """Let batch normalizations take the statistics of what they get, as training does.

    With statistics out of the air numbers grow or vanish from block to block, and the outputs
    hardly depend on the input any more, or on its last bit.
    """
    layers = _normalizations(model)
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    model(samples, training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def calm(model: Any, samples: npt.NDArray[np.float32]) -> None:
    """Raise the variances of batch normalizations until Keras itself is well-conditioned.

    A deep network with random weights can be chaotic: when its input changes by a rounding error,
    Keras gives other answers, and no comparison with them would mean anything. This looks at
    Keras alone.
    """
    expected = np.asarray(model(samples))
    for _ in range(_STEPS):
        changed = np.asarray(model(samples * np.float32(1 + _CHANGE)))
        moved = np.max(np.abs(changed - expected)) / np.max(np.abs(expected))
        if moved <= _AMPLIFICATION * _CHANGE:
            return
        for layer in _normalizations(model):
            layer.moving_variance.assign(layer.moving_variance * 1.1)
        expected = np.asarray(model(samples))


def _normalizations(model: Any) -> list[Any]:
    import keras

    kind = keras.layers.BatchNormalization
    return [layer for layer in model._flatten_layers() if isinstance(layer, kind)]


def draw(model: Any, count: int, seed: int = _SEED) -> npt.NDArray[np.float32]:
    """Return random samples over the range that the network takes."""
    pixels = any(type(layer).__name__ == "Rescaling" for layer in model.layers)
    low, high = (0.0, 255.0) if pixels else (-1.0, 1.0)
    shape = (count, *model.inputs[0].shape[1:])
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)
