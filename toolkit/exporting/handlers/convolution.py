"""Convolutions of pictures with three dimensions in groups, which tf2onnx takes for one group."""

from typing import Any


def conv3d(graph: Any, node: Any, **options: object) -> None:
    """Convert as tf2onnx does, and set the groups: the input's channels by the kernel's."""
    from tf2onnx.onnx_opset.nn import ConvOp

    channels_last = node.attr["data_format"].s == b"NDHWC"
    channels = graph.get_shape(node.input[0])[-1 if channels_last else 1]
    of_kernel = graph.get_shape(node.input[1])[-2]
    ConvOp.any_version(graph.opset, graph, node, **options)
    node.set_attr("group", channels // of_kernel)
