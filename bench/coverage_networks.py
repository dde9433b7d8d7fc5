"""The networks of bench/coverage.py: every one of keras.applications, with random weights."""

from typing import Any

import numpy as np

SIZE = 64
# The smallest picture that the others take.
SIZES = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}
_SEED = 0

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
    return randomise(model)


def randomise(model: Any) -> Any:
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
    return model
