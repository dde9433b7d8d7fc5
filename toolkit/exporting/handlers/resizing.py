"""Resizing of pictures as products with constant matrices: bicubic, area, Lanczos, antialiased.

ONNX has no such kernels, or other ones: TensorFlow rounds the weights of its bicubic kernel. But
every resizing is linear, and the same along all rows and along all columns; with R [height after,
height before] and C [width after, width before],

    resized = R x C^T        for each picture and channel x [height, width]

TensorFlow itself computes R and C, by resizing the columns of identity matrices, so that they hold
exactly its weights. Both sizes must be known; of other nodes the name stays, and with it they are
refused.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def resize(graph: Any, node: Any, **_: object) -> None:
    """Replace ResizeBicubic, ResizeArea or ScaleAndTranslate."""
    from onnx import TensorProto
    from tf2onnx import utils

    shape = graph.get_shape(node.input[0])
    if not shape or -1 in shape[1:] or not node.inputs[1].is_const():
        return
    if node.type == "ScaleAndTranslate" and not _only_scales(node):
        return
    before, after = shape[1:3], [int(size) for size in node.inputs[1].get_tensor_value()]
    run = _operator(node)
    source, outputs, name = node.input[0], node.output, node.name
    dtype = graph.get_dtype(source)
    graph.remove_node(name)

    def add(operator: str, inputs: list[str], **attributes: Any) -> str:
        return str(graph.make_node(operator, inputs, attr=attributes).output[0])

    def constant(kind: str, matrix: Array) -> str:
        return str(graph.make_const(utils.make_name(kind), matrix).output[0])

    if dtype != TensorProto.FLOAT:
        source = add("Cast", [source], to=TensorProto.FLOAT)
    result = add("Transpose", [source], perm=[0, 3, 1, 2])
    if before[0] != after[0]:
        rows = _weights(run, before[0], after[0])
        result = add("MatMul", [constant("resize_rows", rows), result])
    if before[1] != after[1]:
        columns = _weights(run, before[1], after[1])
        result = add("MatMul", [result, constant("resize_columns", columns.T)])
    graph.make_node(
        "Transpose",
        [result],
        attr={"perm": [0, 2, 3, 1]},
        name=name,
        outputs=outputs,
        shapes=[[shape[0], *after, shape[3]]],
        dtypes=[TensorProto.FLOAT],
    )


def _only_scales(node: Any) -> bool:
    """Tell whether the picture stays where it is; the scale is then that of the sizes."""
    translation = node.inputs[3]
    return translation.is_const() and not np.any(translation.get_tensor_value(as_list=False))


def _operator(node: Any) -> Callable[[Array, Array], Any]:
    """Return the node's operator as a function of pictures and of their new size."""
    import tensorflow as tf

    if node.type == "ScaleAndTranslate":
        kernel = node.get_attr_str("kernel_type")
        antialias = bool(node.get_attr_int("antialias"))

        def scale(pictures: Array, size: Array) -> Any:
            factors = size.astype(np.float32) / np.array(pictures.shape[1:3], np.float32)
            return tf.raw_ops.ScaleAndTranslate(
                images=pictures,
                size=size,
                scale=factors,
                translation=np.zeros(2, np.float32),
                kernel_type=kernel,
                antialias=antialias,
            )

        return scale
    options = {
        name: bool(node.get_attr_int(name))
        for name in ("align_corners", "half_pixel_centers")
        if node.get_attr(name) is not None
    }
    operator = getattr(tf.raw_ops, node.type)
    return lambda pictures, size: operator(images=pictures, size=size, **options)


def _weights(run: Callable[[Array, Array], Any], before: int, after: int) -> Array:
    """Return [after, before]: what each entry before gives to each one after, along one axis."""
    import tensorflow as tf

    # One picture, as high as the axis is long, with one column of the identity in each channel.
    pictures = np.eye(before, dtype=np.float32).reshape(1, before, 1, before)
    # tf2onnx works inside of a graph, where nothing is computed at once.
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        resized = session.run(run(pictures, np.array([after, 1], np.int32)))
    return np.asarray(resized.reshape(after, before))
