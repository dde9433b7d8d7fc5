"""unwrap_dense: products on tensors of any rank lose their reshaping."""

import numpy as np
import pytest
from graph_models import build, check, ints, operators, random

from toolkit.graph.passes.unwrap_dense import unwrap_dense

MATRIX = {"w": random(3, 4), "k": ints(-1, 3)}
# What TensorFlow's Tensordot becomes: the target is computed from the input's shape.
COMPUTED = """(float[N,5,6,3] x) => (float[N,5,6,4] y) { s = Shape(x) c = Cast<to = 6>(s)
    r = Reshape(x, k) g = Gather(c, i) t = Concat<axis = 0>(g, m) u = Cast<to = 7>(t)
    p = MatMul(r, w) y = Reshape(p, u) }"""
SHAPE = {"i": np.array([0, 1, 2], np.int32), "m": np.array([4], np.int32)}

UNWRAPPED = {
    "computed target": (COMPUTED, MATRIX | SHAPE, ["MatMul"]),
    "two dynamic sizes": (
        COMPUTED.replace("float[N,5,6,3]", "float[N,M,6,3]").replace("[N,5,6,4]", "[N,M,6,4]"),
        MATRIX | SHAPE,
        ["MatMul"],
    ),
    "constant target": (
        """(float[N,5,3] x) => (float[N,5,4] y) { r = Reshape(x, k) p = MatMul(r, w)
        y = Reshape(p, t) }""",
        MATRIX | {"t": ints(-1, 5, 4)},
        ["MatMul"],
    ),
    "bias inside": (
        """(float[N,5,3] x) => (float[N,5,4] y) { r = Reshape(x, k) p = MatMul(r, w)
        q = Add(p, b) z = Reshape(q, t) y = Relu(z) }""",
        MATRIX | {"b": random(4, seed=2), "t": ints(-1, 5, 4)},
        ["MatMul", "Add", "Relu"],
    ),
    "fixed batch": (
        """(float[2,5,3] x) => (float[2,5,4] y) { r = Reshape(x, k) p = MatMul(r, w)
        y = Reshape(p, t) }""",
        {"w": MATRIX["w"], "k": ints(10, 3), "t": ints(2, 5, 4)},
        ["MatMul"],
    ),
    "computed weight": (
        """(float[N,5,3] x, float[3,4] w) => (float[N,5,4] y) { r = Reshape(x, k)
        p = MatMul(r, w) y = Reshape(p, t) }""",
        {"k": MATRIX["k"], "t": ints(-1, 5, 4)},
        ["MatMul"],
    ),
}

STAYS = {
    "another grouping": (
        """(float[N,4,3] x) => (float[N,2,2,4] y) { r = Reshape(x, k) p = MatMul(r, w)
        y = Reshape(p, t) }""",
        MATRIX | {"t": ints(-1, 2, 2, 4)},
    ),
    "other rows": (
        """(float[N,4,3] x) => (float[M,2,4] y) { r = Reshape(x, k) p = MatMul(r, w)
        y = Reshape(p, t) }""",
        MATRIX | {"t": ints(-1, 2, 4)},
    ),
    "flattens more than rows": (
        """(float[N,4,3] x) => (float[N,1,4] y) { r = Reshape(x, k) p = MatMul(r, w)
        y = Reshape(p, t) }""",
        {"w": random(12, 4), "k": ints(-1, 12), "t": ints(-1, 1, 4)},
    ),
    "product read elsewhere": (
        """(float[N,5,3] x) => (float[N,5,4] y, float[M,4] z) { r = Reshape(x, k)
        p = MatMul(r, w) y = Reshape(p, t) z = Relu(p) }""",
        MATRIX | {"t": ints(-1, 5, 4)},
    ),
    "product is an output": (
        """(float[N,5,3] x) => (float[N,5,4] y, float[M,4] p) { r = Reshape(x, k)
        p = MatMul(r, w) y = Reshape(p, t) }""",
        MATRIX | {"t": ints(-1, 5, 4)},
    ),
    "summand per row": (
        """(float[2,5,3] x) => (float[2,5,4] y) { r = Reshape(x, k) p = MatMul(r, w)
        q = Add(p, b) y = Reshape(q, t) }""",
        MATRIX | {"b": random(10, 1), "t": ints(2, 5, 4)},
    ),
    "rank 2": (
        """(float[N,3] x) => (float[N,4] y) { r = Reshape(x, k) p = MatMul(r, w)
        y = Reshape(p, t) }""",
        MATRIX | {"t": ints(-1, 4)},
    ),
}


@pytest.mark.parametrize("name", UNWRAPPED)
def test_reshaping_around_a_product_goes(name):
    text, constants, left = UNWRAPPED[name]
    model = build(text, **constants)
    assert check(unwrap_dense, model) == 1
    assert operators(model) == left


@pytest.mark.parametrize("name", STAYS)
def test_other_graphs_stay_as_they_are(name):
    text, constants = STAYS[name]
    model = build(text, **constants)
    before = operators(model)
    assert check(unwrap_dense, model) == 0
    assert operators(model) == before


def test_layers_behind_one_another_all_go():
    model = build(
        """(float[N,5,3] x) => (float[N,5,3] y) { r = Reshape(x, k) p = MatMul(r, w)
        z = Reshape(p, t) a = Relu(z) r2 = Reshape(a, k2) p2 = MatMul(r2, w2)
        y = Reshape(p2, t2) }""",
        **MATRIX,
        t=ints(-1, 5, 4),
        k2=ints(-1, 4),
        w2=random(4, 3, seed=3),
        t2=ints(-1, 5, 3),
    )
    assert check(unwrap_dense, model) == 2
    assert operators(model) == ["MatMul", "Relu", "MatMul"]
