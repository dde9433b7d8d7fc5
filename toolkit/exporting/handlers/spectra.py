"""Fourier transforms of real signals, as products with constant matrices.

ONNX has no complex numbers before its opset 17, and onnxruntime hardly any operator for them. As
elsewhere in tf2onnx, a complex tensor of shape [...] becomes a real one of shape [2, ...]: the real
parts, then the imaginary parts. With n the length of the transform,

    RFFT(x)[..., k]  =  sum over t of x[..., t] (cos(2 pi t k / n) - i sin(2 pi t k / n))

for k up to n / 2. The product costs more than the fast algorithm: n / 2 multiplications per entry.
"""

from typing import Any

import numpy as np


def rfft(graph: Any, node: Any, **_: object) -> None:
    """Multiply with the matrices; a signal whose length differs from the transform's is left."""
    from onnx import TensorProto
    from tf2onnx import utils

    shape = graph.get_shape(node.input[0])
    if not shape or not node.inputs[1].is_const():
        return
    length = int(np.ravel(node.inputs[1].get_tensor_value())[0])
    if shape[-1] != length or graph.get_dtype(node.input[0]) != TensorProto.FLOAT:
        return
    angles = 2 * np.pi / length * np.outer(np.arange(length), np.arange(length // 2 + 1))
    matrices = np.stack([np.cos(angles), -np.sin(angles)]).astype(np.float32)
    # The two matrices are an axis of their own, in front of those of x but its last two.
    matrices = matrices.reshape(2, *[1] * (len(shape) - 2), *matrices.shape[1:])
    constant = graph.make_const(utils.make_name("fourier"), matrices).output[0]
    inputs, outputs, name = [node.input[0], constant], node.output, node.name
    graph.remove_node(name)
    graph.make_node(
        "MatMul",
        inputs,
        name=name,
        outputs=outputs,
        shapes=[[2, *shape[:-1], length // 2 + 1]],
        dtypes=[TensorProto.FLOAT],
    )


def real(graph: Any, node: Any, **_: object) -> None:
    """Take the first half of a complex tensor."""
    _part(graph, node, 0)


def imag(graph: Any, node: Any, **_: object) -> None:
    """Take the second half of a complex tensor."""
    _part(graph, node, 1)


def _part(graph: Any, node: Any, which: int) -> None:
    from onnx import TensorProto
    from tf2onnx import utils

    # A producer that is complex still was not converted; then this is not, either.
    if graph.get_dtype(node.input[0]) != TensorProto.FLOAT:
        return
    index = graph.make_const(utils.make_name("part"), np.array(which, np.int64)).output[0]
    inputs, outputs, name = [node.input[0], index], node.output, node.name
    shape = graph.get_shape(node.input[0])
    graph.remove_node(name)
    graph.make_node(
        "Gather",
        inputs,
        attr={"axis": 0},
        name=name,
        outputs=outputs,
        shapes=[shape[1:]],
        dtypes=[TensorProto.FLOAT],
    )
