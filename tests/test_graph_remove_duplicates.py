"""remove_duplicates: what is equal becomes one, what changes nothing goes."""

import numpy as np
import pytest
from graph_models import build, check, ints, operators, random

from toolkit.graph.passes.remove_duplicates import remove_duplicates

ROWS = "(float[N,6] x) => (float[N,6] y)"

SHORTENED = {
    "equal nodes": (
        f"{ROWS} {{ a = Relu(x) b = Relu(x) c = Neg(b) y = Add(a, c) }}",
        {},
        ["Relu", "Neg", "Add"],
    ),
    "chains of equal nodes": (
        f"{ROWS} {{ a = Relu(x) b = Relu(x) c = Neg(a) d = Neg(b) y = Add(c, d) }}",
        {},
        ["Relu", "Neg", "Add"],
    ),
    "equal attributes": (
        f"{ROWS} {{ a = Elu<alpha = 0.5>(x) b = Elu<alpha = 0.5>(x) y = Add(a, b) }}",
        {},
        ["Elu", "Add"],
    ),
    "equal through equal constants": (
        f"{ROWS} {{ a = Mul(x, p) b = Mul(x, q) y = Add(a, b) }}",
        {"p": random(6), "q": random(6)},
        ["Mul", "Add"],
    ),
    "second is an output": (
        f"{ROWS} {{ a = Relu(x) b = Neg(a) c = Exp(b) y = Neg(a) }}",
        {},
        ["Relu", "Neg"],
    ),
    "Constant nodes": (
        f"""{ROWS} {{ a = Constant<value = float[1] {{2.0}}>()
        b = Constant<value = float[1] {{2.0}}>() c = Mul(x, a) y = Pow(c, b) }}""",
        {},
        ["Constant", "Mul", "Pow"],
    ),
    "Identity": (f"{ROWS} {{ a = Identity(x) b = Relu(a) y = Identity(b) }}", {}, ["Relu"]),
    "Cast to its own type": (f"{ROWS} {{ a = Cast<to = 1>(x) y = Relu(a) }}", {}, ["Relu"]),
    "Reshape to its own shape": (
        f"{ROWS} {{ a = Reshape(x, s) y = Relu(a) }}",
        {"s": ints(-1, 6)},
        ["Relu"],
    ),
    "Reshape that copies": (
        f"{ROWS} {{ a = Reshape(x, s) y = Relu(a) }}",
        {"s": ints(0, -1)},
        ["Relu"],
    ),
    "Reshape there and back": (
        "(float[N,6] x) => (float[N,6] y) { a = Reshape(x, s) b = Reshape(a, t) y = Relu(b) }",
        {"s": ints(-1, 2, 3), "t": ints(-1, 6)},
        ["Relu"],
    ),
    "Reshape of a Reshape": (
        f"{ROWS} {{ a = Reshape(x, s) b = Reshape(a, t) c = Relu(b) y = Reshape(c, u) }}",
        {"s": ints(-1, 2, 3), "t": ints(-1, 3, 2), "u": ints(-1, 6)},
        ["Reshape", "Relu", "Reshape"],
    ),
}

STAYS = {
    "other attributes": (
        f"{ROWS} {{ a = Elu<alpha = 0.5>(x) b = Elu<alpha = 0.25>(x) y = Add(a, b) }}",
        {},
    ),
    "inputs in another order": (
        """(float[N,6] x, float[N,6] z) => (float[N,6] y) {
        a = Sub(x, z) b = Sub(z, x) y = Mul(a, b) }""",
        {},
    ),
    "two outputs": (
        "(float[N,6] x) => (float[N,6] y, float[N,6] z) { y = Relu(x) z = Relu(x) }",
        {},
    ),
    "an input that is an output": (f"{ROWS} {{ y = Identity(x) }}", {}),
    "one value for two outputs": (
        "(float[N,6] x) => (float[N,6] y, float[N,6] z) { y = Relu(x) z = Identity(y) }",
        {},
    ),
    "a real Cast": (
        "(float[N,6] x) => (float[N,6] y) { a = Cast<to = 6>(x) y = Cast<to = 1>(a) }",
        {},
    ),
    "a Reshape that changes the grouping": (
        "(float[N,6] x) => (float[M,3] y) { y = Reshape(x, s) }",
        {"s": ints(-1, 3)},
    ),
    "a Reshape that copies a size of another": (
        "(float[N,6] x) => (float[M,3,2] y) { a = Reshape(x, s) y = Reshape(a, t) }",
        {"s": ints(-1, 2, 3), "t": ints(0, 3, 2)},
    ),
}


@pytest.mark.parametrize("name", SHORTENED)
def test_duplicates_and_detours_go(name):
    text, constants, left = SHORTENED[name]
    model = build(text, **constants)
    assert check(remove_duplicates, model) > 0
    names = [name for name in operators(model) if name != "Exp"]
    assert names == left


@pytest.mark.parametrize("name", STAYS)
def test_other_graphs_stay_as_they_are(name):
    text, constants = STAYS[name]
    model = build(text, **constants)
    before = operators(model)
    assert check(remove_duplicates, model) == 0
    assert operators(model) == before


def test_initializers_merge_when_type_shape_and_bits_are_equal():
    zero = np.zeros(6, np.float32)
    model = build(
        f"""{ROWS} {{ a = Add(x, p) b = Sub(a, q) c = Add(b, m) d = Add(c, r)
        y = Add(d, w) }}""",
        p=zero,
        q=zero.copy(),
        m=-zero,
        r=zero.reshape(1, 6),
        w=random(6),
    )
    assert check(remove_duplicates, model) == 1
    assert set(model.graph.initializers) == {"p", "m", "r", "w"}


def test_initializers_that_are_inputs_stay():
    model = build(
        "(float[N,6] x, float[6] p, float[6] q) => (float[N,6] y) { a = Add(x, p) y = Mul(a, q) }",
        p=random(6),
        q=random(6),
    )
    assert check(remove_duplicates, model) == 0


def test_random_nodes_stay_different():
    model = build(
        """(float[N,6] x) => (float[N,6] y) { a = RandomNormalLike(x) b = RandomNormalLike(x)
        y = Sub(a, b) }"""
    )
    assert remove_duplicates(model) == 0


def test_bodies_are_cleaned_but_stay_separate():
    model = build(
        """(float[N,6] x, bool k) => (float[N,6] y) { c = Relu(x) y = If(k) <
        then_branch = g1 () => (float[N,6] p) { a = Neg(c) b = Neg(c) p = Add(a, b) },
        else_branch = g2 () => (float[N,6] q) { q = Identity(c) }> }"""
    )
    assert check(remove_duplicates, model) == 1


@pytest.mark.parametrize("seed", range(6))
def test_random_graphs_keep_their_outputs(seed):
    rng = np.random.default_rng(seed)
    values, nodes, used = ["x"], [], set()
    for index in range(16):
        one, two = rng.choice(values[-5:], 2)
        kind = rng.choice(["Relu", "Neg", "Identity", "Add", "Reshape", "Cast"])
        operands = {"Add": f"{one}, {two}", "Reshape": f"{one}, s"}.get(kind, one)
        used |= {one, two} if kind == "Add" else {one}
        attribute = "<to = 1>" if kind == "Cast" else ""
        nodes.append(f"v{index} = {kind}{attribute}({operands})")
        values.append(f"v{index}")
    outputs = [value for value in values if value not in used] + ["v7"]
    listed = ", ".join(f"float[N,6] {value}" for value in dict.fromkeys(outputs))
    model = build(f"(float[N,6] x) => ({listed}) {{ {' '.join(nodes)} }}", s=ints(-1, 6))
    check(remove_duplicates, model)
