"""Lets a convolution do the padding in front of it.

    Conv(Pad(x, p, 0), W, pads=q)  ->  Conv(x, W, pads=p + q)

for a padding with zeros, of heights and widths alone. The result is the same: a convolution pads
with zeros, too. Keras' ZeroPadding2D in front of a strided convolution (MobileNet, ResNet50) comes
out as a Pad. onnxruntime folds it in float, but not between QuantizeLinear and DequantizeLinear:
the Pad then runs in float, with a conversion before and one behind.

Other readers of the padded tensor keep the Pad.
"""

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from toolkit.graph.editing import constant
from toolkit.graph.matching import input_at, integers, is_op, producer, remove_dead, text


def fold_pad(model: ir.Model) -> int:
    """Fold paddings into convolutions; return into how many."""
    count = sum(_fold(node) for node in list(model.graph) if is_op(node, "Conv"))
    if count:
        remove_dead(model.graph)
    return count


def _fold(conv: ir.Node) -> bool:
    pad = producer(conv.inputs[0], "Pad")
    added = None if pad is None else _zeros(pad)
    if pad is None or added is None or pad.graph is not conv.graph or added[:, :2].any():
        return False
    if text(conv, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return False
    axes = added.shape[1] - 2
    own = np.array(integers(conv, "pads") or (0,) * (2 * axes), np.int64)
    conv.attributes.pop("auto_pad", None)
    conv.attributes["pads"] = ir.AttrInt64s("pads", [int(n) for n in own + added[:, 2:].ravel()])
    conv.replace_input_with(0, pad.inputs[0])
    return True


def _zeros(pad: ir.Node) -> npt.NDArray[np.int64] | None:
    """Return how many zeros a Pad adds, int64 [2, rank], in front and behind; None if it cuts."""
    source, value = pad.inputs[0], input_at(pad, 2)
    pads, chosen = constant(input_at(pad, 1)), constant(input_at(pad, 3))
    if source is None or source.shape is None or pads is None or (pads < 0).any():
        return None
    if text(pad, "mode", "constant") != "constant" or (chosen is None and input_at(pad, 3)):
        return None
    filler = constant(value)
    if value is not None and (filler is None or filler.any()):
        return None
    rank = len(source.shape)
    axes = list(range(rank)) if chosen is None else [int(axis) % rank for axis in chosen]
    added = np.zeros((2, rank), np.int64)
    added[:, axes] = pads.reshape(2, -1)
    return added
