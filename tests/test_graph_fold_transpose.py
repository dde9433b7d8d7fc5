"""fold_transpose: a transposition before Flatten moves into the dense weight, exactly."""

import numpy as np
import pytest
from graph_models import build, check, ints, operators, random

from toolkit.graph.passes.fold_transpose import fold_transpose

HEAD = "(float[N,4,5,3] x) => (float[N,6] y)"
FLAT = {"t": ints(-1, 60), "w": random(60, 6)}

FOLDED = {
    "matrix product": (
        f"{HEAD} {{ a = Transpose<perm = [0, 2, 3, 1]>(x) b = Reshape(a, t) y = MatMul(b, w) }}",
        FLAT,
        ["Reshape", "MatMul"],
    ),
    "Gemm with a bias": (
        f"{HEAD} {{ a = Transpose<perm = [0, 3, 1, 2]>(x) b = Reshape(a, t) y = Gemm(b, w, c) }}",
        FLAT | {"c": random(6, seed=2)},
        ["Reshape", "Gemm"],
    ),
    "Gemm with a transposed weight": (
        f"""{HEAD} {{ a = Transpose<perm = [0, 2, 3, 1]>(x) b = Reshape(a, t)
        y = Gemm<transB = 1>(b, w) }}""",
        FLAT | {"w": random(6, 60)},
        ["Reshape", "Gemm"],
    ),
    "the batch copied by a zero": (
        f"{HEAD} {{ a = Transpose<perm = [0, 2, 3, 1]>(x) b = Reshape(a, t) y = MatMul(b, w) }}",
        FLAT | {"t": ints(0, -1)},
        ["Reshape", "MatMul"],
    ),
    "activations in between": (
        f"""{HEAD} {{ a = Transpose<perm = [0, 2, 3, 1]>(x) b = Reshape(a, t) r = Relu(b)
        s = Tanh(r) y = MatMul(s, w) }}""",
        FLAT,
        ["Reshape", "Relu", "Tanh", "MatMul"],
    ),
    "two dense layers": (
        """(float[N,4,5,3] x) => (float[N,6] y, float[N,2] z) {
        a = Transpose<perm = [0, 2, 3, 1]>(x) b = Reshape(a, t) y = MatMul(b, w) z = MatMul(b, v)
        }""",
        FLAT | {"v": random(60, 2, seed=3)},
        ["Reshape", "MatMul", "MatMul"],
    ),
    "a flattened sequence": (
        """(float[N,4,5] x) => (float[N,6] y) {
        a = Transpose<perm = [0, 2, 1]>(x) b = Reshape(a, t) y = MatMul(b, w) }""",
        {"t": ints(-1, 20), "w": random(20, 6)},
        ["Reshape", "MatMul"],
    ),
}

LEFT_ALONE = {
    "the batch moves": (
        """(float[4,5,3] x) => (float[5,6] y) {
        a = Transpose<perm = [1, 0, 2]>(x) b = Reshape(a, t) y = MatMul(b, w) }""",
        {"t": ints(5, 12), "w": random(12, 6)},
    ),
    "an addition per feature in between": (
        f"""{HEAD} {{ a = Transpose<perm = [0, 2, 3, 1]>(x) b = Reshape(a, t) r = Add(b, k)
        y = MatMul(r, w) }}""",
        FLAT | {"k": random(60, seed=3)},
    ),
    "the flat tensor is an output": (
        """(float[N,4,5,3] x) => (float[N,60] b, float[N,6] y) {
        a = Transpose<perm = [0, 2, 3, 1]>(x) b = Reshape(a, t) y = MatMul(b, w) }""",
        FLAT,
    ),
    "the transposed tensor is read elsewhere": (
        """(float[N,4,5,3] x) => (float[N,6] y, float[N,5,3,4] z) {
        a = Transpose<perm = [0, 2, 3, 1]>(x) b = Reshape(a, t) y = MatMul(b, w) z = Relu(a) }""",
        FLAT,
    ),
    "the weight is computed": (
        """(float[N,4,5,3] x, float[60,6] w) => (float[N,6] y) {
        a = Transpose<perm = [0, 2, 3, 1]>(x) b = Reshape(a, t) y = MatMul(b, w) }""",
        {"t": ints(-1, 60)},
    ),
    "the reshape splits samples": (
        """(float[N,4,5,3] x) => (float[M,6] y) {
        a = Transpose<perm = [0, 2, 3, 1]>(x) b = Reshape(a, t) y = MatMul(b, w) }""",
        {"t": ints(-1, 12), "w": random(12, 6)},
    ),
    "a dynamic picture size": (
        """(float[N,2,H,3] x) => (float[M,6] y) {
        a = Transpose<perm = [0, 2, 3, 1]>(x) b = Reshape(a, t) y = MatMul(b, w) }""",
        {"t": ints(-1, 6), "w": random(6, 6)},
    ),
}


@pytest.mark.parametrize("name", FOLDED)
def test_the_transposition_goes_and_the_outputs_stay(name):
    text, constants, expected = FOLDED[name]
    model = build(text, **constants)

    assert check(fold_transpose, model) == 1
    assert operators(model) == expected


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_would_change_the_outputs_is_left_alone(name):
    text, constants = LEFT_ALONE[name]
    model = build(text, **constants)

    assert check(fold_transpose, model) == 0
    assert operators(model).count("Transpose") == 1


@pytest.mark.parametrize("seed", range(5))
def test_random_sizes_and_orders(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, 3)
    order = [0, *(rng.permutation(3) + 1)]
    features = int(np.prod(sizes))
    model = build(
        f"""(float[N,{",".join(map(str, sizes))}] x) => (float[N,4] y) {{
        a = Transpose<perm = [{", ".join(map(str, order))}]>(x) b = Reshape(a, t)
        y = MatMul(b, w) }}""",
        t=ints(-1, features),
        w=random(features, 4, seed=seed),
    )

    assert check(fold_transpose, model) == 1


def test_a_weight_that_others_read_keeps_its_rows():
    model = build(
        """(float[N,4,5,3] x, float[N,60] z) => (float[N,6] y, float[N,6] v) {
        a = Transpose<perm = [0, 2, 3, 1]>(x) b = Reshape(a, t) y = MatMul(b, w)
        v = MatMul(z, w) }""",
        **FLAT,
    )

    assert check(fold_transpose, model) == 1
