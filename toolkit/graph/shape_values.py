"""What is known before running about the small integer tensors that hold shapes.

A Keras Flatten with a dynamic batch becomes Shape, Gather, Slice, Concat and Cast nodes whose
result is, say, [batch, 1600]. This module computes such results entry by entry.
"""

import math
from collections.abc import Callable

import onnx_ir as ir

from toolkit.graph.editing import constant

# An entry: a number; a symbol, equal for equal sizes; or None when nothing is known.
Entry = int | str | None
Entries = tuple[Entry, ...]

_DEEPEST = 64  # nodes; keeps a damaged graph with a cycle from recursing for ever


def entries(value: ir.Value | None, depth: int = 0) -> Entries | None:
    """Return the entries of an integer tensor, flattened, or None when its length is unknown.

    Scalars have one entry. A symbol stands for the size of a dynamic axis.
    """
    array = constant(value)
    if array is not None:
        return tuple(int(entry) for entry in array.ravel()) if array.dtype.kind in "iu" else None
    if value is None or depth > _DEEPEST:
        return None
    node = value.producer()
    if node is None or node.domain not in ("", "ai.onnx") or node.op_type not in _RULES:
        return None
    return _RULES[node.op_type](node, depth + 1)


def sizes(value: ir.Value | None) -> Entries | None:
    """Return the sizes of a tensor's axes as entries, or None when its rank is unknown."""
    if value is None or value.shape is None:
        return None
    return tuple(
        size if isinstance(size, int) else size.value or f"{value.name}[{axis}]"
        for axis, size in enumerate(value.shape)
    )


def _same(node: ir.Node, depth: int) -> Entries | None:
    return entries(node.inputs[0], depth)


def _shape(node: ir.Node, depth: int) -> Entries | None:
    all_sizes = sizes(node.inputs[0])
    if all_sizes is None:
        return None
    start = node.attributes["start"].as_int() if "start" in node.attributes else 0
    end = node.attributes["end"].as_int() if "end" in node.attributes else None
    return all_sizes[start:end]


def _gather(node: ir.Node, depth: int) -> Entries | None:
    data, indices = entries(node.inputs[0], depth), constant(node.inputs[1])
    if data is None or indices is None:
        return None
    return tuple(data[int(index)] for index in indices.ravel())


def _slice(node: ir.Node, depth: int) -> Entries | None:
    data = entries(node.inputs[0], depth)
    bounds = [constant(bound) for bound in (*node.inputs[1:3], *node.inputs[4:5])]
    if data is None or any(bound is None or bound.size != 1 for bound in bounds):
        return None
    return data[slice(*(int(bound.item()) for bound in bounds if bound is not None))]


def _concat(node: ir.Node, depth: int) -> Entries | None:
    joined: list[Entry] = []
    for value in node.inputs:
        part = entries(value, depth)
        if part is None:
            return None
        joined.extend(part)
    return tuple(joined)


def _product(node: ir.Node, depth: int) -> Entries | None:
    """The product of all entries: shape tensors have one axis."""
    data = entries(node.inputs[0], depth)
    if data is None:
        return None
    numbers = [entry for entry in data if isinstance(entry, int)]
    return (math.prod(numbers) if len(numbers) == len(data) else None,)


def _elementwise(compute: Callable[[int, int], int]) -> Callable[[ir.Node, int], Entries | None]:
    def apply(node: ir.Node, depth: int) -> Entries | None:
        left, right = entries(node.inputs[0], depth), entries(node.inputs[1], depth)
        if (
            left is None
            or right is None
            or 1 not in (len(left), len(right), len(left) // len(right))
        ):
            return None
        length = max(len(left), len(right))
        left, right = left * (length // len(left)), right * (length // len(right))
        return tuple(
            compute(a, b) if isinstance(a, int) and isinstance(b, int) else None
            for a, b in zip(left, right, strict=True)
        )

    return apply


_RULES: dict[str, Callable[[ir.Node, int], Entries | None]] = {
    "Cast": _same,
    "Identity": _same,
    "Squeeze": _same,
    "Unsqueeze": _same,
    "Reshape": _same,
    "Shape": _shape,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "ReduceProd": _product,
    "Mul": _elementwise(lambda a, b: a * b),
    "Add": _elementwise(lambda a, b: a + b),
    "Sub": _elementwise(lambda a, b: a - b),
}
