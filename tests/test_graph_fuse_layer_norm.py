"""fuse_layer_norm: the nodes that Keras' layer becomes are one operator again."""

import numpy as np
import pytest
from graph_models import build, check, inputs_for, ints, operators, random, run

from toolkit.graph.passes.fuse_layer_norm import fuse_layer_norm


def layer(mean="GlobalAveragePool", scale=True, shift=True, signature=None):
    """The graph as tf2onnx 1.17 writes it."""
    factor = "k = Mul(r, g)" if scale else "k = Identity(r)"
    nodes = f"""m = {mean}(x) d = Sub(x, m) q = Mul(d, d) v = {mean}(q) a = Add(v, eps)
        s = Sqrt(a) r = Reciprocal(s) {factor} p = Mul(x, k) n = Neg(m) o = Mul(n, k)
        {"f = Add(o, b) y = Add(p, f)" if shift else "y = Add(p, o)"}"""
    if not scale:
        nodes = nodes.replace("k = Identity(r)", "").replace(", k)", ", r)")
    return f"{signature or '(float[N,5,8] x) => (float[N,5,8] y)'} {{ {nodes} }}"


EPS = {"eps": np.float32(1e-3)}
FOUR = "(float[N,5,6,8] x) => (float[N,5,6,8] y)"
LAST = {"g": random(1, 1, 8), "b": random(1, 1, 8, seed=1)}

FUSED = {
    "last axis": (layer(), LAST, 2, 3),
    "no scale": (layer(scale=False), {"b": LAST["b"]}, 2, 3),
    "no shift": (layer(shift=False), {"g": LAST["g"]}, 2, 2),
    "neither": (layer(scale=False, shift=False), {}, 2, 2),
    "one number for all": (layer(), {"g": np.float32(2), "b": random(1)}, 2, 3),
    "vectors": (layer(), {"g": random(8), "b": random(8, seed=1)}, 2, 3),
    "last of four": (
        layer("ReduceMean<axes = [-1]>", signature=FOUR),
        {"g": random(1, 1, 1, 8), "b": random(8, seed=1)},
        3,
        3,
    ),
    "last two": (
        layer("ReduceMean<axes = [3, 2]>", signature=FOUR),
        {"g": random(1, 1, 6, 8), "b": random(1, 1, 6, 8, seed=1)},
        2,
        3,
    ),
    "all but two": (layer(signature=FOUR), {"g": random(6, 8), "b": random(6, 1, seed=1)}, 2, 3),
    "squares by Pow": (
        layer().replace("Mul(d, d)", "Pow(d, two)"),
        LAST | {"two": np.float32(2)},
        2,
        3,
    ),
    "operands the other way round": (
        layer().replace("Mul(x, k)", "Mul(k, x)").replace("Add(p, f)", "Add(f, p)"),
        LAST,
        2,
        3,
    ),
}

STAYS = {
    "the first axis": (
        layer("ReduceMean<axes = [1]>", signature=FOUR),
        {"g": random(1, 5, 1, 1), "b": random(1, 5, 1, 1)},
    ),
    "a gap between the axes": (
        layer("ReduceMean<axes = [1, 3]>", signature=FOUR),
        {"g": random(8), "b": random(8)},
    ),
    "scale of another axis": (layer(), {"g": random(1, 5, 1), "b": LAST["b"]}),
    "shift of another axis": (layer(), {"g": LAST["g"], "b": random(1, 5, 1)}),
    "a dynamic size": (
        layer("ReduceMean<axes = [-1]>", signature="(float[N,5,M] x) => (float[N,5,M] y)"),
        {"g": random(1), "b": random(1)},
    ),
    "plus the mean": (layer().replace("n = Neg(m)", "n = Abs(m)"), LAST),
    "another mean": (
        layer().replace("v = GlobalAveragePool(q)", "v = ReduceMean<axes = [1, 2]>(q)"),
        LAST,
    ),
    "variance of another": (layer().replace("d = Sub(x, m)", "w = Exp(x) d = Sub(w, m)"), LAST),
    "mean is an output": (
        layer(signature="(float[N,5,8] x) => (float[N,5,8] y, float[N,5,1] m)"),
        LAST,
    ),
    "variance is read elsewhere": (
        layer(signature="(float[N,5,8] x) => (float[N,5,8] y, float[N,5,1] z)").replace(
            "s = Sqrt", "z = Exp(v) s = Sqrt"
        ),
        LAST,
    ),
}


@pytest.mark.parametrize("name", FUSED)
def test_nodes_become_the_operator(name):
    text, constants, axis, inputs = FUSED[name]
    model = build(text, **EPS, **constants)
    assert check(fuse_layer_norm, model) == 1
    assert operators(model) == ["LayerNormalization"]
    node = model.graph[0]
    assert node.attributes["axis"].as_int() == axis
    assert len(node.inputs) == inputs


@pytest.mark.parametrize("name", STAYS)
def test_other_graphs_stay_as_they_are(name):
    text, constants = STAYS[name]
    model = build(text, **EPS, **constants)
    before = operators(model)
    assert check(fuse_layer_norm, model, batches=(1, 4)) == 0
    assert operators(model) == before


def test_axes_that_are_inputs_since_opset_18_are_read():
    text = layer("ReduceMean", signature=FOUR).replace("(x) d", "(x, axes) d")
    text = text.replace("ReduceMean(q)", "ReduceMean(q, axes)")
    model = build(text, opset=18, axes=ints(-1), g=random(8), b=random(8, seed=1), **EPS)
    assert check(fuse_layer_norm, model) == 1
    assert operators(model) == ["LayerNormalization"]


def test_operator_sets_without_it_keep_the_nodes():
    model = build(layer(), opset=16, **EPS, **LAST)
    assert check(fuse_layer_norm, model) == 0


def test_one_after_another_are_both_fused():
    first, second = layer(), layer()
    for name in "mdqvasrkpnof":
        second = second.replace(f"{name} = ", f"{name}2 = ").replace(f"({name},", f"({name}2,")
        second = second.replace(f", {name})", f", {name}2)").replace(f"({name})", f"({name}2)")
    second = second.replace("(x)", "(h)").replace("(x, ", "(h, ")
    body = second[second.index("{") + 1 :]
    text = first.replace("y = Add(p, f) }", f"h = Add(p, f) {body}")
    model = build(text, **EPS, **LAST)
    assert check(fuse_layer_norm, model, rtol=1e-4) == 2
    assert operators(model) == ["LayerNormalization"] * 2


def test_operator_is_no_less_exact_than_the_nodes():
    model = build(layer(), **EPS, **LAST)
    feed = {"x": inputs_for(model, 4)["x"] + np.float32(100)}
    x = feed["x"].astype(np.float64)
    centred = x - x.mean(-1, keepdims=True)
    exact = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-3)
    exact = exact * LAST["g"] + LAST["b"]
    before = np.abs(run(model, feed)[0] - exact).max()
    fuse_layer_norm(model)
    assert np.abs(run(model, feed)[0] - exact).max() <= before
