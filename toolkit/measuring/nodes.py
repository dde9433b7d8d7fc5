"""Matches the nodes of two models, so that their times stand side by side.

Names do not help: onnxruntime fuses a convolution with the activation behind it and calls the
result after one or the other, and quantizing renames both. The order does: both models do the
same operations in the same order, between which each has some of its own (Quantize, Reorder,
Transpose, Cast). So the two sequences of operators are aligned, like lines in a diff.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.measuring.profile import NodeTime

# What an operator computes, whatever its precision, layout or the activation fused into it.
_SAME = {
    "FusedConv": "Conv",
    "NhwcFusedConv": "Conv",
    "QLinearConv": "Conv",
    "ConvInteger": "Conv",
    "FusedGemm": "Gemm",
    "QGemm": "Gemm",
    "MatMul": "Gemm",
    "FusedMatMul": "Gemm",
    "QLinearMatMul": "Gemm",
    "MatMulInteger": "Gemm",
    "MatMulIntegerToFloat": "Gemm",
    "DynamicQuantizeMatMul": "Gemm",
    "MatMulNBits": "Gemm",
    "NhwcMaxPool": "MaxPool",
    "QLinearAveragePool": "AveragePool",
    "QLinearGlobalAveragePool": "GlobalAveragePool",
    "QLinearAdd": "Add",
    "QLinearMul": "Mul",
    "QLinearConcat": "Concat",
    "QLinearSigmoid": "Sigmoid",
    "QLinearLeakyRelu": "LeakyRelu",
    "QLinearSoftmax": "Softmax",
}
_HEAVY = frozenset({"Conv", "Gemm", "ConvTranspose", "LSTM", "GRU"})


@dataclass(frozen=True)
class ProfileRow:
    """One operation and the nodes that do it, by variant; a variant without one is missing.

    Attributes:
        operator: What it computes, as the float operator is called.
        name: Its name in the first variant that has it.
        nodes: By the variant's name.
    """

    operator: str
    name: str
    nodes: dict[str, NodeTime]


def side_by_side(profiles: Mapping[str, Sequence[NodeTime]]) -> list[ProfileRow]:
    """Return one row per operation, in the order in which it runs.

    Args:
        profiles: The nodes of each variant, in the order they run; the first is what the others
            are matched with.
    """
    rows: list[ProfileRow] = []
    for variant, nodes in profiles.items():
        rows = _merge(rows, variant, nodes)
    return rows


def operation(operator: str) -> str:
    """Return what an operator computes, as the float operator is called."""
    return _SAME.get(operator, operator)


def _merge(rows: list[ProfileRow], variant: str, nodes: Sequence[NodeTime]) -> list[ProfileRow]:
    """Add a variant's nodes to the rows: to those that match, the others in rows of their own."""
    merged: list[ProfileRow] = []
    row_index = 0
    matches = _align([row.operator for row in rows], [operation(node.operator) for node in nodes])
    for index, node in enumerate(nodes):
        partner = matches.get(index)
        if partner is None:
            merged.append(
                ProfileRow(operation(node.operator), _readable(node.name), {variant: node})
            )
            continue
        merged += rows[row_index:partner]
        row = rows[partner]
        merged.append(ProfileRow(row.operator, row.name, {**row.nodes, variant: node}))
        row_index = partner + 1
    return merged + rows[row_index:]


def _align(first: Sequence[str], second: Sequence[str]) -> dict[int, int]:
    """Return for positions in ``second`` the matching ones in ``first``.

    The longest common subsequence; operators that take long count more.
    """
    best = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i in reversed(range(len(first))):
        for j in reversed(range(len(second))):
            best[i][j] = max(best[i + 1][j], best[i][j + 1])
            if first[i] == second[j]:
                best[i][j] = max(best[i][j], best[i + 1][j + 1] + _weight(first[i]))
    matches: dict[int, int] = {}
    i = j = 0
    while i < len(first) and j < len(second):
        same = first[i] == second[j]
        if same and best[i][j] == best[i + 1][j + 1] + _weight(first[i]):
            matches[j] = i
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return matches


def _weight(operator: str) -> int:
    return 10 if operator in _HEAVY else 1


def _readable(name: str) -> str:
    """Strip what onnxruntime adds to a node's name."""
    name = name.removeprefix("fused ")
    return re.sub(r"(:0)?(_nchwc|_token_\d+)*$", "", name)
