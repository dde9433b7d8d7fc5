"""fuse_gemm: a product of matrices and a bias become one node."""

import pytest
from graph_models import build, check, operators, random

from toolkit.graph.passes.fuse_gemm import fuse_gemm

HEAD = "(float[N,5] x) => (float[N,4] y)"
WEIGHT = {"w": random(5, 4)}

JOINED = {
    "a bias per column": (f"{HEAD} {{ p = MatMul(x, w) y = Add(p, b) }}", random(4, seed=1)),
    "the bias first": (f"{HEAD} {{ p = MatMul(x, w) y = Add(b, p) }}", random(4, seed=1)),
    "a bias of one row": (f"{HEAD} {{ p = MatMul(x, w) y = Add(p, b) }}", random(1, 4, seed=1)),
    "one number for all": (f"{HEAD} {{ p = MatMul(x, w) y = Add(p, b) }}", random(1, seed=1)),
}

LEFT_ALONE = {
    "rank 3": (
        "(float[N,2,5] x) => (float[N,2,4] y) { p = MatMul(x, w) y = Add(p, b) }",
        random(4),
    ),
    "a bias that adds an axis": (
        "(float[N,5] x) => (float[1,N,4] y) { p = MatMul(x, w) y = Add(p, b) }",
        random(1, 1, 4),
    ),
    "a bias per row": (
        "(float[3,5] x) => (float[3,4] y) { p = MatMul(x, w) y = Add(p, b) }",
        random(3, 1),
    ),
    "the product is an output": (
        "(float[N,5] x) => (float[N,4] p, float[N,4] y) { p = MatMul(x, w) y = Add(p, b) }",
        random(4),
    ),
    "the product is read twice": (
        "(float[N,5] x) => (float[N,4] y) { p = MatMul(x, w) q = Add(p, b) y = Mul(p, q) }",
        random(4),
    ),
    "the bias is computed": (
        "(float[N,5] x, float[4] c) => (float[N,4] y) { p = MatMul(x, w) y = Add(p, c) }",
        random(4),
    ),
    "the product with itself": (
        "(float[N,5] x) => (float[N,4] y) { p = MatMul(x, w) y = Add(p, p) }",
        random(4),
    ),
}


@pytest.mark.parametrize("name", JOINED)
def test_product_and_bias_become_one_node(name):
    text, bias = JOINED[name]
    model = build(text, b=bias, **WEIGHT)

    assert check(fuse_gemm, model) == 1
    assert operators(model) == ["Gemm"]


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_gemm_cannot_express_is_left_alone(name):
    text, bias = LEFT_ALONE[name]
    model = build(text, b=bias, **WEIGHT)

    assert check(fuse_gemm, model) == 0
    assert "Gemm" not in operators(model)
