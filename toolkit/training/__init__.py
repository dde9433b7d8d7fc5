"""Trains the Keras models of the zoo and of the user: the only step that learns.

Nothing here imports TensorFlow before a training begins.
"""

from toolkit.training.result import RunResult, TrainResult
from toolkit.training.sweep import train

__all__ = ["RunResult", "TrainResult", "train"]
