"""Random small graphs, for tests that hold of any graph: what each pass looks for, in any company.

`generate` grows a graph from its input: it picks a value that is there and puts one of the
fragments below behind it. Many are what a pass rewrites, or nearly that: a padding with another
value, an intermediate result that is an output too, a transposition that moves the batch.
"""

import math
from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

OPSETS = (13, 15, 17, 18, 20, 21)
BATCH = 2

Shape = tuple[int, ...]


class Growing:
    """A graph while it grows: nodes, constants, and the values that may be built upon."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.opset = int(self.rng.choice(OPSETS))
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.values: list[tuple[str, Shape]] = []  # with the batch as BATCH, as it is traced

    def add(self, operator: str, *inputs: str, **attributes: object) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], f"n_{name}", **attributes))
        return name

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def weights(self, *shape: int) -> str:
        scale = 1 / math.sqrt(max(1, math.prod(shape[1:])))
        return self.constant(self.rng.normal(0, scale, shape).astype(np.float32))

    def number(self, value: float) -> str:
        shape = [(), (1,)][self.draw(2)]
        return self.constant(np.full(shape, value, np.float32))

    def draw(self, count: int) -> int:
        return int(self.rng.integers(count))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)


Fragment = Callable[[Growing, str, Shape], tuple[str, Shape] | None]


def generate(seed: int, steps: int = 9) -> ir.Model:
    """Return a model with one input and one to three outputs; equal seeds give equal models."""
    graph = Growing(seed)
    shape = [(BATCH, 3, 15, 15), (BATCH, 15, 15, 3), (BATCH, 5, 6), (BATCH, 6)][graph.draw(4)]
    pixels = len(shape) == 4 and graph.chance(0.5)
    start = "x"
    if pixels:
        start = graph.add(
            "Mul", graph.add("Cast", "x", to=TensorProto.FLOAT), graph.number(1 / 255)
        )
    graph.values.append((start, shape))
    if shape[1:] == (3, 15, 15) and graph.chance(0.5) and (grown := _tower(graph, start, shape)):
        graph.values.append(grown)
    while steps:
        # Mostly the newest: graphs shall be deep rather than wide.
        place = len(graph.values) - 1 if graph.chance(0.8) else graph.draw(len(graph.values))
        fragment = FRAGMENTS[graph.draw(len(FRAGMENTS))]
        grown = fragment(graph, *graph.values[place])
        if grown is not None:
            graph.values.append(grown)
            steps -= 1
    ends = {graph.values[-1][0]: graph.values[-1][1]}
    for name, sizes in graph.values[1:-1]:
        if graph.chance(0.12) and len(ends) < 3:
            ends[name] = sizes
    dtype = TensorProto.UINT8 if pixels else TensorProto.FLOAT
    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "random",
            [helper.make_tensor_value_info("x", dtype, ["batch", *shape[1:]])],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *sizes[1:]])
                for name, sizes in ends.items()
            ],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", graph.opset)],
        ir_version=8,
    )
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto, data_prop=True))


def _convolution(graph: Growing, name: str, shape: Shape) -> tuple[str, Shape] | None:
    if len(shape) != 4:
        return None
    kernel, stride, out = 1 + graph.draw(3), 1 + graph.draw(2), 2 + graph.draw(4)
    group = shape[1] if graph.chance(0.2) else 1
    out = shape[1] if group > 1 else out
    before, after = graph.draw(2), graph.draw(2)
    sizes = [(size + before + after - kernel) // stride + 1 for size in shape[2:]]
    if min(size + before + after - kernel for size in shape[2:]) < 0:
        return None
    inputs = [name, graph.weights(out, shape[1] // group, kernel, kernel)]
    if graph.chance(0.5):
        inputs.append(graph.weights(out))
    result = graph.add(
        "Conv", *inputs, group=group, strides=[stride] * 2, pads=[before] * 2 + [after] * 2
    )
    return result, (shape[0], out, *sizes)


def _pooling(graph: Growing, name: str, shape: Shape) -> tuple[str, Shape] | None:
    if len(shape) != 4 or min(shape[2:]) < 3:
        return None
    kernel, stride = 2 + graph.draw(2), 1 + graph.draw(2)
    kind = ("MaxPool", "AveragePool")[graph.draw(2)]
    result = graph.add(kind, name, kernel_shape=[kernel] * 2, strides=[stride] * 2)
    return result, (*shape[:2], *((size - kernel) // stride + 1 for size in shape[2:]))


def _padded(graph: Growing, name: str, shape: Shape) -> tuple[str, Shape] | None:
    if len(shape) != 4 or min(shape[2:]) < 3:
        return None
    inputs = [name, graph.ints(0, 0, 1, 1, 0, 0, 1, 1)]
    if graph.chance(0.6):
        inputs.append(graph.constant(np.array([0, 0, -1][graph.draw(3)], np.float32)))
    window = _pooling if graph.chance(0.6) else _convolution
    return window(graph, graph.add("Pad", *inputs), (*shape[:2], shape[2] + 2, shape[3] + 2))


def _tower(graph: Growing, name: str, shape: Shape) -> tuple[str, Shape] | None:
    """A convolution of which the pooling behind it does not read the border."""
    if len(shape) != 4 or min(shape[2:]) < 8:
        return None
    pads = [graph.draw(2) for _ in range(4)]
    sizes = [size + pads[axis] + pads[axis + 2] - 2 for axis, size in enumerate(shape[2:])]
    result = graph.add("Conv", name, graph.weights(8, shape[1], 3, 3), pads=pads)
    result, _ = _activation(graph, result, (shape[0], 8, *sizes))
    return _pooling(graph, result, (shape[0], 8, *sizes))


def _slice(graph: Growing, name: str, shape: Shape) -> tuple[str, Shape] | None:
    axis = len(shape) - 1
    if len(shape) < 3 or shape[axis] < 4:
        return None
    start, end = graph.draw(2), shape[axis] - graph.draw(2)
    bounds = [graph.ints(start), graph.ints(end), graph.ints(axis)]
    return graph.add("Slice", name, *bounds), (*shape[:axis], end - start)


def _transposition(graph: Growing, name: str, shape: Shape) -> tuple[str, Shape] | None:
    if len(shape) < 3:
        return None
    order = [0, *(graph.rng.permutation(len(shape) - 1) + 1).tolist()]
    if len(shape) == 4 and graph.chance(0.7):
        order = [[0, 2, 3, 1], [0, 3, 1, 2]][graph.draw(2)]
    result = graph.add("Transpose", name, perm=order)
    return result, tuple(shape[axis] for axis in order)


def _there_and_back(graph: Growing, name: str, shape: Shape) -> tuple[str, Shape] | None:
    if len(shape) != 4:
        return None
    moved = graph.add("Transpose", name, perm=[0, 2, 3, 1])
    moved, _ = _activation(graph, moved, (shape[0], *shape[2:], shape[1]))
    channels = graph.weights(shape[1])
    if graph.chance(0.5):
        moved = graph.add(("Add", "Mul")[graph.draw(2)], moved, channels)
    return graph.add("Transpose", moved, perm=[0, 3, 1, 2]), shape


def _activation(graph: Growing, name: str, shape: Shape) -> tuple[str, Shape]:
    kind = ("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Identity", "Neg")[graph.draw(6)]
    return graph.add(kind, name), shape


def _per_channel(graph: Growing, name: str, shape: Shape) -> tuple[str, Shape]:
    axis = 1 if graph.chance(0.7) else len(shape) - 1
    sizes = [1] * (len(shape) - axis)
    sizes[0] = shape[axis]
    array = graph.rng.uniform(0.5, 1.5, sizes).astype(np.float32)
    operands = [name, graph.constant(array)]
    kind = ("Mul", "Add", "Sub", "Div")[graph.draw(4)]
    if graph.chance(0.2) and kind != "Div":
        operands.reverse()
    return graph.add(kind, *operands), shape


def _by_a_number(graph: Growing, name: str, shape: Shape) -> tuple[str, Shape]:
    return graph.add(("Mul", "Add")[graph.draw(2)], name, graph.number(0.25)), shape


def _batch_normalization(graph: Growing, name: str, shape: Shape) -> tuple[str, Shape] | None:
    if len(shape) < 3:
        return None
    parts = [graph.weights(shape[1]) for _ in range(3)]
    variance = graph.rng.uniform(0.5, 1.5, shape[1]).astype(np.float32)
    return graph.add("BatchNormalization", name, *parts, graph.constant(variance)), shape


def _flattening(graph: Growing, name: str, shape: Shape) -> tuple[str, Shape] | None:
    if len(shape) < 3:
        return None
    columns = math.prod(shape[1:])
    target = graph.ints(-1, columns)
    if graph.chance(0.7):
        size = graph.add("Cast", graph.add("Shape", name), to=TensorProto.INT32)
        first = graph.add("Slice", size, graph.ints(0), graph.ints(1), graph.ints(0))
        rest = graph.constant(np.array([columns], np.int32))
        target = graph.add("Cast", graph.add("Concat", first, rest, axis=0), to=TensorProto.INT64)
    return graph.add("Reshape", name, target), (shape[0], columns)


def _moved_flattening(graph: Growing, name: str, shape: Shape) -> tuple[str, Shape] | None:
    """A flattened picture and a dense layer, in the order of Keras."""
    moved = _transposition(graph, name, shape)
    flat = None if moved is None else _flattening(graph, *moved)
    return None if flat is None else _dense(graph, *flat)


def _dense(graph: Growing, name: str, shape: Shape) -> tuple[str, Shape]:
    out = 2 + graph.draw(4)
    result = graph.add("MatMul", name, graph.weights(shape[-1], out))
    if graph.chance(0.8):
        bias = graph.weights(*([out], [1, out])[graph.draw(2)])
        operands = [result, bias][:: -1 if graph.chance(0.3) else 1]
        result = graph.add("Add", *operands)
    return result, (*shape[:-1], out)


def _tensordot(graph: Growing, name: str, shape: Shape) -> tuple[str, Shape] | None:
    """A dense layer on more than two axes, as TensorFlow writes it."""
    if len(shape) < 3:
        return None
    flat = graph.add("Reshape", name, graph.ints(-1, shape[-1]))
    product, (_, out) = _dense(graph, flat, (math.prod(shape[:-1]), shape[-1]))
    batch = graph.add("Gather", graph.add("Shape", name), graph.ints(0))
    target = graph.add("Concat", batch, graph.ints(*shape[1:-1], out), axis=0)
    return graph.add("Reshape", product, target), (*shape[:-1], out)


def _gelu(graph: Growing, name: str, shape: Shape) -> tuple[str, Shape]:
    one, half = graph.number(1), graph.number(0.5)
    kind = graph.draw(3)
    if kind == 2:
        cube = graph.add("Mul", graph.add("Pow", name, graph.number(3)), graph.number(0.044715))
        inner = graph.add("Add", name, cube)
        gate = graph.add("Tanh", graph.add("Mul", inner, graph.number(math.sqrt(2 / math.pi))))
    else:
        root = graph.number(math.sqrt(0.5))
        inner = graph.add("Neg", name) if kind else name
        gate = graph.add("Erf", graph.add("Mul", inner, root))
    gate = graph.add("Sub" if kind == 1 else "Add", one, gate)
    if graph.chance(0.5):
        return graph.add("Mul", graph.add("Mul", name, half), gate), shape
    return graph.add("Mul", name, graph.add("Mul", gate, half)), shape


def _layer_normalization(graph: Growing, name: str, shape: Shape) -> tuple[str, Shape] | None:
    if len(shape) < 3 or shape[-1] < 2:
        return None

    def mean(value: str) -> str:
        if graph.opset >= 18:
            return graph.add("ReduceMean", value, graph.ints(-1), keepdims=1)
        return graph.add("ReduceMean", value, axes=[-1], keepdims=1)

    center = mean(name)
    distance = graph.add("Sub", name, center)
    variance = mean(graph.add("Mul", distance, distance))
    spread = graph.add("Sqrt", graph.add("Add", variance, graph.number(0.1)))
    inverse = graph.add("Reciprocal", spread)
    if graph.chance(0.7):
        inverse = graph.add("Mul", inverse, graph.weights(shape[-1]))
    shift = graph.add("Mul", graph.add("Neg", center), inverse)
    if graph.chance(0.7):
        shift = graph.add("Add", shift, graph.weights(shape[-1]))
    return graph.add("Add", graph.add("Mul", name, inverse), shift), shape


def _joined(graph: Growing, name: str, shape: Shape) -> tuple[str, Shape] | None:
    others = [value for value, sizes in graph.values if sizes == shape]
    other = others[graph.draw(len(others))]
    if graph.chance(0.5) or len(shape) < 3:
        return graph.add(("Add", "Mul", "Max")[graph.draw(3)], name, other), shape
    return graph.add("Concat", name, other, axis=1), (shape[0], 2 * shape[1], *shape[2:])


def _twice(graph: Growing, name: str, shape: Shape) -> tuple[str, Shape]:
    both = [graph.add("Mul", name, graph.number(0.5)) for _ in range(2)]
    return graph.add("Add", *both), shape


def _reduction(graph: Growing, name: str, shape: Shape) -> tuple[str, Shape] | None:
    if len(shape) != 4:
        return None
    axes, keep = [[2, 3], [1, 2]][graph.draw(2)], graph.draw(2)
    if graph.opset >= 18:
        result = graph.add("ReduceMean", name, graph.ints(*axes), keepdims=keep)
    else:
        result = graph.add("ReduceMean", name, axes=axes, keepdims=keep)
    left = tuple(
        1 if axis in axes else size for axis, size in enumerate(shape) if keep or axis not in axes
    )
    return result, left


def _softmax(graph: Growing, name: str, shape: Shape) -> tuple[str, Shape]:
    return graph.add("Softmax", name, axis=[1, -1][graph.draw(2)]), shape


def _to_own_shape(graph: Growing, name: str, shape: Shape) -> tuple[str, Shape]:
    result = graph.add("Reshape", name, graph.ints(0, *shape[1:]))
    return graph.add("Cast", result, to=TensorProto.FLOAT), shape


FRAGMENTS: tuple[Fragment, ...] = (
    _convolution, _tower, _pooling, _padded, _slice, _transposition, _there_and_back,
    _activation, _per_channel, _by_a_number, _batch_normalization, _flattening, _moved_flattening,
    _dense, _tensordot, _gelu, _layer_normalization, _joined, _twice, _reduction, _softmax,
    _to_own_shape,
)  # fmt: skip
