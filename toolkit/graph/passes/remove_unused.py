"""Removes what does not reach an output, and what is there twice.

Identity(x) -> x; nodes and initializers that nothing reads; second copies of equal initializers;
imports of operator sets that no node uses; notes of the converter. Inputs and outputs keep their
names, and an output that is an input, or the same as another output, keeps its Identity.
"""

import onnx_ir as ir
from onnx_ir.passes.common import (
    ClearMetadataAndDocStringPass,
    DeduplicateInitializersPass,
    RemoveUnusedNodesPass,
    RemoveUnusedOpsetsPass,
)

from toolkit.graph.matching import bypass, is_op


def remove_unused(model: ir.Model) -> int:
    """Remove unused and duplicate parts; return how many nodes and initializers went."""
    before = _parts(model)
    for node in list(model.graph.all_nodes()):
        if is_op(node, "Identity") and node.inputs[0] is not None:
            bypass(node, node.inputs[0])
    RemoveUnusedNodesPass()(model)
    DeduplicateInitializersPass()(model)
    RemoveUnusedOpsetsPass()(model)
    ClearMetadataAndDocStringPass()(model)
    return before - _parts(model)


def _parts(model: ir.Model) -> int:
    return sum(graph.num_nodes() + len(graph.initializers) for graph in model.graphs())
