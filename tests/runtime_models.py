"""Small classifiers with contracts of every kind, for the tests of the runtime."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from toolkit.contract import KEY, Affine, Contract, ImageSpec, InputSpec, OutputSpec

LABELS = ("left", "middle", "right")


def classifier(
    path,
    *,
    batch="batch",
    dtype="uint8",
    layout="NHWC",
    kind="probabilities",
    by_caller=None,
    contract=True,
    labels=LABELS,
    classes=3,
):
    """Write a model of 2x3 pixels whose class is the brightest column, and return its path.

    With ``classes=1`` it is a binary classifier: the score of the left column over the others.
    """
    sizes = {"NHWC": [batch, 2, 3, 1], "NCHW": [batch, 1, 2, 3], "NHW": [batch, 2, 3]}[layout]
    columns = np.tile(np.eye(3, dtype=np.float32), (2, 1))
    if classes == 1:
        columns = columns @ np.array([[1], [-1], [-1]], np.float32)
    output = "scores"
    nodes = [
        helper.make_node("Reshape", ["image", "flat"], ["pixels"]),
        helper.make_node("Cast", ["pixels"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["values", "scale"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "columns"], ["logits"]),
    ]
    if kind == "probabilities":
        final = "Softmax" if classes > 1 else "Sigmoid"
        nodes.append(helper.make_node(final, ["logits"], [output]))
    else:
        nodes.append(helper.make_node("Identity", ["logits"], [output]))
    scale = np.float32(1 if by_caller else 1 / 255)
    graph = helper.make_graph(
        nodes,
        "columns",
        [
            helper.make_tensor_value_info(
                "image", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), sizes
            )
        ],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, classes])],
        [
            numpy_helper.from_array(np.array([-1, 6]), "flat"),
            numpy_helper.from_array(np.asarray(scale), "scale"),
            numpy_helper.from_array(columns, "columns"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if contract:
        spec = InputSpec(
            "image", dtype, tuple(sizes), ImageSpec(layout, "grayscale"), by_caller=by_caller
        )
        promise = Contract(
            "columns",
            (spec,),
            (OutputSpec(output, "float32", (batch, classes), kind, labels),),
        )
        helper.set_model_props(model, {KEY: promise.to_json()})
    onnx.save(model, path)
    return path


def column(index):
    """Return pixels [2, 3] whose brightest column is ``index``."""
    pixels = np.full((2, 3), 20, np.uint8)
    pixels[:, index] = 230
    return pixels


PIXELS_OVER_255 = Affine((1 / 255,), (0.0,))
