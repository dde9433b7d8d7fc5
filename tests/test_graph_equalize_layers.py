import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graph_models import build, random, run

from toolkit.graph.editing import constant, infer_shapes
from toolkit.graph.passes.equalize_layers import equalize_layers

CHANNELS = np.array([0.03, 0.1, 1.0, 4.0, 20.0, 1.0], np.float32)
DENSE = """(float[n, 5] x) => (float[n, 3] y) {
    h = Gemm(x, w, b)
    r = Relu(h)
    y = Gemm(r, v, c)
}"""


def dense() -> ir.Model:
    """A dense network whose middle channels differ in size by a factor of 600."""
    return build(
        DENSE,
        w=random(5, 6, seed=1) * CHANNELS,
        b=random(6, seed=2) * CHANNELS,
        v=random(6, 3, seed=3) / CHANNELS[:, np.newaxis],
        c=random(3, seed=4),
    )


def same_answers(model: ir.Model, feed: np.ndarray, pairs: int) -> ir.Model:
    """Equalize, and check that the model computes the same; return it."""
    infer_shapes(model)
    before = run(model, {"x": feed})
    assert equalize_layers(model) == pairs
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    for expected, found in zip(before, run(model, {"x": feed}), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    return model


def weight(model: ir.Model, index: int) -> np.ndarray:
    layers = [node for node in model.graph if node.op_type in ("Conv", "Gemm")]
    array = constant(layers[index].inputs[1])
    assert array is not None
    return array


def test_both_ranges_become_the_geometric_mean() -> None:
    model = dense()
    first, second = weight(model, 0), weight(model, 1)
    mean = np.sqrt(np.abs(first).max(axis=0) * np.abs(second).max(axis=1))
    same_answers(model, random(20, 5), 1)
    np.testing.assert_allclose(np.abs(weight(model, 0)).max(axis=0), mean, rtol=2e-3)
    np.testing.assert_allclose(np.abs(weight(model, 1)).max(axis=1), mean, rtol=2e-3)


def test_a_second_run_changes_nothing() -> None:
    model = same_answers(dense(), random(20, 5), 1)
    before = weight(model, 0).copy()
    assert equalize_layers(model) == 0
    np.testing.assert_array_equal(weight(model, 0), before)


def test_convolutions_are_equalized_through_pooling_depthwise_and_flattening() -> None:
    model = build(
        """(float[n, 2, 8, 8] x) => (float[n, 3] y) {
            a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w1, b1)
            r = Relu(a)
            d = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 6> (r, w2, b2)
            l = LeakyRelu <alpha = 0.1> (d)
            p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (l)
            g = Conv <kernel_shape = [1, 1], group = 2> (p, w3)
            q = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (g)
            f = Flatten(q)
            y = Gemm <transB = 1> (f, w4, b4)
        }""",
        w1=random(6, 2, 3, 3, seed=1) * CHANNELS[:, None, None, None],
        b1=random(6, seed=2),
        w2=random(6, 1, 3, 3, seed=3),
        b2=random(6, seed=4),
        w3=random(4, 3, 1, 1, seed=5),
        w4=random(3, 16, seed=6),
        b4=random(3, seed=7),
    )
    same_answers(model, random(4, 2, 8, 8), 3)
    sizes = np.abs(weight(model, 0)).max(axis=(1, 2, 3))
    assert sizes.max() / sizes.min() < 30 < CHANNELS.max() / CHANNELS.min()


def test_a_factor_stays_within_bounds() -> None:
    tiny = np.array([1e-6, 1, 1, 1, 1, 1], np.float32)
    model = build(DENSE, w=random(5, 6) * tiny, b=random(6, seed=2), v=random(6, 3), c=random(3))
    before = np.abs(weight(model, 0)).max(axis=0)
    same_answers(model, random(20, 5), 1)
    growth = np.abs(weight(model, 0)).max(axis=0) / before
    assert growth[0] == pytest.approx(64, rel=1e-3)


def test_a_channel_that_nothing_reads_stays() -> None:
    model = dense()
    array = weight(model, 1).copy()
    array[2] = 0
    model.graph.initializers["v"].const_value = ir.tensor(array, name="v")
    before = weight(model, 0)[:, 2].copy()
    same_answers(model, random(20, 5), 1)
    np.testing.assert_array_equal(weight(model, 0)[:, 2], before)


LEFT_ALONE = {
    "Clip scales no bound": "h = Gemm(x, w, b) r = Clip(h, zero, six) y = Gemm(r, v, c)",
    "two readers": "h = Gemm(x, w, b) s = Gemm(h, v, c) t = Gemm(h, v, c) y = Add(s, t)",
    "sigmoid": "h = Gemm(x, w, b) r = Sigmoid(h) y = Gemm(r, v, c)",
    "an addition": "h = Gemm(x, w, b) r = Add(h, b) y = Gemm(r, v, c)",
    "a matrix product": "h = Gemm(x, w, b) r = Relu(h) y = MatMul(r, v)",
}


@pytest.mark.parametrize("nodes", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_what_would_change_the_model_is_left_alone(nodes: str) -> None:
    constants = {
        "w": random(5, 6) * CHANNELS,
        "b": random(6),
        "v": random(6, 3),
        "c": random(3),
        "zero": np.float32(0),
        "six": np.float32(6),
    }
    used = {
        name: array
        for name, array in constants.items()
        if any(f"{name}{end}" in nodes for end in ",)")
    }
    model = build(f"(float[n, 5] x) => (float[n, 3] y) {{ {nodes} }}", **used)
    same_answers(model, random(10, 5), 0)


def test_reshapes_that_mix_channels_are_left_alone() -> None:
    model = build(
        """(float[2, 3, 4] x) => (float[6, 2] y) {
            a = Conv <kernel_shape = [1]> (x, w)
            f = Reshape(a, shape)
            y = Gemm(f, v)
        }""",
        w=random(6, 3, 1) * CHANNELS[:, None, None],
        shape=np.array([6, 8], np.int64),
        v=random(8, 2),
    )
    same_answers(model, random(2, 3, 4), 0)
