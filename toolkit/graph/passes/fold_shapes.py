"""Gives Reshape a constant target where the computed one is known up to its dynamic sizes.

    Reshape(x, Concat(Gather(Shape(x), 0), [1600]))  ->  Reshape(x, [-1, 1600])

One unknown entry becomes -1. With several, an entry that copies the input's size at the same
place becomes 0 and at most one other -1. The chain that computed the target (15 of 100 us of a
small CNN) is then unused.
"""

import numpy as np
import onnx_ir as ir

from toolkit.graph.editing import add_initializer, constant, infer_shapes, repeat
from toolkit.graph.shape_values import Entries, entries, sizes


def fold_shapes(model: ir.Model) -> int:
    """Make Reshape targets constant; return how many."""
    return repeat(lambda: _fold_known(model))


def _fold_known(model: ir.Model) -> int:
    infer_shapes(model)
    count = 0
    for node in list(model.graph.all_nodes()):
        if node.op_type != "Reshape" or node.domain != "" or node.graph is None:
            continue
        if constant(node.inputs[1]) is not None or _copies_no_zero(node):
            continue
        target = _target(entries(node.inputs[1]), sizes(node.inputs[0]))
        if target is not None:
            graph = node.graph
            assert isinstance(graph, ir.Graph)  # noqa: S101 - tells the type checker
            shape = add_initializer(graph, f"{node.outputs[0].name}_shape", np.array(target))
            node.replace_input_with(1, shape)
            count += 1
    return count


def _copies_no_zero(node: ir.Node) -> bool:
    """Tell whether a 0 in the target means a size of 0 instead of the input's."""
    return "allowzero" in node.attributes and node.attributes["allowzero"].as_int() != 0


def _target(known: Entries | None, source: Entries | None) -> list[int] | None:
    if known is None or any(entry == 0 for entry in known):
        return None
    dynamic = [index for index, entry in enumerate(known) if not isinstance(entry, int)]
    if len(dynamic) > 1 and source is not None:
        # Equal symbols at the same place: the size is copied, whatever it is.
        copied = [
            index
            for index in dynamic
            if known[index] is not None and index < len(source) and known[index] == source[index]
        ]
        keep = [index for index in dynamic if index not in copied]
        dynamic = keep or copied[:1]
        zeros = set(copied) - set(dynamic)
    else:
        zeros = set()
    inferred = [index for index, entry in enumerate(known) if entry == -1]
    if len(dynamic) + len(inferred) > 1:
        return None
    return [
        0 if index in zeros else -1 if index in dynamic else int(entry or 0)
        for index, entry in enumerate(known)
    ]
