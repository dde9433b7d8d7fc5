"""Computes once what is computed twice, and nothing that changes nothing.

    equal initializers                          ->  one
    equal nodes with the same inputs            ->  one
    Identity(x), Cast(x) to x's own type        ->  x
    Reshape(x) to x's own shape                 ->  x
    Reshape(Reshape(x, a), b)                   ->  Reshape(x, b)   b without zeros

Equal means bit for bit. Inputs of the graph and outputs keep their names: two outputs that are the
same stay two nodes. Left alone: nodes with bodies, random ones, those of other domains, and
initializers that are also inputs, which a caller may override.
"""

import hashlib
from collections.abc import Hashable

import onnx_ir as ir

from toolkit.graph.editing import constant, infer_shapes
from toolkit.graph.matching import bypass, integer, is_op, remove_dead
from toolkit.graph.shape_values import sizes

_RANDOM = frozenset(
    {
        "Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
        "RandomUniformLike",
    }
)  # fmt: skip
_BODIES = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def remove_duplicates(model: ir.Model) -> int:
    """Remove duplicate initializers and nodes and those without effect; return how many."""
    infer_shapes(model)
    count = sum(_merge_initializers(graph) for graph in model.graphs())
    for graph in model.graphs():
        # Removing one node may make others equal, but only such as come after it.
        seen: dict[Hashable, ir.Node] = {}
        for node in list(graph):
            count += _shorten(node)
            count += node.graph is graph and _merge(node, seen)
        remove_dead(graph)
    return count


def _merge_initializers(graph: ir.Graph) -> int:
    kept: dict[Hashable, ir.Value] = {}
    count = 0
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or value.is_graph_input() or value.is_graph_output():
            continue
        first = kept.setdefault(_fingerprint(tensor), value)
        if first is not value:
            value.replace_all_uses_with(first)
            graph.initializers.pop(name)
            count += 1
    return count


def _fingerprint(tensor: ir.TensorProtocol) -> Hashable:
    if tensor.dtype == ir.DataType.STRING:
        return tensor.dtype, tuple(tensor.shape), tuple(tensor.numpy().ravel().tolist())
    return tensor.dtype, tuple(tensor.shape), hashlib.sha256(tensor.tobytes()).digest()


def _shorten(node: ir.Node) -> int:
    """Remove a node that returns its input, and reshaping that this one overrides."""
    source = node.inputs[0] if node.inputs else None
    if source is None or len(node.outputs) != 1:
        return 0
    if is_op(node, "Reshape"):
        if _keeps_shape(node):
            return bypass(node, source)
        target, inner = constant(node.inputs[1]), source.producer()
        if inner is None or not is_op(inner, "Reshape") or inner.graph is not node.graph:
            return 0
        if target is None or (target == 0).any():
            return 0
        node.replace_input_with(0, inner.inputs[0])
        return 1 + _shorten(node)
    same_type = (
        is_op(node, "Cast")
        and source.dtype is not None
        and source.dtype == node.attributes["to"].as_int()
    )
    return (is_op(node, "Identity") or same_type) and bypass(node, source)


def _keeps_shape(reshape: ir.Node) -> bool:
    """Tell whether every entry is the input's size or copies it; one -1 is then that size too."""
    target, shape = constant(reshape.inputs[1]), sizes(reshape.inputs[0])
    if target is None or shape is None or target.shape != (len(shape),):
        return False
    if integer(reshape, "allowzero", 0):
        return False
    other = [
        int(entry) for entry, size in zip(target, shape, strict=True) if entry not in (0, size)
    ]
    return other in ([], [-1])


def _merge(node: ir.Node, seen: dict[Hashable, ir.Node]) -> bool:
    """Let the readers of a node read an equal one that came before."""
    if node.domain not in ("", "ai.onnx") or node.op_type in _RANDOM:
        return False
    key = _key(node)
    first = None if key is None else seen.setdefault(key, node)
    if first is None or first is node:
        return False
    pairs = list(zip(node.outputs, first.outputs, strict=True))
    if any(new.is_graph_output() for new, _ in pairs):
        # One of them can give up its name, unless both are outputs.
        if len(pairs) > 1 or pairs[0][1].is_graph_output():
            return False
        return bypass(node, pairs[0][1])
    for new, old in pairs:
        new.replace_all_uses_with(old)
    graph = node.graph
    assert graph is not None  # noqa: S101 - the node came out of a graph
    graph.remove(node, safe=True)
    return True


def _key(node: ir.Node) -> Hashable | None:
    attributes: list[Hashable] = []
    for name, attribute in sorted(node.attributes.items()):
        if attribute.type in _BODIES or attribute.is_ref():
            return None
        value = attribute.value
        if attribute.type == ir.AttributeType.TENSOR:
            value = _fingerprint(attribute.as_tensor())
        elif isinstance(value, list | tuple):
            value = tuple(value)
        if not isinstance(value, Hashable):
            return None
        attributes.append((name, attribute.type, value))
    # The values themselves, not their ids: those of removed values are given out again.
    return node.op_type, tuple(node.inputs), tuple(attributes), len(node.outputs)
