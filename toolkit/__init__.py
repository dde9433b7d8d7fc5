"""From a trained Keras CNN to a fast int8 ONNX model, with the evidence that it is still right.

    import toolkit

    toolkit.train("mnist_cnn", "mnist_cnn.keras")
    toolkit.export("mnist_cnn.keras", "mnist_cnn.onnx")
    toolkit.quantize("mnist_cnn.onnx", "mnist_cnn.int8.onnx", data="mnist")
    model = toolkit.load("mnist_cnn.int8.onnx")

Public names are imported on first use, so that `import toolkit` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.benchmark import bench as bench
    from toolkit.demonstration import demo as demo
    from toolkit.diagnosis import doctor as doctor
    from toolkit.evaluation import evaluate as evaluate
    from toolkit.explanation import explain as explain
    from toolkit.exporting import export as export
    from toolkit.inspection import inspect as inspect
    from toolkit.packaging import package as package
    from toolkit.prediction import predict as predict
    from toolkit.quantization import quantize as quantize
    from toolkit.runtime import load as load
    from toolkit.training import train as train
    from toolkit.verification import verify as verify

__version__ = "0.1.0"

_HOMES = {
    "bench": "toolkit.benchmark",
    "demo": "toolkit.demonstration",
    "doctor": "toolkit.diagnosis",
    "evaluate": "toolkit.evaluation",
    "explain": "toolkit.explanation",
    "export": "toolkit.exporting",
    "inspect": "toolkit.inspection",
    "load": "toolkit.runtime",
    "package": "toolkit.packaging",
    "predict": "toolkit.prediction",
    "quantize": "toolkit.quantization",
    "train": "toolkit.training",
    "verify": "toolkit.verification",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'toolkit' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
