"""fuse_gelu: Keras' activations become one operator, or the form that onnxruntime fuses."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from graph_models import build, check, operators, run

from toolkit.graph.passes.fuse_gelu import fuse_gelu

ROWS = "(float[N,16] x) => (float[N,16] y)"
CONSTANTS = {
    "half": np.float32(0.5),
    "one": np.float32(1),
    "root": np.float32(0.70710677),
    "minus": np.float32(-0.70710677),
    "sqrt2": np.float32(1.4142135),
    "cubic": np.float32(0.044715),
    "three": np.float32(3),
    "pi": np.float32(0.7978846),
}
MINUS = "h = Mul(half, x) n = Neg(x) s = Mul(n, root) e = Erf(s) g = Sub(one, e) y = Mul(h, g)"
PLUS = "s = Div(x, sqrt2) e = Erf(s) g = Add(e, one) p = Mul(x, g) y = Mul(p, half)"
TANH = """h = Mul(half, x) p = Pow(x, three) q = Mul(cubic, p) a = Add(x, q) b = Mul(pi, a)
    t = Tanh(b) g = Add(one, t) y = Mul(h, g)"""

EXACT = {
    "as TensorFlow's Erfc becomes": MINUS,
    "minus in the constant": "h = Mul(x, half) s = Mul(minus, x) e = Erf(s) g = Sub(one, e) "
    "y = Mul(g, h)",
    "half with the gate": "s = Mul(x, root) e = Erf(s) g = Add(one, e) p = Mul(g, half) "
    "y = Mul(x, p)",
    "as onnxruntime knows it": PLUS,
}

STAYS = {
    "another factor": MINUS.replace("half, x", "cubic, x"),
    "another scale": MINUS.replace("Mul(n, root)", "Mul(n, half)"),
    "plus instead of minus": MINUS.replace("n = Neg(x) s = Mul(n, root)", "s = Mul(x, root)"),
    "another power": TANH.replace("three", "one"),
    "another input": MINUS.replace("h = Mul(half, x)", "r = Relu(x) h = Mul(half, r)"),
}


def model(nodes, opset):
    used = {name: array for name, array in CONSTANTS.items() if name in nodes}
    return build(f"{ROWS} {{ {nodes} }}", opset=opset, **used)


def optimized(graph, folder):
    """Return the operators that onnxruntime makes of the graph."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    content = ir.to_proto(graph).SerializeToString()
    ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]


@pytest.mark.parametrize("name", EXACT)
def test_exact_form_becomes_the_operator(name):
    graph = model(EXACT[name], 20)
    assert check(fuse_gelu, graph) == 1
    assert operators(graph) == ["Gelu"]
    assert graph.graph[0].attributes["approximate"].as_string() == "none"


def test_tanh_form_becomes_the_operator():
    graph = model(TANH, 20)
    assert check(fuse_gelu, graph) == 1
    assert operators(graph) == ["Gelu"]
    assert graph.graph[0].attributes["approximate"].as_string() == "tanh"


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("name", STAYS)
def test_other_graphs_stay_as_they_are(name, opset):
    graph = model(STAYS[name], opset)
    before = operators(graph)
    assert check(fuse_gelu, graph) == 0
    assert operators(graph) == before


@pytest.mark.parametrize("nodes", [MINUS, EXACT["minus in the constant"]])
def test_before_opset_20_the_form_is_the_one_that_onnxruntime_fuses(nodes, tmp_path):
    graph = model(nodes, 17)
    assert check(fuse_gelu, graph) == 1
    assert sorted(operators(graph)) == ["Add", "Div", "Erf", "Mul", "Mul"]
    assert optimized(graph, tmp_path) == ["Gelu"]


@pytest.mark.parametrize("nodes", [PLUS, TANH])
def test_before_opset_20_other_forms_stay(nodes):
    assert check(fuse_gelu, model(nodes, 17)) == 0


def test_intermediate_result_that_is_read_elsewhere_stays():
    graph = build(
        f"(float[N,16] x) => (float[N,16] y, float[N,16] z) {{ {MINUS} z = Exp(e) }}",
        opset=20,
        half=CONSTANTS["half"],
        one=CONSTANTS["one"],
        root=CONSTANTS["root"],
    )
    assert check(fuse_gelu, graph) == 0


def test_large_values_are_exact():
    graph = model(MINUS, 17)
    x = np.array([[-40, -6, -1, -1e-6, 0, 1e-6, 1, 6, 40] + [0.5] * 7], np.float32)
    expected = run(graph, {"x": x}, optimize=False)[0]
    fuse_gelu(graph)
    np.testing.assert_allclose(run(graph, {"x": x})[0], expected, atol=2e-7, rtol=2e-6)
