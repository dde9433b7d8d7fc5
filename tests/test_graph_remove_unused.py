"""remove_unused: what nothing reads goes, what callers see stays."""

import numpy as np
from graph_models import build, check, operators, random

from toolkit.graph.passes.remove_unused import remove_unused


def test_nodes_initializers_and_copies_go():
    model = build(
        """(float[N,4] x) => (float[N,4] y) {
        dead = Exp(x) i = Identity(x) a = Add(i, w) y = Mul(a, copy) }""",
        w=random(4),
        copy=random(4),
        unread=random(9),
    )

    assert check(remove_unused, model) == 4
    assert operators(model) == ["Add", "Mul"]
    assert len(model.graph.initializers) == 1


def test_an_output_that_is_an_input_keeps_its_identity():
    model = build("(float[N,4] x) => (float[N,4] y) { y = Identity(x) }")

    assert check(remove_unused, model) == 0
    assert operators(model) == ["Identity"]


def test_two_outputs_of_one_tensor_keep_their_names():
    model = build("(float[N,4] x) => (float[N,4] y, float[N,4] z) { y = Relu(x) z = Identity(y) }")

    assert check(remove_unused, model) == 0
    assert [value.name for value in model.graph.outputs] == ["y", "z"]


def test_an_output_behind_an_identity_keeps_its_name():
    model = build("(float[N,4] x) => (float[N,4] y) { a = Relu(x) y = Identity(a) }")

    assert check(remove_unused, model) == 1
    assert [value.name for value in model.graph.outputs] == ["y"]


def test_an_unread_input_stays():
    model = build("(float[N,4] x, float[N,2] z) => (float[N,4] y) { y = Relu(x) }")

    assert check(remove_unused, model) == 0
    assert [value.name for value in model.graph.inputs] == ["x", "z"]


def test_unused_operator_sets_go():
    model = build("(float[N,4] x) => (float[N,4] y) { y = Relu(x) }")
    model.opset_imports["ai.onnx.ml"] = 2

    remove_unused(model)

    assert dict(model.opset_imports) == {"": 17}


def test_equal_numbers_of_another_type_are_no_copies():
    model = build(
        """(float[N,4] x, int64[N,4] k) => (float[N,4] y, int64[N,4] z) {
        y = Add(x, a) z = Add(k, b) }""",
        a=np.zeros(4, np.float32),
        b=np.zeros(4, np.int64),
    )

    assert check(remove_unused, model) == 0
