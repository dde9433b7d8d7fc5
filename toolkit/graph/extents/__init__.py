"""How much of its inputs an operator reads for the first part of its output.

Everything here is about extents: how many entries, counted from the start, of each axis. For an
operator that `is_known`,

    needed    extents of the output            ->  extents of each input that they depend on
    obtained  extents of the inputs, and wished -> extents of the output that can be had
    trim      rewrites the node so that it gives exactly those

An extent of None stands for a dynamic axis, which is never trimmed. One module holds the rules of
one kind of operator.
"""

from collections.abc import Sequence

import onnx_ir as ir

from toolkit.graph.extents._broadcasting import BROADCASTING_RULE, CONCAT_RULE, UNARY_RULE
from toolkit.graph.extents._cutting import PAD_RULE, SLICE_RULE
from toolkit.graph.extents._moving import MOVING_RULE
from toolkit.graph.extents._rule import Extents, Rule, full
from toolkit.graph.extents._windows import WINDOW_RULE
from toolkit.graph.matching import BROADCASTING, UNARY

__all__ = ["Extents", "full", "is_known", "needed", "obtained", "trim"]

_RULES: dict[str, Rule] = (
    dict.fromkeys(UNARY, UNARY_RULE)
    | dict.fromkeys(BROADCASTING, BROADCASTING_RULE)
    | dict.fromkeys(("Conv", "MaxPool", "AveragePool"), WINDOW_RULE)
    | dict.fromkeys(("Transpose", "Reshape"), MOVING_RULE)
    | {"Concat": CONCAT_RULE, "Slice": SLICE_RULE, "Pad": PAD_RULE}
)


def is_known(node: ir.Node) -> bool:
    """Tell whether the node can be trimmed: its type, attributes and constants allow it."""
    if node.domain not in ("", "ai.onnx") or not node.inputs or not full(node.outputs[0]):
        return False
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        return False
    if any(0 in full(value) for value in (node.outputs[0], *node.inputs)):
        return False
    rule = _RULES.get(node.op_type)
    return rule is not None and rule.known(node)


def needed(node: ir.Node, wished: Extents) -> list[Extents]:
    """Return for each input how much of it the wished part of the output depends on."""
    return [
        () if value is None else _RULES[node.op_type].needed(node, index, wished)
        for index, value in enumerate(node.inputs)
    ]


def obtained(node: ir.Node, given: Sequence[Extents], wished: Extents) -> Extents:
    """Return the output's extents when the inputs have the given ones; at least the wished."""
    return _RULES[node.op_type].obtained(node, given, wished)


def trim(node: ir.Node, graph: ir.Graph, given: Extents, result: Extents) -> None:
    """Rewrite attributes and constants for a trimmed first input and a trimmed output."""
    rule = _RULES[node.op_type]
    if rule.trim is not None and (given != full(node.inputs[0]) or result != full(node.outputs[0])):
        rule.trim(node, graph, given, result)
