"""Small float models for the tests of quantization, built with onnx.helper."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from toolkit.contract import KEY, Contract, ImageSpec, InputSpec, OutputSpec


def initializer(name: str, array: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(array), name)


def weights(shape: tuple[int, ...], seed: int = 0, scale: float = 0.3) -> np.ndarray:
    values = np.random.default_rng(seed).normal(scale=scale, size=shape)
    return values.astype(np.float32)


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    initializers: list[onnx.TensorProto],
    *,
    opset: int = 17,
    ir_version: int = 8,
    contract: Contract | None = None,
) -> Path:
    graph = helper.make_graph(nodes, "test", inputs, outputs, initializers)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version
    )
    if contract is not None:
        helper.set_model_props(model, {KEY: contract.to_json()})
    onnx.save(model, path)
    return path


def tensor(name: str, shape: list[int | str], dtype: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, dtype, shape)


def cnn(path: Path, *, channels: int = 1, data: str | None = None, opset: int = 17) -> Path:
    """An untrained CNN on uint8 pictures [N, 12, 12, channels], in the form that export writes."""
    node = helper.make_node
    nodes = [
        node("Cast", ["image"], ["cast"], "cast", to=TensorProto.FLOAT),
        node("Mul", ["cast", "scale"], ["scaled"], "scaling"),
        node("Transpose", ["scaled"], ["nchw"], "to_nchw", perm=[0, 3, 1, 2]),
        node("Conv", ["nchw", "w1", "b1"], ["c1"], "conv1", kernel_shape=[3, 3]),
        node("Relu", ["c1"], ["r1"], "relu1"),
        node("MaxPool", ["r1"], ["p1"], "pool1", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p1", "w2", "b2"], ["c2"], "conv2", kernel_shape=[3, 3]),
        node("Relu", ["c2"], ["r2"], "relu2"),
        node("Reshape", ["r2", "flat"], ["f"], "flatten"),
        node("Gemm", ["f", "w3", "b3"], ["logits"], "dense"),
        node("Softmax", ["logits"], ["scores"], "softmax"),
    ]
    initializers = [
        initializer("scale", np.float32(1 / 255)),
        initializer("w1", weights((8, channels, 3, 3), 1)),
        initializer("b1", weights((8,), 2)),
        initializer("w2", weights((16, 8, 3, 3), 3)),
        initializer("b2", weights((16,), 4)),
        initializer("flat", np.array([-1, 144], np.int64)),
        initializer("w3", weights((144, 10), 5)),
        initializer("b3", weights((10,), 6)),
    ]
    shape: tuple[int | str, ...] = ("batch", 12, 12, channels)
    contract = Contract(
        name="cnn",
        inputs=(
            InputSpec(
                "image",
                "uint8",
                shape,
                image=ImageSpec("NHWC", "grayscale" if channels == 1 else "rgb"),
            ),
        ),
        outputs=(OutputSpec("scores", "float32", ("batch", 10), kind="probabilities"),),
        provenance=() if data is None else ({"step": "train", "data": {"name": data}},),
    )
    return save(
        path,
        nodes,
        [tensor("image", list(shape), TensorProto.UINT8)],
        [tensor("scores", ["batch", 10])],
        initializers,
        opset=opset,
        contract=contract,
    )


def dense(path: Path, *, inputs: int = 1) -> Path:
    """A dense network on float32 tensors [N, 8], one branch for each input, added up."""
    node = helper.make_node
    names = [f"x{index}" for index in range(inputs)]
    nodes = [node("Gemm", [name, "w", "b"], [f"h_{name}"], f"dense_{name}") for name in names]
    total = f"h_{names[0]}"
    for name in names[1:]:
        nodes.append(node("Add", [total, f"h_{name}"], [f"sum_{name}"], f"add_{name}"))
        total = f"sum_{name}"
    nodes.append(node("Relu", [total], ["hidden"], "relu"))
    nodes.append(node("Gemm", ["hidden", "v", "c"], ["y"], "last"))
    return save(
        path,
        nodes,
        [tensor(name, ["batch", 8]) for name in names],
        [tensor("y", ["batch", 4])],
        [
            initializer("w", weights((8, 16), 1)),
            initializer("b", weights((16,), 2)),
            initializer("v", weights((16, 4), 3)),
            initializer("c", weights((4,), 4)),
        ],
    )


def pictures(count: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    shape = (count, 12, 12) if channels == 1 else (count, 12, 12, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def labelled(path: Path, model: Path, count: int = 200, channels: int = 1) -> Path:
    """An .npz of pictures whose labels are the float model's own answers."""
    import onnxruntime

    images = pictures(count, channels)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    fed = images[..., None] if channels == 1 else images
    labels = session.run(None, {"image": fed})[0].argmax(axis=1)
    np.savez(path, x=images, y=labels.astype(np.int64))
    return path
