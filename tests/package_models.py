"""Small models for the applications that `package` writes: every kind of contract."""

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from toolkit.contract import KEY, Affine, Contract, ImageSpec, InputSpec, OutputSpec, Session

# Names that try to end a string, a comment, a tag or a line of every language.
NASTY = (
    'a"b\\c*/ </script><img src=x onerror=alert(1)> `$(touch hacked)` ${x} {{ 7*7 }} ??/'
    "\n\t'é\u2028"
)
_ELEMENTS = {"uint8": T.UINT8, "float32": T.FLOAT, "int64": T.INT64, "int32": T.INT32}


def digits_model(path, *, seed=0):
    """A convolution with seeded weights, on uint8 digits of 28x28, ten probabilities."""
    generator = np.random.default_rng(seed)
    weights = {
        "scale": np.float32(1 / 255),
        "shape": np.array([-1, 1, 28, 28], np.int64),
        "conv_w": generator.normal(0, 0.3, (4, 1, 5, 5)).astype(np.float32),
        "conv_b": generator.normal(0, 0.1, 4).astype(np.float32),
        "dense_w": generator.normal(0, 0.15, (4 * 12 * 12, 10)).astype(np.float32),
        "dense_b": np.zeros(10, np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=T.FLOAT),
        helper.make_node("Mul", ["pixels", "scale"], ["scaled"]),
        helper.make_node("Reshape", ["scaled", "shape"], ["planes"]),
        helper.make_node("Conv", ["planes", "conv_w", "conv_b"], ["conv"]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("MaxPool", ["relu"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense_w", "dense_b"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["output"], axis=-1),
    ]
    contract = Contract(
        "digits",
        (
            InputSpec(
                "image",
                "uint8",
                ("batch", 28, 28, 1),
                ImageSpec("NHWC", "grayscale", "mnist"),
                in_graph=Affine((1 / 255,), (0.0,)),
            ),
        ),
        (OutputSpec("output", "float32", ("batch", 10), "probabilities", tuple("0123456789")),),
    )
    return _save(path, nodes, weights, contract)


def quantized(source, path):
    """The int8 model (QDQ) of a model, calibrated on noise; the contract is kept."""
    original = onnx.load(source)
    entry = original.graph.input[0]
    shape = [size.dim_value or 4 for size in entry.type.tensor_type.shape.dim]
    noise = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)

    class Samples(CalibrationDataReader):
        def __init__(self):
            self.rest = [{entry.name: noise}]

        def get_next(self):
            return self.rest.pop() if self.rest else None

    quantize_static(
        source,
        path,
        Samples(),
        quant_format=QuantFormat.QDQ,
        weight_type=QuantType.QInt8,
        per_channel=True,
    )
    model = onnx.load(path)
    del model.metadata_props[:]
    model.metadata_props.extend(original.metadata_props)
    onnx.save(model, path)
    return path


def colour_model(path, *, labels=("cat", "dog", "crème brûlée")):
    """Logits from the mean colour of float32 pictures of 12x10, channels first, scaled outside."""
    weights = {"w": np.array([[3, -1, 0], [-1, 2, 0], [0, -1, 2]], np.float32)}
    nodes = [
        helper.make_node("ReduceMean", ["picture"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "w"], ["scores"]),
    ]
    contract = Contract(
        "colours",
        (
            InputSpec(
                "picture",
                "float32",
                ("batch", 3, 12, 10),
                ImageSpec("NCHW", "rgb"),
                by_caller=Affine((0.02, 0.03, 0.04), (-1.0, -2.0, -3.0)),
            ),
        ),
        (OutputSpec("scores", "float32", ("batch", 3), "logits", labels),),
    )
    return _save(path, nodes, weights, contract)


def binary_model(path):
    """One probability of five numbers: a binary classifier without labels."""
    weights = {"w": np.array([[1], [-2], [0.5], [0], [1]], np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["score"]),
        helper.make_node("Sigmoid", ["score"], ["p"]),
    ]
    contract = Contract(
        "sensor",
        (InputSpec("x", "float32", ("batch", 5)),),
        (OutputSpec("p", "float32", ("batch", 1), "probabilities"),),
    )
    return _save(path, nodes, weights, contract)


def two_input_model(path):
    """Two inputs of different types and two raw outputs, one of them int64."""
    nodes = [
        helper.make_node("Cast", ["ids"], ["numbers"], to=T.FLOAT),
        helper.make_node("Add", ["numbers", "x"], ["sum"]),
        helper.make_node("ArgMax", ["sum"], ["place"], axis=1, keepdims=1),
    ]
    contract = Contract(
        "pair",
        (InputSpec("ids", "int64", ("batch", 4)), InputSpec("x", "float32", ("batch", 4))),
        (OutputSpec("sum", "float32", ("batch", 4)), OutputSpec("place", "int64", ("batch", 1))),
    )
    return _save(path, nodes, {}, contract)


def guarded_model(path):
    """Padding and pooling that onnxruntime joins wrongly unless the contract's option is set."""
    weights = {
        "w": np.full((1, 1, 1, 1), -1, np.float32),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        "zero": np.float32(0),
        "dense": np.eye(16, 4, dtype=np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Pad", ["c", "pads", "zero"], ["p"]),
        helper.make_node("MaxPool", ["p"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("Gemm", ["f", "dense"], ["y"]),
    ]
    contract = Contract(
        "guarded",
        (InputSpec("x", "float32", ("batch", 1, 6, 6)),),
        (OutputSpec("y", "float32", ("batch", 4), "logits"),),
        session=Session(("Pad_Fusion",), threads=2),
    )
    return _save(path, nodes, weights, contract)


def nasty_model(path):
    """Hostile names wherever a contract has names."""
    weights = {"w": np.eye(3, dtype=np.float32)}
    nodes = [helper.make_node("MatMul", [NASTY, "w"], [NASTY + "out"])]
    contract = Contract(
        NASTY,
        (InputSpec(NASTY, "float32", ("batch", 3)),),
        (
            OutputSpec(
                NASTY + "out", "float32", ("batch", 3), "logits", (NASTY, "\x00\x7f%s%n", "<b>")
            ),
        ),
    )
    return _save(path, nodes, weights, contract)


def open_size_model(path):
    """An input whose second size is open."""
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    contract = Contract(
        "open",
        (InputSpec("x", "float32", ("batch", "steps")),),
        (OutputSpec("y", "float32", ("batch", "steps")),),
    )
    return _save(path, nodes, {}, contract)


def _save(path, nodes, weights, contract):
    def tensor(spec):
        return helper.make_tensor_value_info(spec.name, _ELEMENTS[spec.dtype], spec.shape)

    graph = helper.make_graph(
        nodes,
        "graph",
        [tensor(spec) for spec in contract.inputs],
        [tensor(spec) for spec in contract.outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {KEY: contract.to_json()})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
