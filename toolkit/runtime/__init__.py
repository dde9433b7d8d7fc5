"""What applications embed: load a model, ask it for predictions.

    from toolkit.runtime import load

    model = load("mnist_cnn.int8.onnx")
    print(model.predict(pixels).label)

Imports numpy and onnxruntime, nothing else; Pillow only when a picture file is predicted.
"""

from toolkit.runtime.loading import load
from toolkit.runtime.model import Model, Prediction

__all__ = ["Model", "Prediction", "load"]
