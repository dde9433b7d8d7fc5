"""The training recipe of a model: the TOML file beside its Python file, or the defaults."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from toolkit.contract import OutputKind, Preparation
from toolkit.recipes import Table, read_toml

OptimizerName = Literal[
    "adam", "adamw", "sgd", "rmsprop", "adagrad", "adadelta", "adamax", "nadam", "lion", "ftrl"
]
Schedule = Literal["constant", "cosine"]


class Data(Table):
    """What the model is trained on unless the command line names something else."""

    name: str = "mnist"


class Training(Table):
    """How the weights are found.

    Attributes:
        epochs: Passes over the training data.
        batch_size: Samples per step.
        optimizer: Name of the Keras optimizer.
        learning_rate: Step size; the highest one when the schedule is "cosine". None means the
            default of Keras for the optimizer.
        schedule: "constant", or "cosine": up to the learning rate in a straight line, then down
            to 1 % of it along a cosine.
        warm_up: Fraction of all steps that a cosine schedule takes to reach the learning rate.
        loss: Integer labels against class scores.
        metric: The figure that decides, on validation data, which epoch's weights are kept.
        seed: Decides the first weights, the order of the samples and what dropout drops.
    """

    epochs: int = Field(default=5, ge=1, le=100_000)
    batch_size: int = Field(default=32, ge=1, le=1_000_000)
    optimizer: OptimizerName = "adam"
    learning_rate: float | None = Field(default=0.001, gt=0, allow_inf_nan=False)
    schedule: Schedule = "constant"
    warm_up: float = Field(default=0.2, ge=0, lt=1)
    loss: Literal["sparse_categorical_crossentropy"] = "sparse_categorical_crossentropy"
    metric: Literal["accuracy"] = "accuracy"
    seed: int = Field(default=1, ge=0, lt=2**31)


class Fast(Table):
    """What ``--fast`` puts in the place of `Training`: fewer and larger steps, annealed."""

    epochs: int = Field(default=3, ge=1, le=100_000)
    batch_size: int = Field(default=128, ge=1, le=1_000_000)
    learning_rate: float = Field(default=0.006, gt=0, allow_inf_nan=False)
    schedule: Schedule = "cosine"
    warm_up: float = Field(default=0.2, ge=0, lt=1)


class Input(Table):
    """What the model takes: y = pixel * scale + offset, one value or one per channel.

    Attributes:
        scale: None means 1/255 for pictures, and 1 for a model that begins with its own Rescaling
            or Normalization layer. Data that is not made of integers is fed as it is.
        offset: Added after scaling.
        preparation: How a picture becomes a sample like those of the recipe's own data; pictures
            of other data are resized.
    """

    scale: float | tuple[float, ...] | None = None
    offset: float | tuple[float, ...] = 0.0
    preparation: Preparation = "resize"


class Output(Table):
    """What the model gives.

    Attributes:
        kind: None means "probabilities" when the last layer ends in softmax, else "logits".
        labels: Names of the classes of the recipe's own data, when the data has none.
    """

    kind: OutputKind | None = None
    labels: tuple[str, ...] | None = None


class ModelRecipe(Table):
    """A whole recipe file; every table and every key may be left out."""

    data: Data = Data()
    training: Training = Training()
    fast: Fast = Fast()
    input: Input = Input()
    output: Output = Output()


def read_recipe(model_file: Path) -> ModelRecipe:
    """Return the recipe in the TOML file beside a model's Python file, or the defaults.

    Raises:
        RecipeError: The file cannot be read, or has a key that is unknown or out of range.
    """
    path = model_file.with_suffix(".toml")
    return read_toml(path, ModelRecipe) if path.exists() else ModelRecipe()
