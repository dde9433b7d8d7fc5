"""What a rule about extents is, and what the rules share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import onnx_ir as ir

from toolkit.graph.editing import add_initializer

Extents = tuple[int | None, ...]


@dataclass(frozen=True)
class Rule:
    """What is known about one kind of operator; the functions of the package, for that kind."""

    known: Callable[[ir.Node], bool]
    needed: Callable[[ir.Node, int, Extents], Extents]
    obtained: Callable[[ir.Node, Sequence[Extents], Extents], Extents]
    trim: Callable[[ir.Node, ir.Graph, Extents, Extents], None] | None = None


def full(value: ir.Value | None) -> Extents:
    """Return the sizes of a tensor's axes; () where the rank is unknown."""
    if value is None or value.shape is None:
        return ()
    return tuple(size if isinstance(size, int) else None for size in value.shape)


def set_input(node: ir.Node, index: int, graph: ir.Graph, array: npt.NDArray[Any]) -> None:
    """Give a node another constant; that of others stays."""
    name = f"{str(node.outputs[0].name).removesuffix('_trimmed')}_{node.op_type.lower()}_trimmed"
    node.replace_input_with(index, add_initializer(graph, name, array))
