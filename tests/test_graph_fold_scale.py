"""fold_scale: one number in front of a layer moves into its weights."""

import numpy as np
import pytest
from graph_models import build, check, ints, operators, random

from toolkit.graph.passes.fold_scale import fold_scale

CONV = {"w": random(4, 3, 3, 3), "b": random(4, seed=1), "s": np.float32(1 / 255)}
IMAGE = "(uint8[N,3,8,8] x) => (float[N,4,8,8] y)"
PADDED = "Conv<pads = [1, 1, 1, 1]>"

FOLDED = {
    "pixels into a padded convolution": (
        f"{IMAGE} {{ f = Cast<to = 1>(x) m = Mul(f, s) y = {PADDED}(m, w, b) }}",
        CONV,
        ["Cast", "Conv"],
    ),
    "the number first": (
        f"{IMAGE} {{ f = Cast<to = 1>(x) m = Mul(s, f) y = {PADDED}(m, w) }}",
        {key: CONV[key] for key in "ws"},
        ["Cast", "Conv"],
    ),
    "past a reshape": (
        """(uint8[N,8,8,1] x) => (float[N,4,6,6] y) { f = Cast<to = 1>(x) m = Mul(f, s)
        r = Reshape(m, t) y = Conv(r, w, b) }""",
        CONV | {"w": random(4, 1, 3, 3), "t": ints(-1, 1, 8, 8)},
        ["Cast", "Reshape", "Conv"],
    ),
    "two layers": (
        """(float[N,5] x) => (float[N,4] y, float[N,2] z) {
        m = Mul(x, s) y = MatMul(m, w) z = Gemm<alpha = 0.5>(m, v, c) }""",
        {"s": random(1), "w": random(5, 4), "v": random(5, 2), "c": random(2)},
        ["MatMul", "Gemm"],
    ),
}

LEFT_ALONE = {
    "one number per channel": (
        f"{IMAGE} {{ f = Cast<to = 1>(x) m = Mul(f, s) y = {PADDED}(m, w, b) }}",
        CONV | {"s": random(3, 1, 1)},
    ),
    "an offset behind it": (
        f"{IMAGE} {{ f = Cast<to = 1>(x) m = Mul(f, s) a = Add(m, o) y = {PADDED}(a, w, b) }}",
        CONV | {"o": np.float32(0.5)},
    ),
    "another reader": (
        """(float[N,5] x) => (float[N,4] y, float[N,5] z) {
        m = Mul(x, s) y = MatMul(m, w) z = Exp(m) }""",
        {"s": random(1), "w": random(5, 4)},
    ),
    "an output": (
        "(float[N,5] x) => (float[N,4] y, float[N,5] m) { m = Mul(x, s) y = MatMul(m, w) }",
        {"s": random(1), "w": random(5, 4)},
    ),
    "the weight is scaled": (
        "(float[5,4] x) => (float[3,4] y) { m = Mul(x, s) y = MatMul(w, m) }",
        {"s": random(1), "w": random(3, 5)},
    ),
    "a computed weight": (
        "(float[N,5] x, float[5,4] w) => (float[N,4] y) { m = Mul(x, s) y = MatMul(m, w) }",
        {"s": random(1)},
    ),
    "a number that adds an axis": (
        "(float[N,5] x) => (float[1,N,4] y) { m = Mul(x, s) y = MatMul(m, w) }",
        {"s": random(1, 1, 1), "w": random(5, 4)},
    ),
}


@pytest.mark.parametrize("name", FOLDED)
def test_the_number_moves_into_the_weights(name):
    text, constants, expected = FOLDED[name]
    model = build(text, **constants)

    assert check(fold_scale, model) == 1
    assert operators(model) == expected


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_is_no_common_factor_of_layers_is_left_alone(name):
    text, constants = LEFT_ALONE[name]
    model = build(text, **constants)

    assert check(fold_scale, model) == 0
    assert operators(model).count("Mul") == 1


def test_a_weight_that_others_read_stays():
    model = build(
        """(float[N,5] x, float[N,5] u) => (float[N,4] y, float[N,4] z) {
        m = Mul(x, s) y = MatMul(m, w) z = MatMul(u, w) }""",
        s=random(1),
        w=random(5, 4),
    )

    assert check(fold_scale, model) == 1
