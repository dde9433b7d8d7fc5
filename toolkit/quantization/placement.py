"""Which nodes work in int8 and which stay in float, and why.

Weight layers decide: a convolution, a dense layer or a product with a constant matrix becomes
int8 unless int8 is known to lose there. Everything between them (pooling, residual additions,
concatenations, reshapes, activations) is int8 where all that it reads is int8 already, so that
no value is converted back and forth.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import onnx_ir as ir

from toolkit.graph.editing import constant, sole_use
from toolkit.quantization.pixels import MOVES, Pixels
from toolkit.quantization.recipe import Recipe, Selection

# Operators with weights for which onnxruntime has int8 kernels on every CPU.
WEIGHT_LAYERS = ("Conv", "Gemm", "MatMul")
# Operators that onnxruntime computes in int8, or whose elements it only moves.
CARRIERS = frozenset(
    {
        "Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "LeakyRelu",
        "MaxPool", "Mul", "Relu", "Reshape", "Sigmoid", "Slice", "Split", "Squeeze", "Transpose",
        "Unsqueeze",
    }
)  # fmt: skip

_FEW_CHANNELS = 3
_LARGE_KERNEL = 100  # input channels times kernel size from which int8 wins in spite of that
_FEW_DEPTHWISE = 8


@dataclass(frozen=True)
class Placement:
    """Where each node of the float graph will run.

    Attributes:
        int8: Names of the nodes that become int8, in the order of the graph.
        stays_float: Names of the weight layers that stay in float, and of other nodes that are
            kept there, with the reason in words.
        pixels: Results of picture inputs that an int8 node reads.
        last_layers: Weight layers among ``int8`` whose scores stay in float.
    """

    int8: tuple[str, ...]
    stays_float: dict[str, str]
    pixels: tuple[str, ...]
    last_layers: tuple[str, ...]


def place(
    model: ir.Model,
    recipe: Recipe,
    pixels: Iterable[Pixels],
    excluded: Mapping[str, str],
    allowed: Collection[str] = (),
) -> Placement:
    """Decide for each node of a float graph.

    Args:
        model: The graph, with shapes and types inferred; left unchanged.
        recipe: Patterns and choices.
        pixels: The picture inputs; their exact ones count as int8.
        excluded: Nodes that stay in float whatever the recipe says, with the reason.
        allowed: Convolutions that become int8 though a rule says that float is faster.
    """
    # TensorRT knows no uint8 in QuantizeLinear's sense, and places all but layers itself.
    tensorrt = recipe.format == "tensorrt"
    exact = {entry.result for entry in pixels if entry.zero_point is not None and not tensorrt}
    arithmetic = {node for entry in pixels for node in entry.arithmetic}
    placed: dict[str, ir.Node] = {}
    stays: dict[str, str] = {}
    quantized: set[ir.Value] = set(exact)
    read_pixels: set[str] = set()
    for node in model.graph:
        name = node.name or ""
        if node in arithmetic or node.domain not in ("", "ai.onnx"):
            continue
        if is_weight_layer(node):
            reason = excluded.get(name) or _reason(node, recipe, quantized, allowed)
            if reason:
                stays[name] = reason
                continue
        elif name in excluded:
            stays[name] = excluded[name]
            continue
        elif (
            tensorrt
            or node.op_type not in CARRIERS
            or not (is_selected(recipe.operators, node.op_type) and is_selected(recipe.nodes, name))
            or not _all_quantized(node, quantized)
            or (recipe.format == "qoperator" and not _removable(node, placed))
        ):
            continue
        placed[name] = node
        quantized.update(node.outputs)
        read_pixels.update(str(value.name) for value in node.inputs if value in exact)
    trimmed = _without_idle_carriers(placed)
    last = [
        name
        for name, node in trimmed.items()
        if recipe.placement.last_layer == "float"
        and node.op_type in ("Gemm", "MatMul")
        and not any(use.node.name in trimmed for use in node.outputs[0].uses())
    ]
    return Placement(tuple(trimmed), stays, tuple(sorted(read_pixels)), tuple(last))


def is_weight_layer(node: ir.Node) -> bool:
    """Tell whether a node multiplies its input by constant float32 weights."""
    if node.op_type not in WEIGHT_LAYERS or len(node.inputs) < 2:
        return False
    weight = constant(node.inputs[1])
    if weight is None or weight.dtype != np.float32:
        return False
    return constant(node.inputs[0]) is None


def _reason(
    node: ir.Node, recipe: Recipe, quantized: set[ir.Value], allowed: Collection[str]
) -> str | None:
    """Return why a weight layer stays in float, or None."""
    if not is_selected(recipe.operators, node.op_type):
        return f"the recipe leaves {node.op_type} out"
    if not is_selected(recipe.nodes, node.name or ""):
        return "the recipe leaves this node out"
    if node.op_type == "Gemm" and not _plain_gemm(node):
        return "int8 kernels know no transposed input and no factors alpha and beta"
    if node.op_type == "Conv" and len(node.inputs) > 2 and constant(node.inputs[2]) is None:
        return "its bias is computed at run time"
    by_rule = recipe.placement.slow_convolutions == "float" and node.name not in allowed
    if node.op_type == "Conv" and by_rule:
        return _slow(node, quantized)
    return None


def _slow(node: ir.Node, quantized: set[ir.Value]) -> str | None:
    """Return why a convolution is slower in int8, or None.

    With one to three input channels, onnxruntime's float kernel reads the picture as it is,
    while the int8 one first copies every patch: measured at batch 1 on x86 with VNNI, int8 takes
    1.1 to 1.8 times float's time below 100 products per output, and wins from there on.
    """
    weight = constant(node.inputs[1])
    if weight is None or weight.ndim < 3:
        return None
    group = node.attributes["group"].as_int() if "group" in node.attributes else 1
    products = int(np.prod(weight.shape[1:]))
    if group == 1 and weight.shape[1] <= _FEW_CHANNELS and products < _LARGE_KERNEL:
        plural = "channel" if weight.shape[1] == 1 else "channels"
        return f"{weight.shape[1]} input {plural}: float is faster"
    if 1 < group <= _FEW_DEPTHWISE and weight.shape[1] == 1 and node.inputs[0] not in quantized:
        return f"depthwise with {group} channels after a float layer: float is faster"
    return None


def _plain_gemm(node: ir.Node) -> bool:
    attributes = node.attributes
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    return (
        not ("transA" in attributes and attributes["transA"].as_int())
        and not ("alpha" in attributes and attributes["alpha"].as_float() != 1)
        and not ("beta" in attributes and attributes["beta"].as_float() != 1)
        and (bias is None or _vector(bias))
    )


def _vector(bias: ir.Value) -> bool:
    array = constant(bias)
    return array is not None and array.ndim == 1 and array.size > 1


def is_selected(selection: Selection, name: str) -> bool:
    """Tell whether a name is among those that a recipe selects."""
    return any(fnmatchcase(name, pattern) for pattern in selection.include) and not any(
        fnmatchcase(name, pattern) for pattern in selection.exclude
    )


def _all_quantized(node: ir.Node, quantized: set[ir.Value]) -> bool:
    """Tell whether all that a node reads, apart from its parameters, is int8."""
    values = [node.inputs[0]] if node.op_type in (*MOVES, "Clip", "Split") else list(node.inputs)
    data = [value for value in values if value is not None and constant(value) is None]
    return bool(data) and all(value in quantized for value in data)


def _without_idle_carriers(placed: dict[str, ir.Node]) -> dict[str, ir.Node]:
    """Drop the moves and activations at the end of the int8 part that no int8 node follows.

    Their result is converted to float anyway. Poolings stay: they leave less to convert.
    """
    kept = dict(placed)
    for name, node in reversed(list(placed.items())):
        if node.op_type in WEIGHT_LAYERS or "Pool" in node.op_type or node.op_type == "Add":
            continue
        if absorbing(node, kept):
            continue
        if not any(use.node.name in kept for value in node.outputs for use in value.uses()):
            del kept[name]
    return kept


def _removable(node: ir.Node, placed: Collection[str]) -> bool:
    """Tell whether the quantizer may remove a node; in QOperator form it removes any activation."""
    return node.op_type not in ("Relu", "Clip") or bool(absorbing(node, placed))


def absorbing(node: ir.Node, int8: Collection[str]) -> list[ir.Value]:
    """Return the tensors that take over the range of a ReLU or Clip, so that it vanishes.

    What clips is the rounding of the int8 node before it. Moves and max poolings between them hand
    its scale on, so the list starts at the activation's input and ends at that node's output. It is
    empty when there is no such node, or one of the tensors is read elsewhere.
    """
    found: list[ir.Value] = []
    reader, value = node, node.inputs[0]
    while node.op_type in ("Relu", "Clip") and value is not None and sole_use(value) is reader:
        maker = value.producer()
        if maker is None or maker.name not in int8:
            return []
        found.append(value)
        if maker.op_type not in MOVES and maker.op_type != "MaxPool":
            return found
        reader, value = maker, maker.inputs[0]
    return []
