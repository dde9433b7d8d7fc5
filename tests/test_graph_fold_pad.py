"""fold_pad: a convolution pads by itself."""

import numpy as np
import pytest
from graph_models import build, check, ints, operators, random

from toolkit.graph.matching import integers
from toolkit.graph.passes.fold_pad import fold_pad

WEIGHT = {"w": random(4, 3, 3, 3)}
PADS = ints(0, 0, 0, 1, 0, 0, 2, 3)

FOLDED = {
    "without a value": ("p = Pad(x, n) y = Conv<strides = [2, 2]>(p, w)", {}, [0, 1, 2, 3]),
    "with a value of 0": ("p = Pad(x, n, z) y = Conv(p, w)", {"z": np.float32(0)}, [0, 1, 2, 3]),
    "on top of its own": (
        "p = Pad(x, n) y = Conv<pads = [1, 1, 0, 2]>(p, w)",
        {},
        [1, 2, 2, 5],
    ),
    "VALID": ('p = Pad(x, n) y = Conv<auto_pad = "VALID">(p, w)', {}, [0, 1, 2, 3]),
}

LEFT_ALONE = {
    "another value": ("p = Pad(x, n, z) y = Conv(p, w)", {"z": np.float32(1)}),
    "a reflection": ('p = Pad<mode = "reflect">(x, n) y = Conv(p, w)', {}),
    "a cut": ("p = Pad(x, n) y = Conv(p, w)", {"n": ints(0, 0, -1, 1, 0, 0, 2, 3)}),
    "of channels": (
        "p = Pad(x, n) y = Conv(p, w)",
        {"n": ints(0, 1, 0, 0, 0, 0, 0, 0), "w": random(4, 4, 3, 3)},
    ),
    "a size that follows from the input": (
        'p = Pad(x, n) y = Conv<auto_pad = "SAME_UPPER">(p, w)',
        {},
    ),
    "in front of a pooling": ("p = Pad(x, n) y = MaxPool<kernel_shape = [4, 4]>(p)", {}),
}


def make(text, constants, outputs="float[N,C,H,W] y", **options):
    return build(
        f"(float[N,3,8,8] x) => ({outputs}) {{ {text} }}",
        **(WEIGHT | {"n": PADS} | constants),
        **options,
    )


@pytest.mark.parametrize("name", FOLDED)
def test_the_padding_moves_into_the_convolution(name):
    text, constants, pads = FOLDED[name]
    model = make(text, constants)

    assert check(fold_pad, model) == 1
    assert operators(model) == ["Conv"]
    assert list(integers(model.graph[0], "pads")) == pads


def test_axes_that_are_given_count():
    model = make("p = Pad(x, n, , a) y = Conv(p, w)", {"n": ints(1, 2), "a": ints(-1)}, opset=18)

    assert check(fold_pad, model) == 1
    assert list(integers(model.graph[0], "pads")) == [0, 1, 0, 2]


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_no_convolution_can_pad_is_left_alone(name):
    text, constants = LEFT_ALONE[name]
    model = make(text, constants)

    assert check(fold_pad, model) == 0
    assert "Pad" in operators(model)


def test_other_readers_keep_the_padded_tensor():
    model = make(
        "p = Pad(x, n) y = Conv(p, w) z = Relu(p)", {}, "float[N,C,H,W] y, float[N,D,I,J] z"
    )

    assert check(fold_pad, model) == 1
    assert sorted(operators(model)) == ["Conv", "Pad", "Relu"]
