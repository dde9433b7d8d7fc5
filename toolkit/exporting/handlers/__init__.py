"""TensorFlow operators that tf2onnx 1.17 does not know or gets wrong, written as ONNX operators.

A handler is a function of tf2onnx's graph and one of its nodes, which it replaces. A node that it
leaves as it is stays in the graph under TensorFlow's name, and is refused later by the name of
its layer (`toolkit.exporting.refusals`).
"""

import functools
from collections.abc import Callable

from toolkit.exporting.handlers import convolution, elementwise, resizing, spectra

# By operator, with the first opset that has what it writes.
HANDLERS: dict[str, tuple[int, Callable[..., None]]] = {
    "Bucketize": (9, elementwise.bucketize),
    "Conv3D": (7, convolution.conv3d),
    "Erfc": (9, elementwise.erfc),
    "Expm1": (7, elementwise.expm1),
    "Imag": (7, spectra.imag),
    "RFFT": (7, spectra.rfft),
    "Real": (7, spectra.real),
    "ResizeArea": (7, resizing.resize),
    "ResizeBicubic": (7, resizing.resize),
    "ScaleAndTranslate": (7, resizing.resize),
}


@functools.cache
def register() -> None:
    """Put the handlers into tf2onnx's table of conversions, for this process."""
    from tf2onnx.handler import tf_op

    for name, (opset, handler) in HANDLERS.items():
        # tf2onnx takes the entry of the highest opset: replace its own of later opsets as well.
        known = tf_op.get_opsets()[""]
        later = [number for number, table in enumerate(known) if number > opset and name in table]
        for number in (opset, *later):
            tf_op.register_handler(handler, number, [name], "", {})
