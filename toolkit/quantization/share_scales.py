"""Gives the inputs and the output of a concatenation one range, so that bytes are only copied.

    Concat(a, b) with ranges A, B, C  ->  all three get the hull of A, B and C

With different scales the int8 kernel has to convert every element. It is done where no input
loses more than one of its eight bits. Poolings and reshapes hand the scale of their input on, so
the range that counts is that of the tensor before them; a residual addition converts its operands
in any case, and nothing would be won there.
"""

from collections.abc import Collection, Mapping

import onnx_ir as ir

from toolkit.quantization.pixels import MOVES
from toolkit.quantization.ranges import Range

_KEEPS_SCALE = MOVES | {"MaxPool", "AveragePool"}
_NARROWEST = 0.5  # of the common range: one bit


def share_scales(
    model: ir.Model, int8: Collection[str], ranges: Mapping[str, Range]
) -> dict[str, Range]:
    """Return the ranges with those of concatenations joined.

    Args:
        model: The float model; left unchanged.
        int8: Names of the nodes that will be quantized.
        ranges: The range of each activation.
    """
    joined = dict(ranges)
    # From the end: a concatenation that feeds another takes over what that one decided.
    for node in reversed(list(model.graph)):
        if node.op_type != "Concat" or node.name not in int8:
            continue
        sources = [_origin(value, int8) for value in node.inputs if value is not None]
        names = [str(value.name) for value in (*sources, node.outputs[0])]
        if any(name not in joined for name in names):
            continue
        hull = (
            min(0.0, *(joined[name][0] for name in names)),
            max(0.0, *(joined[name][1] for name in names)),
        )
        narrowest = min(_width(joined[name]) for name in names)
        if narrowest >= _NARROWEST * _width(hull):
            joined.update(dict.fromkeys(names, hull))
    return joined


def _origin(value: ir.Value, int8: Collection[str]) -> ir.Value:
    """Return the tensor whose scale a tensor has."""
    node = value.producer()
    while node is not None and node.op_type in _KEEPS_SCALE and node.name in int8:
        source = node.inputs[0]
        assert source is not None  # noqa: S101 - these operators have an input
        value, node = source, source.producer()
    return value


def _width(limits: Range) -> float:
    return max(limits[1], 0.0) - min(limits[0], 0.0)
