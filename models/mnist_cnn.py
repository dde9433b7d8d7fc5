"""A small convolutional network for 28x28 digits, 225,034 parameters.

    picture 28x28x1
      -> 32 filters 3x3, ReLU -> 26x26x32 -> pooling 2x2 -> 13x13x32
      -> 64 filters 3x3, ReLU -> 11x11x64 -> pooling 2x2 -> 5x5x64
      -> 1,600 numbers -> 128 units, ReLU -> 10 probabilities

Every argument of `build` can be varied from the command line, one value or several:

    toolkit train mnist_cnn -o digits.keras --set pooling=max,avg --set filters=16-32,32-64
"""

from typing import Literal

import keras
from keras import layers


def build(
    filters: tuple[int, ...] = (32, 64),
    kernel_size: int = 3,
    pooling: Literal["max", "avg"] = "max",
    dense_units: int = 128,
    dropout: float = 0.0,
    activation: str = "relu",
    input_shape: tuple[int, ...] = (28, 28, 1),
    classes: int = 10,
) -> keras.Model:
    """Return the untrained network; it takes pixels in [0, 1] and gives class probabilities.

    Args:
        filters: Filters of each convolution; one convolution and one pooling per entry.
        kernel_size: Height and width of the filters.
        pooling: "max" keeps the largest of 2x2 values, "avg" their mean.
        dense_units: Width of the layer between the convolutions and the classes.
        dropout: Fraction of that layer's outputs dropped while training, 0 for none.
        activation: Activation of the convolutions and of the dense layer.
        input_shape: Height, width and channels of a picture.
        classes: How many classes there are.
    """
    pooling_layer = {"max": layers.MaxPooling2D, "avg": layers.AveragePooling2D}[pooling]

    model = keras.Sequential([keras.Input(input_shape, name="image")], name="mnist_cnn")
    for count in filters:
        model.add(layers.Conv2D(count, kernel_size, activation=activation))
        model.add(pooling_layer(pool_size=2))
    model.add(layers.Flatten())
    model.add(layers.Dense(dense_units, activation=activation))
    if dropout:
        model.add(layers.Dropout(dropout))
    model.add(layers.Dense(classes, activation="softmax", name="probabilities"))
    return model
