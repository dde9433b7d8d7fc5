"""From Keras to ONNX: conversion in a child process, cleaning, and the proof of equality."""

from toolkit.exporting.keras_scores import keras_outputs
from toolkit.exporting.onnx_export import ExportResult, export
from toolkit.exporting.parity import Parity

__all__ = ["ExportResult", "Parity", "export", "keras_outputs"]
