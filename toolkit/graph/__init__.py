"""Passes over ONNX graphs: each one rewrite rule in its own file, each keeps the outputs.

A pass is a function that changes a model in place and returns how often its rule applied. Running
it a second time changes nothing.
"""

from collections.abc import Callable

import onnx_ir as ir

from toolkit.graph.constant_reshape import constant_reshape
from toolkit.graph.fold_transpose import fold_transpose
from toolkit.graph.gemm import gemm
from toolkit.graph.guard_pad_maxpool import guard_pad_maxpool
from toolkit.graph.remove_unused import remove_unused

__all__ = ["PASSES", "clean"]

# In the order in which they help each other.
PASSES: dict[str, Callable[[ir.Model], int]] = {
    "constant_reshape": constant_reshape,
    "fold_transpose": fold_transpose,
    "gemm": gemm,
    "guard_pad_maxpool": guard_pad_maxpool,
    "remove_unused": remove_unused,
}


def clean(model: ir.Model) -> dict[str, int]:
    """Run all passes on a model, in place; return how often each rule applied."""
    return {name: apply(model) for name, apply in PASSES.items()}
