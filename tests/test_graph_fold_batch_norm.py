"""fold_batch_norm: what is folded, what is not, and that the outputs stay."""

import numpy as np
import pytest
from graph_models import build, check, ints, operators, random

from toolkit.graph.passes.fold_batch_norm import fold_batch_norm

CONV = {"w": random(4, 3, 3, 3), "b": random(4, seed=1)}
CHANNELS = {"s": random(1, 4, 1, 1, seed=2), "t": random(1, 4, 1, 1, seed=3)}
NORM = {
    "g": random(4, seed=4),
    "be": random(4, seed=5),
    "m": random(4, seed=6),
    "v": random(4, seed=7, low=0.5, high=2),
}
IMAGE = "(float[N,3,8,8] x) => (float[N,4,6,6] y)"
ROWS = "(float[N,5] x) => (float[N,4] y)"
MATRIX = {"w": random(5, 4), "b": random(4, seed=1)}

FOLDED = {
    "mul, add": (
        f"{IMAGE} {{ c = Conv(x, w, b) d = Mul(c, s) y = Add(d, t) }}",
        CONV | CHANNELS,
        ["Conv"],
    ),
    "constants first": (
        f"{IMAGE} {{ c = Conv(x, w, b) d = Mul(s, c) y = Add(t, d) }}",
        CONV | CHANNELS,
        ["Conv"],
    ),
    "no bias": (
        f"{IMAGE} {{ c = Conv(x, w) y = Add(c, t) }}",
        {"w": CONV["w"], "t": CHANNELS["t"]},
        ["Conv"],
    ),
    "scalar": (
        f"{IMAGE} {{ c = Conv(x, w, b) y = Mul(c, h) }}",
        CONV | {"h": np.float32(0.5)},
        ["Conv"],
    ),
    "operator": (
        f"{IMAGE} {{ c = Conv(x, w) y = BatchNormalization<epsilon = 0.001>(c, g, be, m, v) }}",
        {"w": CONV["w"]} | NORM,
        ["Conv"],
    ),
    "padded, grouped, strided": (
        """(float[N,4,9,9] x) => (float[N,4,5,5] y) {
        c = Conv<group = 4, pads = [1, 1, 1, 1], strides = [2, 2]>(x, w, b)
        y = BatchNormalization(c, g, be, m, v) }""",
        {"w": random(4, 1, 3, 3), "b": CONV["b"]} | NORM,
        ["Conv"],
    ),
    "transposed convolution, grouped": (
        """(float[N,6,5,5] x) => (float[N,4,7,7] y) {
        c = ConvTranspose<group = 2>(x, w, b) d = Mul(c, s) y = Add(d, t) }""",
        {"w": random(6, 2, 3, 3), "b": CONV["b"]} | CHANNELS,
        ["ConvTranspose"],
    ),
    "one-dimensional": (
        """(float[N,3,1,9] x) => (float[N,4,7] y) {
        c = Conv(x, w) q = Squeeze(c, a) d = Mul(q, s) y = Add(d, t) }""",
        {
            "w": random(4, 3, 1, 3),
            "a": ints(2),
            "s": random(1, 4, 1, seed=2),
            "t": random(1, 4, 1, seed=3),
        },
        ["Conv", "Squeeze"],
    ),
    "dense": (
        f"{ROWS} {{ p = MatMul(x, w) q = Add(p, b) d = Mul(q, s) y = Add(d, t) }}",
        MATRIX | {"s": random(4, seed=2), "t": random(1, 4, seed=3)},
        ["MatMul", "Add"],
    ),
    "dense of rank 3": (
        """(float[N,3,5] x) => (float[N,3,4] y) {
        p = MatMul(x, w) d = Mul(p, s) e = Add(d, b) y = Mul(e, s) }""",
        MATRIX | {"s": random(1, 1, 4, seed=2)},
        ["MatMul", "Add"],
    ),
    "dense and operator": (
        f"{ROWS} {{ p = MatMul(x, w) y = BatchNormalization(p, g, be, m, v) }}",
        {"w": MATRIX["w"]} | NORM,
        ["MatMul", "Add"],
    ),
    "Gemm with all attributes": (
        f"""{ROWS} {{ p = Gemm<alpha = 0.5, beta = 3.0, transB = 1>(x, w, b)
        d = Mul(p, s) y = Add(d, t) }}""",
        {
            "w": random(4, 5),
            "b": MATRIX["b"],
            "s": random(4, seed=2),
            "t": random(4, seed=3),
        },
        ["Gemm"],
    ),
    "Gemm without bias": (
        f"{ROWS} {{ p = Gemm(x, w) y = BatchNormalization(p, g, be, m, v) }}",
        {"w": MATRIX["w"]} | NORM,
        ["Gemm"],
    ),
    "before a convolution": (
        """(float[N,3,8,8] x) => (float[N,4,4,4] y) {
        c = Conv(x, w, b) r = Relu(c) d = Mul(r, s) e = Add(d, t) y = Conv<group = 2>(e, w2) }""",
        CONV | CHANNELS | {"w2": random(4, 2, 3, 3, seed=8)},
        ["Conv", "Relu", "Conv"],
    ),
    "factor before a padded convolution": (
        """(float[N,3,8,8] x) => (float[N,4,6,6] y) {
        c = Conv(x, w, b) r = Relu(c) d = Mul(r, s) y = Conv<pads = [1, 1, 1, 1]>(d, w2, b) }""",
        CONV | {"s": CHANNELS["s"], "w2": random(4, 4, 3, 3, seed=8)},
        ["Conv", "Relu", "Conv"],
    ),
    "before a dense layer": (
        f"""{ROWS} {{ r = Relu(x) d = Mul(r, s) e = Add(d, t)
        p = MatMul(e, w) y = Add(p, b) }}""",
        MATRIX | {"s": random(5, seed=2), "t": random(5, seed=3)},
        ["Relu", "MatMul", "Add"],
    ),
    "before a Gemm": (
        f"""{ROWS} {{ r = Relu(x) d = Mul(r, s) e = Add(d, t)
        y = Gemm<alpha = 0.5, transB = 1>(e, w) }}""",
        {"w": random(4, 5), "s": random(1, 5, seed=2), "t": random(5, seed=3)},
        ["Relu", "Gemm"],
    ),
}

ALONE = {
    "read elsewhere": (
        """(float[N,3,8,8] x) => (float[N,4,6,6] y, float[N,4,6,6] z) {
        c = Conv(x, w, b) y = Mul(c, s) z = Relu(c) }""",
        CONV | {"s": CHANNELS["s"]},
    ),
    "an output": (
        """(float[N,3,8,8] x) => (float[N,4,6,6] y, float[N,4,6,6] c) {
        c = Conv(x, w, b) y = Mul(c, s) }""",
        CONV | {"s": CHANNELS["s"]},
    ),
    "differs within a channel": (
        f"{IMAGE} {{ c = Conv(x, w, b) y = Mul(c, s) }}",
        CONV | {"s": random(1, 4, 6, 6)},
    ),
    "along the width": (
        f"{IMAGE} {{ c = Conv(x, w, b) y = Add(c, s) }}",
        CONV | {"s": random(6)},
    ),
    "raises the rank": (
        "(float[N,3,8,8] x) => (float[1,N,4,6,6] y) { c = Conv(x, w, b) y = Mul(c, s) }",
        CONV | {"s": random(1, 1, 4, 1, 1)},
    ),
    "plain bias": (f"{ROWS} {{ p = MatMul(x, w) y = Add(p, b) }}", MATRIX),
    "summand before a padded convolution": (
        """(float[N,3,8,8] x) => (float[N,4,8,8] y) {
        r = Relu(x) d = Add(r, t) y = Conv<pads = [1, 1, 1, 1]>(d, w, b) }""",
        CONV | {"t": random(1, 3, 1, 1)},
    ),
    "preprocessing": (
        """(uint8[N,8,8,3] x) => (float[N,4,6,6] y) {
        f = Cast<to = 1>(x) d = Mul(f, s) e = Add(d, t) p = Transpose<perm = [0, 3, 1, 2]>(e)
        y = Conv(p, w, b) }""",
        CONV | {"s": np.float32(1 / 255), "t": random(3)},
    ),
    "half of a GELU, which onnxruntime fuses": (
        f"""{ROWS} {{ d = Div(x, r) f = Erf(d) g = Add(f, o) h = Mul(x, g) i = Mul(h, s)
        p = MatMul(i, w) y = Add(p, b) }}""",
        MATRIX | {"r": np.float32(2**0.5), "o": np.float32(1), "s": np.float32(0.5)},
    ),
    "computed weights": (
        """(float[N,3,8,8] x, float[4,3,3,3] w) => (float[N,4,6,6] y) {
        c = Conv(x, w) y = Mul(c, s) }""",
        {"s": CHANNELS["s"]},
    ),
    "weights may be overridden": (
        """(float[N,3,8,8] x, float[4,3,3,3] w) => (float[N,4,6,6] y) {
        c = Conv(x, w) y = Mul(c, s) }""",
        {"s": CHANNELS["s"], "w": CONV["w"]},
    ),
    "another channel axis": (
        """(float[N,4,5] x) => (float[N,4,4] y) {
        p = MatMul(x, w) y = BatchNormalization(p, g, be, m, v) }""",
        {"w": MATRIX["w"]} | NORM,
    ),
}


@pytest.mark.parametrize("name", FOLDED)
def test_affine_nodes_disappear_into_the_weights(name):
    text, constants, left = FOLDED[name]
    model = build(text, **constants)
    affine = len(operators(model)) - len(left)
    assert check(fold_batch_norm, model) == max(1, affine)
    assert operators(model) == left


@pytest.mark.parametrize("name", ALONE)
def test_other_graphs_stay_as_they_are(name):
    text, constants = ALONE[name]
    model = build(text, **constants)
    assert check(fold_batch_norm, model) == 0


def test_shared_weight_is_not_changed_for_its_other_reader():
    model = build(
        """(float[N,3,8,8] x) => (float[N,4,6,6] y, float[N,4,6,6] z) {
        c = Conv(x, w, b) y = Mul(c, s) z = Conv(x, w, b) }""",
        **CONV,
        s=CHANNELS["s"],
    )
    assert check(fold_batch_norm, model) == 1


def test_training_mode_stays():
    model = build(
        """(float[N,3,8,8] x) => (float[N,4,6,6] y) { c = Conv(x, w)
        y, mo, vo = BatchNormalization<training_mode = 1>(c, g, be, m, v) }""",
        w=CONV["w"],
        **NORM,
    )
    assert fold_batch_norm(model) == 0


def test_overflow_of_half_precision_stops_the_fold():
    half = {name: array.astype(np.float16) for name, array in CONV.items()}
    model = build(
        "(float16[N,3,8,8] x) => (float16[N,4,6,6] y) { c = Conv(x, w, b) y = Mul(c, s) }",
        w=half["w"] * np.float16(1000),
        b=half["b"],
        s=np.float16(1000),
    )
    assert fold_batch_norm(model) == 0


def test_half_precision_is_kept():
    half = {name: array.astype(np.float16) for name, array in (CONV | CHANNELS).items()}
    model = build(
        """(float16[N,3,8,8] x) => (float16[N,4,6,6] y) {
        c = Conv(x, w, b) d = Mul(c, s) y = Add(d, t) }""",
        **half,
    )
    assert check(fold_batch_norm, model, rtol=5e-3) == 2


def test_bodies_stay():
    model = build(
        """(float[N,3,8,8] x, bool k) => (float[N,4,6,6] y) { c = Conv(x, w, b) y = If(k) <
        then_branch = g1 () => (float[N,4,6,6] p) { p = Mul(c, s) },
        else_branch = g2 () => (float[N,4,6,6] q) { q = Conv(x, w) }> }""",
        **CONV,
        s=CHANNELS["s"],
    )
    assert check(fold_batch_norm, model) == 0


@pytest.mark.parametrize("seed", range(8))
def test_random_chains_keep_their_outputs(seed):
    rng = np.random.default_rng(seed)
    nodes, constants, value, channels, size = [], {}, "x", 3, 16
    for index in range(8):
        kind = rng.choice(["Conv", "Mul", "Add", "BatchNormalization", "Relu", "MaxPool"])
        out = f"v{index}"
        if kind == "Conv":
            pad, width = int(rng.integers(0, 2)), int(rng.integers(2, 6))
            constants[f"w{index}"] = rng.normal(0, 0.5, (width, channels, 3, 3)).astype(np.float32)
            constants[f"b{index}"] = rng.normal(0, 0.5, width).astype(np.float32)
            nodes.append(
                f"{out} = Conv<pads = [{pad},{pad},{pad},{pad}]>({value}, w{index}, b{index})"
            )
            channels, size = width, size + 2 * pad - 2
        elif kind == "BatchNormalization":
            for part in "gbm":
                constants[f"{part}n{index}"] = rng.normal(0, 1, channels).astype(np.float32)
            constants[f"vn{index}"] = rng.uniform(0.5, 2, channels).astype(np.float32)
            parts = ", ".join(f"{part}n{index}" for part in "gbmv")
            nodes.append(f"{out} = BatchNormalization({value}, {parts})")
        elif kind in ("Mul", "Add"):
            shape = [(1, channels, 1, 1), (), (channels, 1, 1), (1, channels, size, 1)]
            array = rng.normal(0, 1, shape[rng.integers(4)]).astype(np.float32)
            constants[f"c{index}"] = array
            nodes.append(f"{out} = {kind}({value}, c{index})")
        elif kind == "MaxPool":
            nodes.append(f"{out} = MaxPool<kernel_shape = [2, 2]>({value})")
            size -= 1
        else:
            nodes.append(f"{out} = Relu({value})")
        value = out
    text = f"(float[N,3,16,16] x) => (float[N,{channels},{size},{size}] {value})"
    model = build(f"{text} {{ {' '.join(nodes)} }}", **constants)
    before = len(operators(model))
    count = check(fold_batch_norm, model, rtol=2e-5)
    assert before - len(operators(model)) == count
