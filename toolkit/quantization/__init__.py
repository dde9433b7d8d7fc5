"""From a float ONNX model to an int8 one that is right, fast and accounted for."""

from toolkit.quantization.result import QuantizeResult
from toolkit.quantization.step import quantize

__all__ = ["QuantizeResult", "quantize"]
