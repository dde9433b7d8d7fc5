"""guard_pad_maxpool: zero padding before a maximum pooling gives the same result everywhere."""

import numpy as np
import pytest
from graph_models import build, check, ints, random, run

from toolkit.graph.editing import constant
from toolkit.graph.passes.guard_pad_maxpool import guard_pad_maxpool

PADS = {"p": ints(0, 0, 1, 1, 0, 0, 1, 1)}
POOL = "MaxPool<kernel_shape = [3, 3], strides = [2, 2]>"
HEAD = "(float[N,3,8,8] x) => (float[N,3,4,4] y)"

GUARDED = {
    "no value": (f"{HEAD} {{ a = Pad(x, p) y = {POOL}(a) }}", {}),
    "a value of zero": (f"{HEAD} {{ a = Pad(x, p, z) y = {POOL}(a) }}", {"z": np.float32(0)}),
    "past a transposition": (
        f"""(float[N,8,8,3] x) => (float[N,3,4,4] y) {{
        a = Pad(x, p) b = Transpose<perm = [0, 3, 1, 2]>(a) y = {POOL}(b) }}""",
        {"p": ints(0, 1, 1, 0, 0, 1, 1, 0)},
    ),
}

LEFT_ALONE = {
    "another value": (f"{HEAD} {{ a = Pad(x, p, z) y = {POOL}(a) }}", {"z": np.float32(-9)}),
    "reflection": (f'{HEAD} {{ a = Pad<mode = "reflect">(x, p) y = {POOL}(a) }}', {}),
    "another operator": (
        "(float[N,3,8,8] x) => (float[N,3,10,10] y) { a = Pad(x, p) y = Relu(a) }",
        {},
    ),
}


@pytest.mark.parametrize("name", GUARDED)
def test_all_optimizations_and_none_agree_afterwards(name):
    text, constants = GUARDED[name]
    model = build(text, **(PADS | constants))
    shape = [size if isinstance(size, int) else 2 for size in model.graph.inputs[0].shape]
    # All values negative: at the border the zero of the padding is the largest of its window.
    feed = {"x": random(*shape, low=-2, high=-1)}
    expected = run(model, feed, optimize=False)[0]

    assert guard_pad_maxpool(model) == 1

    for optimize in (True, False):
        np.testing.assert_allclose(run(model, feed, optimize=optimize)[0], expected, atol=1e-29)
    assert expected.max() == 0
    assert guard_pad_maxpool(model) == 0


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_other_padding_is_left_alone(name):
    text, constants = LEFT_ALONE[name]

    assert check(guard_pad_maxpool, build(text, **(PADS | constants))) == 0


def test_half_precision_gets_a_value_that_it_can_hold():
    model = build(
        f"(float16[N,3,8,8] x) => (float16[N,3,4,4] y) {{ a = Pad(x, p) y = {POOL}(a) }}", **PADS
    )

    assert guard_pad_maxpool(model) == 1
    assert 0 < float(constant(model.graph[0].inputs[2])) < 1e-7
