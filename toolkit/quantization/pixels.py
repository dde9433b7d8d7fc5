"""Pixels are quantized already: a uint8 picture with y = x * scale + offset needs no rounding.

Export writes   image: uint8 -> Cast -> Mul(scale) [-> Add(offset)] -> Reshape or Transpose -> Conv
and here it becomes, exactly,

    image -> Reshape or Transpose -> DequantizeLinear(scale, zero point)   before an int8 node
    image -> Reshape or Transpose -> Cast -> Conv with W * scale           before a float one

The first holds when -offset / scale is a whole number in [0, 255], the zero point. The second
needs offset 0. It saves a multiplication, and it keeps onnxruntime from quantizing that
convolution on its own: since 1.22 it does so wherever a DequantizeLinear comes before and a
QuantizeLinear after a convolution, even when the weights are float.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from toolkit.graph.editing import add_initializer, constant, sole_use

# Operators that move elements without changing them; arithmetic with one number commutes.
MOVES = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Identity"})


@dataclass(frozen=True)
class Pixels:
    """A picture input and the arithmetic behind it.

    Attributes:
        source: The uint8 tensor, moved into the shape that the network reads.
        arithmetic: The Cast, Mul, Div, Add and Sub nodes, in order.
        result: The float32 tensor that the network reads.
        scale: y = x * scale + offset.
        offset: See ``scale``.
    """

    source: ir.Value
    arithmetic: tuple[ir.Node, ...]
    result: ir.Value
    scale: float
    offset: float

    @property
    def zero_point(self) -> int | None:
        """The code of 0.0 when the pixels are an exact quantization of y, else None."""
        if not self.scale > 0:
            return None
        code = -self.offset / self.scale
        nearest = round(code)
        # float32 constants such as 1/255 leave a rounding error of this size.
        return nearest if abs(code - nearest) < 1e-4 and 0 <= nearest <= 255 else None


def find_pixels(model: ir.Model) -> list[Pixels]:
    """Find picture inputs; moves behind the arithmetic are put in front of it, in place."""
    found = []
    for value in model.graph.inputs:
        if value.dtype != ir.DataType.UINT8:
            continue
        cast = _after_moves(value)
        if cast is not None and cast.op_type == "Cast":
            pixels = _read(cast)
            if pixels is not None:
                found.append(pixels)
    return found


def dequantize(model: ir.Model, pixels: Pixels) -> None:
    """Replace the arithmetic by a DequantizeLinear, in place.

    Raises:
        ValueError: The pixels are no exact quantization (`Pixels.zero_point` is None).
    """
    if pixels.zero_point is None:
        raise ValueError("the pixels are no exact quantization of what the network reads")
    graph = model.graph
    scale = add_initializer(graph, "pixel_scale", np.array(pixels.scale, np.float32))
    zero_point = add_initializer(graph, "pixel_zero_point", np.array(pixels.zero_point, np.uint8))
    node = ir.node("DequantizeLinear", [pixels.source, scale, zero_point], name="pixels")
    _put(graph, node, pixels)


def fold_into_weights(model: ir.Model, pixels: Pixels) -> bool:
    """Replace the arithmetic by a Cast and scale the weights that read it, in place.

    Returns False, and changes nothing, when the offset is not 0 or anything but convolutions
    and dense layers with weights of their own reads the pixels.
    """
    graph = model.graph
    users = list(pixels.result.uses())
    weights = [constant(use.node.inputs[1]) for use in users if len(use.node.inputs) > 1]
    if (
        pixels.offset != 0
        or pixels.result.is_graph_output()
        or any(use.node.op_type not in ("Conv", "Gemm", "MatMul") or use.idx for use in users)
        or any(weight is None for weight in weights)
    ):
        return False
    for use, weight in zip(users, weights, strict=True):
        assert weight is not None  # noqa: S101 - checked above
        name = use.node.inputs[1].name if use.node.inputs[1] is not None else "weight"
        scaled = (weight.astype(np.float64) * pixels.scale).astype(np.float32)
        use.node.replace_input_with(1, add_initializer(graph, f"{name}_per_pixel", scaled))
    node = ir.node(
        "Cast", [pixels.source], attributes={"to": int(ir.DataType.FLOAT)}, name="pixels"
    )
    _put(graph, node, pixels)
    return True


def _put(graph: ir.Graph, node: ir.Node, pixels: Pixels) -> None:
    """Let ``node`` compute what the arithmetic computed."""
    output = node.outputs[0]
    output.dtype, output.shape = ir.DataType.FLOAT, pixels.result.shape
    graph.insert_after(pixels.arithmetic[-1], node)
    name = pixels.result.name
    pixels.result.replace_all_uses_with(output)
    for old in reversed(pixels.arithmetic):
        graph.remove(old, safe=True)
    output.name = name


def _after_moves(value: ir.Value) -> ir.Node | None:
    """Return the one node that reads a value, or the moves of it."""
    node = sole_use(value)
    while node is not None and node.op_type in MOVES and node.inputs[0] is value:
        value = node.outputs[0]
        node = sole_use(value)
    return node


def _read(cast: ir.Node) -> Pixels | None:
    scale, offset = 1.0, 0.0
    arithmetic = [cast]
    value = cast.outputs[0]
    if value.dtype != ir.DataType.FLOAT:
        return None
    while (node := sole_use(value)) is not None:
        if node.op_type in MOVES and node.inputs[0] is value:
            _move_before(node, arithmetic)
            continue
        step = _step(node, value)
        if step is None:
            break
        factor, summand = step
        scale, offset = scale * factor, offset * factor + summand
        arithmetic.append(node)
        value = node.outputs[0]
    source = cast.inputs[0]
    assert source is not None  # noqa: S101 - a Cast has an input
    return Pixels(source, tuple(arithmetic), value, scale, offset)


def _step(node: ir.Node, value: ir.Value) -> tuple[float, float] | None:
    """Return factor and summand of one arithmetic node with a single number, or None."""
    if node.op_type not in ("Mul", "Div", "Add", "Sub") or len(node.inputs) != 2:
        return None
    first = node.inputs[0] is value
    other = constant(node.inputs[1 if first else 0])
    if other is None or other.size != 1 or other.ndim > (len(value.shape) if value.shape else 0):
        return None
    number = float(other.reshape(())[()])
    if node.op_type == "Mul":
        return number, 0.0
    if node.op_type == "Add":
        return 1.0, number
    if not first:
        return None
    if node.op_type == "Sub":
        return 1.0, -number
    return (1.0 / number, 0.0) if number else None


def _move_before(move: ir.Node, arithmetic: list[ir.Node]) -> None:
    """Put a move in front of the arithmetic: Reshape(x * s) is Reshape(x) * s."""
    graph = move.graph
    assert isinstance(graph, ir.Graph)  # noqa: S101 - it was found in one
    cast, last = arithmetic[0], arithmetic[-1]
    source = cast.inputs[0]
    assert source is not None  # noqa: S101 - a Cast has an input
    shape = move.outputs[0].shape
    attributes = dict(move.attributes)
    moved = ir.node(move.op_type, [source, *move.inputs[1:]], attributes=attributes, name=move.name)
    moved.outputs[0].type, moved.outputs[0].shape = source.type, shape
    moved.outputs[0].name = f"{move.outputs[0].name}_pixels"
    graph.insert_before(cast, moved)
    cast.replace_input_with(0, moved.outputs[0])
    for node in arithmetic:
        node.outputs[0].shape = shape
    move.outputs[0].replace_all_uses_with(last.outputs[0], replace_graph_outputs=True)
    graph.remove(move, safe=True)
