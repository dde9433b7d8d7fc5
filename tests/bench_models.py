"""Small ONNX models for the tests of the benchmark."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from toolkit import contract as contracts
from toolkit.contract import Contract, ImageSpec, InputSpec, OutputSpec

SIZE = 8


def classifier(
    path: Path,
    *,
    classes: int = 4,
    size: int = SIZE,
    batch: int | str = "batch",
    noise: float = 0.0,
    labels: tuple[str, ...] | None = None,
    contract: bool = True,
) -> Path:
    """Write a model that names the column of the brightest pixels, by quarters of the width.

    ``noise`` disturbs its weights, so that some answers change.
    """
    weights = np.zeros((size, size, classes), np.float32)
    for column in range(size):
        weights[:, column, column * classes // size] = 1 / 255
    weights += np.random.default_rng(0).normal(0, noise, weights.shape).astype(np.float32) / 255
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["float"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["output"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, size, size, 1])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, classes])],
        [numpy_helper.from_array(weights.reshape(-1, classes), "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if contract:
        promise = Contract(
            name=path.stem,
            inputs=(
                InputSpec("image", "uint8", (batch, size, size, 1), ImageSpec("NHWC", "grayscale")),
            ),
            outputs=(OutputSpec("output", "float32", (batch, classes), "probabilities", labels),),
        )
        helper.set_model_props(model, {contracts.KEY: promise.to_json()})
    onnx.save(model, path)
    return path


def relu(path: Path, shape: list[int | str]) -> Path:
    """Write a model of one Relu over any float shape: no image, no classes, no contract."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def samples(path: Path, *, count: int = 60, classes: int = 4, size: int = SIZE) -> Path:
    """Write an .npz of noisy images whose class is the brightest part of the width."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, classes, count)
    images = rng.integers(0, 120, (count, size, size), np.uint8)
    for image, label in zip(images, labels, strict=True):
        columns = [column for column in range(size) if column * classes // size == label]
        image[:, columns] += 60
    np.savez(path, x=images, y=labels)
    return path
