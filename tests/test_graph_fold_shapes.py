"""fold_shapes: which targets become constant, and that the outputs stay."""

import numpy as np
import onnx_ir as ir
import pytest
from graph_models import build, check, ints, operators, random

from toolkit.graph.editing import constant
from toolkit.graph.passes.fold_shapes import fold_shapes
from toolkit.graph.passes.remove_unused import remove_unused

FLATTEN = """{ s = Shape(x) n = Gather(s, zero) c = Cast<to = 6>(n)
    k = Concat<axis = 0>(c, rest) t = Cast<to = 7>(k) y = Reshape(x, t) }"""


def target(model: ir.Model) -> list[int]:
    node = next(node for node in model.graph if node.op_type == "Reshape")
    array = constant(node.inputs[1])
    return [] if array is None else array.tolist()


REWRITTEN = {
    "flatten with a dynamic batch": (
        f"(float[N,4,5,6] x) => (float[N,120] y) {FLATTEN}",
        {"zero": ints(0), "rest": np.array([120], np.int32)},
        [-1, 120],
    ),
    "a slice of the shape": (
        """(float[N,4,6] x) => (float[N,2,2,6] y) {
        s = Shape(x) n = Slice(s, a, b, z) t = Concat<axis = 0>(n, r) y = Reshape(x, t) }""",
        {"a": ints(0), "b": ints(1), "z": ints(0), "r": ints(2, 2, 6)},
        [-1, 2, 2, 6],
    ),
    "the product of a batch and a fixed size": (
        """(float[N,4,6] x) => (float[M,6] y) {
        s = Shape(x) f = Gather(s, i) p = ReduceProd<axes = [0], keepdims = 1>(f)
        t = Concat<axis = 0>(p, r) y = Reshape(x, t) }""",
        {"i": ints(0, 1), "r": ints(6)},
        [-1, 6],
    ),
    "two dynamic sizes that stay in place": (
        """(float[N,T,6] x) => (float[N,T,2,3] y) {
        s = Shape(x) n = Slice(s, a, b) t = Concat<axis = 0>(n, r) y = Reshape(x, t) }""",
        {"a": ints(0), "b": ints(2), "r": ints(2, 3)},
        [-1, 0, 2, 3],
    ),
    "a shape that is known altogether": (
        """(float[2,3,4] x) => (float[6,4] y) {
        s = Shape(x) a = Gather(s, i) b = Gather(s, j) m = Mul(a, b)
        c = Gather(s, k) t = Concat<axis = 0>(m, c) y = Reshape(x, t) }""",
        {"i": ints(0), "j": ints(1), "k": ints(2)},
        [6, 4],
    ),
    "sizes read with start and end": (
        """(float[N,4,6] x) => (float[N,24] y) {
        s = Shape<start = 0, end = 1>(x) t = Concat<axis = 0>(s, r) y = Reshape(x, t) }""",
        {"r": ints(24)},
        [-1, 24],
    ),
}

LEFT_ALONE = {
    "two dynamic sizes that swap": (
        """(float[N,T,6] x) => (float[T,N,6] y) {
        s = Shape(x) n = Gather(s, i) t = Concat<axis = 0>(n, r) y = Reshape(x, t) }""",
        {"i": ints(1, 0), "r": ints(6)},
    ),
    "a target that is an input": (
        "(float[N,6] x, int64[2] t) => (float[A,B] y) { y = Reshape(x, t) }",
        {},
    ),
    "a target that depends on values": (
        """(float[N,6] x) => (float[A,B] y) {
        f = ReduceMax<keepdims = 0>(x) i = Cast<to = 7>(f) a = Abs(i) p = Mul(a, z) q = Add(p, one)
        u = Unsqueeze(q, z1) s = Shape(x) v = Mul(s, rev) t = Add(v, u) y = Reshape(x, s) }""",
        {
            "z": np.int64(0),
            "one": np.int64(0),
            "z1": ints(0),
            "rev": ints(1, 1),
        },
    ),
}


@pytest.mark.parametrize("name", REWRITTEN)
def test_a_known_target_becomes_constant(name):
    text, constants, expected = REWRITTEN[name]
    model = build(text, **constants)

    assert check(fold_shapes, model) == 1
    assert target(model) == expected

    remove_unused(model)
    assert operators(model) == ["Reshape"]


@pytest.mark.parametrize("opset", [11, 13, 17, 18])
def test_the_rule_does_not_depend_on_the_opset(opset):
    model = build(
        f"(float[N,4,5,6] x) => (float[N,120] y) {FLATTEN}",
        opset=opset,
        zero=ints(0),
        rest=np.array([120], np.int32),
    )

    assert check(fold_shapes, model) == 1


def test_dynamic_sizes_that_swap_are_left_alone():
    text, constants = LEFT_ALONE["two dynamic sizes that swap"]

    assert check(fold_shapes, build(text, **constants)) == 0


def test_a_target_that_is_fed_is_left_alone():
    text, constants = LEFT_ALONE["a target that is an input"]
    model = build(text, **constants)

    assert fold_shapes(model) == 0
    assert operators(model) == ["Reshape"]


def test_a_zero_that_means_an_empty_axis_is_left_alone():
    model = build(
        """(float[N,4] x) => (float[N,4] y) {
        s = Shape(x) n = Slice(s, a, b) t = Concat<axis = 0>(n, r)
        y = Reshape<allowzero = 1>(x, t) }""",
        a=ints(0),
        b=ints(1),
        r=ints(4),
    )

    assert check(fold_shapes, model) == 0


def test_the_new_constant_takes_a_free_name():
    model = build(
        f"(float[N,4,5,6] x) => (float[N,120] y) {FLATTEN}",
        zero=ints(0),
        rest=np.array([120], np.int32),
        y_shape=random(2),
    )

    assert check(fold_shapes, model) == 1
    assert "y_shape_1" in model.graph.initializers
