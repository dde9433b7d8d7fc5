"""All passes on graphs that really come out of Keras, together and one by one."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graph_models import build, ints, operators, random, run

from toolkit.graph import PASSES, clean

EXPORTS = Path(__file__).with_name("graph_keras_exports.py")

# What is left of each graph, in operators.
LEFT = {
    "digits": "Slice Reshape Conv Relu MaxPool Conv Relu MaxPool Reshape Gemm Relu Gemm Softmax",
    "colours": "Slice Transpose Conv Relu MaxPool Conv Relu MaxPool Reshape Gemm Relu Gemm Softmax",
    "residual": None,
    "transformer": None,
    "normalized between": "Transpose Conv Relu Conv Transpose",
    "normalized dense": "Gemm Relu Gemm",
    "transposed": "Transpose ConvTranspose Transpose",
    "one-dimensional": None,
    "dense of rank 4": "MatMul Add Relu MatMul Add",
    "groups": None,
    "layer norm over two axes": None,
    "padding and cropping": None,
}


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    done = subprocess.run(
        [sys.executable, EXPORTS, folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def load(folder, name):
    with np.load(folder / f"{name}.npz") as data:
        return ir.from_proto(onnx.load(folder / f"{name}.onnx")), data["x"], data["y"]


def assert_right(model, x, y, *, optimized=(True, False)):
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    scale = np.abs(y).max()
    name = model.graph.inputs[0].name
    for size in (1, len(x)):
        for optimize in optimized:
            found = run(model, {name: x[:size]}, optimize=optimize)[0]
            np.testing.assert_allclose(found / scale, y[:size] / scale, rtol=0, atol=5e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", LEFT)
def test_cleaned_graph_computes_what_keras_computes(exports, name):
    model, x, y = load(exports, name)
    before = len(operators(model))
    clean(model)
    assert_right(model, x, y)
    assert len(operators(model)) <= before
    if LEFT[name] is not None:
        assert operators(model) == LEFT[name].split()
    assert set(clean(model).values()) == {0}


@pytest.mark.slow
@pytest.mark.parametrize("rule", PASSES)
def test_each_pass_alone_keeps_what_keras_computes(exports, rule):
    for name in LEFT:
        model, x, y = load(exports, name)
        PASSES[rule](model)
        # Without guard_pad_maxpool onnxruntime's optimizer changes what this one computes.
        unsafe = name == "padding and cropping" and rule != "guard_pad_maxpool"
        assert_right(model, x, y, optimized=(False,) if unsafe else (True, False))


@pytest.mark.slow
def test_operators_that_tf2onnx_takes_apart_are_whole_again(exports):
    model, _, _ = load(exports, "transformer")
    assert "LayerNormalization" not in operators(model)
    clean(model)
    assert operators(model).count("LayerNormalization") == 2
    assert {"Sub", "Neg", "Sqrt"}.isdisjoint(operators(model))


@pytest.mark.slow
def test_no_transposition_is_left_inside_a_convolutional_network(exports):
    model, _, _ = load(exports, "residual")
    clean(model)
    assert operators(model).count("Transpose") == 1


def test_graph_without_anything_to_do_stays_byte_for_byte():
    model = build(
        "(float[N,2,6,6] x) => (float[N,3] y) { c = Conv(x, w) r = Relu(c) f = Reshape(r, s) "
        "y = Gemm(f, v) }",
        w=random(2, 2, 3, 3),
        s=ints(-1, 32),
        v=random(32, 3),
    )
    clean(model)
    once = ir.to_proto(model).SerializeToString()
    assert set(clean(model).values()) == {0}
    assert ir.to_proto(model).SerializeToString() == once
