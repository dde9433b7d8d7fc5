"""trim_borders: what is cut, where, and that the answers stay the same."""

import numpy as np
import pytest
from graph_models import build, check, ints, operators, random, run

from toolkit.graph.extents import full
from toolkit.graph.passes import trim_borders as trimming
from toolkit.graph.passes.trim_borders import trim_borders

POOL = "MaxPool<kernel_shape = [2, 2], strides = [2, 2]>"
ONE = {"w": random(4, 2, 3, 3)}


@pytest.fixture
def any_size(monkeypatch):
    """Graphs of the size of a test are cut although it does not pay."""
    monkeypatch.setattr(trimming, "_SLICE", 0)
    monkeypatch.setattr(trimming, "_SLICE_PER_VALUE", 0)


def shapes(model):
    return {value.name: full(value)[2:] for node in model.graph for value in node.outputs}


DIGITS = f"""(uint8[N,28,28,1] x) => (float[N,6,5,5] y) {{ f = Cast<to = 1>(x) d = Mul(f, k)
    i = Reshape(d, s) a = Conv(i, w) b = Relu(a) c = {POOL}(b) e = Conv(c, v) g = Relu(e)
    y = {POOL}(g) }}"""


def digits(filters):
    return build(
        DIGITS.replace("6,5,5", f"{filters},5,5"),
        w=random(filters, 1, 3, 3),
        v=random(filters, filters, 3, 3, seed=1),
        k=np.float32(1 / 255),
        s=ints(-1, 1, 28, 28),
    )


def test_digits_network_is_cut_once_at_the_uint8_input():
    model = digits(64)
    assert check(trim_borders, model) == 2
    assert operators(model)[:3] == ["Slice", "Cast", "Mul"]
    assert len(operators(model)) == 10
    assert full(model.graph[0].outputs[0])[1:] == (26, 26, 1)
    assert {name: shapes(model)[name] for name in "iacey"} == {
        "i": (26, 26),
        "a": (24, 24),
        "c": (12, 12),
        "e": (10, 10),
        "y": (5, 5),
    }


def test_result_is_the_same_to_the_last_bit_without_the_optimizer():
    model = digits(64)
    feed = {"x": np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1)).astype(np.uint8)}
    expected = run(model, feed, optimize=False)[0]
    assert trim_borders(model) == 2
    np.testing.assert_array_equal(run(model, feed, optimize=False)[0], expected)


CUT = {
    # text, constants, whether a Slice is added, shape of the convolution's output c
    "floor pooling": (
        f"(float[N,2,9,10] x) => (float[N,4,3,4] y) {{ c = Conv(x, w) y = {POOL}(c) }}",
        ONE,
        True,
        (6, 8),
    ),
    "average pooling": (
        """(float[N,2,9,9] x) => (float[N,4,3,3] y) { c = Conv(x, w)
        y = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(c) }""",
        ONE,
        True,
        (6, 6),
    ),
    "padding is enough": (
        f"""(float[N,2,7,7] x) => (float[N,4,3,3] y) {{
        c = Conv<pads = [1, 1, 1, 1]>(x, w) y = {POOL}(c) }}""",
        ONE,
        False,
        (6, 6),
    ),
    "padding and a convolution before": (
        f"""(float[N,2,9,9] x) => (float[N,4,3,3] y) {{ a = Conv(x, w) b = Relu(a)
        c = Conv<pads = [1, 1, 1, 1]>(b, v) y = {POOL}(c) }}""",
        ONE | {"v": random(4, 4, 3, 3, seed=1)},
        False,
        (6, 6),
    ),
    "stride of a convolution": (
        """(float[N,2,14,14] x) => (float[N,4,5,5] y) { c = Conv(x, w)
        y = Conv<strides = [2, 2]>(c, v) }""",
        ONE | {"v": random(4, 4, 3, 3, seed=1)},
        True,
        (11, 11),
    ),
    "dilation": (
        f"""(float[N,2,11,11] x) => (float[N,4,3,3] y) {{ c = Conv<dilations = [2, 2]>(x, w)
        y = {POOL}(c) }}""",
        ONE,
        True,
        (6, 6),
    ),
    "padding in front": (
        f"""(float[N,2,8,8] x) => (float[N,4,3,3] y) {{ c = Conv<pads = [1, 1, 0, 0]>(x, w)
        y = {POOL}(c) }}""",
        ONE,
        True,
        (6, 6),
    ),
    "sum of branches": (
        f"""(float[N,2,9,9] x) => (float[N,4,3,3] y) {{ a = Conv(x, w) b = Conv(x, v)
        c = Add(a, b) y = {POOL}(c) }}""",
        ONE | {"v": random(4, 2, 3, 3, seed=1)},
        True,
        (6, 6),
    ),
    "branches joined": (
        f"""(float[N,2,9,9] x) => (float[N,8,3,3] y) {{ a = Conv(x, w)
        b = Conv<dilations = [2, 2]>(x, v)
        c = Concat<axis = 1>(a, b) y = {POOL}(c) }}""",
        ONE | {"v": random(4, 2, 2, 2, seed=1)},
        True,
        (6, 6),
    ),
    "bias per channel and Transpose": (
        f"""(float[N,9,9,2] x) => (float[N,4,3,3] y) {{ t = Transpose<perm = [0, 3, 1, 2]>(x)
        a = Conv(t, w) c = Add(a, b) y = {POOL}(c) }}""",
        ONE | {"b": random(4, 1, 1)},
        True,
        (6, 6),
    ),
    "behind an unknown operator": (
        f"""(float[N,2,9,9] x) => (float[N,4,3,3] y) {{ n = InstanceNormalization(x, s, s)
        c = Conv(n, w) y = {POOL}(c) }}""",
        ONE | {"s": random(2)},
        True,
        (6, 6),
    ),
    "Pad shrinks": (
        f"""(float[N,2,7,7] x) => (float[N,4,3,3] y) {{ p = Pad(x, q) c = Conv(p, w)
        y = {POOL}(c) }}""",
        ONE | {"q": ints(0, 0, 1, 1, 0, 0, 1, 1)},
        False,
        (6, 6),
    ),
    "Slice shrinks": (
        f"""(float[N,2,12,12] x) => (float[N,4,3,3] y) {{ p = Slice(x, b, e, a) c = Conv(p, w)
        y = {POOL}(c) }}""",
        ONE | {"b": ints(0, 1, -11), "e": ints(2**31 - 1, -2, -2), "a": ints(0, 2, 3)},
        False,
        (6, 6),
    ),
    "Slice drops what a convolution made": (
        """(float[N,2,9,9] x) => (float[N,4,5,5] y) { a = Conv(x, w) c = Relu(a)
        y = Slice(c, b, e, k) }""",
        ONE | {"b": ints(0, -7), "e": ints(-2, 5), "k": ints(2, 3)},
        True,
        (5, 5),
    ),
    "one dimension": (
        """(float[N,2,10] x) => (float[N,4,2] y) { c = Conv(x, w)
        y = MaxPool<kernel_shape = [3], strides = [3]>(c) }""",
        {"w": random(4, 2, 3)},
        True,
        (6,),
    ),
    "width only": (
        """(float[N,2,5,9] x) => (float[N,4,5,3] y) { c = Conv<kernel_shape = [1, 3]>(x, w)
        y = MaxPool<kernel_shape = [1, 2], strides = [1, 2]>(c) }""",
        {"w": random(4, 2, 1, 3)},
        True,
        (5, 6),
    ),
}

STAYS = {
    "another branch reads it all": f"""(float[N,2,9,9] x) => (float[N,8,3,3] y) {{ a = Conv(x, w)
        b = Conv<pads = [0, 0, 2, 2], dilations = [2, 2]>(x, w)
        c = Concat<axis = 1>(a, b) y = {POOL}(c) }}""",
    "nothing is dead": f"""(float[N,2,8,8] x) => (float[N,4,3,3] y) {{
        c = Conv(x, w) y = {POOL}(c) }}""",
    "rounded up": """(float[N,2,9,9] x) => (float[N,4,4,4] y) { c = Conv(x, w)
        y = MaxPool<kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1>(c) }""",
    "read by an output": f"""(float[N,2,9,9] x) => (float[N,4,3,3] y, float[N,4,7,7] c) {{
        c = Conv(x, w) y = {POOL}(c) }}""",
    "read by a global pooling": f"""(float[N,2,9,9] x) => (float[N,4,3,3] y, float[N,4,1,1] z) {{
        c = Conv(x, w) y = {POOL}(c) z = GlobalAveragePool(c) }}""",
    "dynamic sizes": f"(float[N,2,H,W] x) => (float[N,4,P,Q] y) {{ c = Conv(x, w) y = {POOL}(c) }}",
    "no convolution to save": f"""(float[N,2,9,9] x) => (float[N,2,4,4] y) {{
        c = Relu(x) y = {POOL}(c) }}""",
    "automatic padding": f"""(float[N,2,7,7] x) => (float[N,4,3,3] y) {{
        c = Conv<auto_pad = "SAME_UPPER">(x, w) y = {POOL}(c) }}""",
    "indices of the maxima": """(float[N,2,9,9] x) => (float[N,4,3,3] y, int64[N,4,3,3] z) {
        c = Conv(x, w) y, z = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(c) }""",
    "read in a body": f"""(float[N,2,9,9] x, bool k) => (float[N,4,3,3] y, float[N,4,7,7] z) {{
        c = Conv(x, w) y = {POOL}(c) z = If(k) <
        then_branch = g1 () => (float[N,4,7,7] p) {{ p = Neg(c) }},
        else_branch = g2 () => (float[N,4,7,7] q) {{ q = Relu(c) }}> }}""",
}


@pytest.mark.parametrize("name", CUT)
@pytest.mark.usefixtures("any_size")
def test_borders_that_nothing_reads_are_not_computed(name):
    text, constants, sliced, shape = CUT[name]
    model = build(text, **constants)
    before = len(operators(model))
    assert check(trim_borders, model, batches=(1, 9)) > 0
    assert len(operators(model)) == before + sliced
    assert shapes(model)["c"] == shape


@pytest.mark.parametrize("name", STAYS)
@pytest.mark.usefixtures("any_size")
def test_other_graphs_stay_as_they_are(name):
    model = build(STAYS[name], **ONE)
    before = operators(model)
    assert check(trim_borders, model, batches=(9,)) == 0
    assert operators(model) == before


@pytest.mark.parametrize(("filters", "cut"), [(1, 0), (64, 2)])
def test_cut_must_save_more_than_it_costs(filters, cut):
    assert check(trim_borders, digits(filters), batches=(1,)) == cut


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.usefixtures("any_size")
def test_random_networks_keep_their_outputs(seed):
    rng = np.random.default_rng(seed)
    size, channels = int(rng.integers(20, 30)), 2
    nodes, constants, values = [], {}, [("x", channels)]
    for index in range(int(rng.integers(3, 10))):
        source, channels = values[-1] if rng.random() < 0.8 else values[rng.integers(len(values))]
        out = f"v{index}"
        kind = rng.choice(["Conv", "Conv", "Pool", "Relu", "Add", "Pad", "Slice"])
        stride, front, behind = (int(rng.integers(low, 3)) for low in (1, 0, 0))
        pads = f"pads = [{front}, {front}, {min(behind, 1)}, {behind}]"
        if kind == "Conv":
            kernel = int(rng.integers(2, 4))
            constants[f"w{index}"] = random(4, channels, kernel, kernel, seed=index)
            dilation = int(rng.integers(1, 3))
            nodes.append(
                f"{out} = Conv<{pads}, strides = [{stride}, 1], dilations = [1, {dilation}]>"
                f"({source}, w{index})"
            )
            channels = 4
        elif kind == "Pool":
            which = rng.choice(["MaxPool", "AveragePool"])
            extra = ", count_include_pad = 1" if which == "AveragePool" and stride == 1 else ""
            up = int(rng.random() < 0.2)
            nodes.append(
                f"{out} = {which}<kernel_shape = [3, 3], strides = [2, {stride}], "
                f"ceil_mode = {up}, {pads}{extra}>({source})"
            )
        elif kind == "Add":
            constants[f"c{index}"] = random(channels, 1, 1, seed=index)
            nodes.append(f"{out} = Add({source}, c{index})")
        elif kind == "Pad":
            constants[f"p{index}"] = ints(0, 0, front, 0, 0, 0, behind, 1)
            # The Relu keeps onnxruntime from folding it into a pooling, which may refuse it then.
            nodes.append(f"q{index} = Pad({source}, p{index}) {out} = Relu(q{index})")
        elif kind == "Slice":
            constants[f"s{index}"] = ints(front, 0)
            constants[f"e{index}"] = ints(-1 - behind, 1000)
            constants[f"a{index}"] = ints(2, 3)
            nodes.append(f"{out} = Slice({source}, s{index}, e{index}, a{index})")
        else:
            nodes.append(f"{out} = Relu({source})")
        values.append((out, channels))
    last = values[-1][0]
    text = f"(float[N,2,{size},{size}] x) => (float[N,{channels},H,W] y) {{ {' '.join(nodes)}"
    model = build(f"{text} y = Relu({last}) }}", **constants)
    check(trim_borders, model, batches=(1, 2))


@pytest.mark.usefixtures("any_size")
def test_every_size_of_picture_is_cut_as_far_as_it_can_be():
    counts = []
    for size in range(20, 28):
        model = build(
            f"""(float[N,1,{size},{size}] x) => (float[N,6,H,W] y) {{ a = Conv(x, w) b = {POOL}(a)
            c = Conv(b, v) y = {POOL}(c) }}""",
            w=random(4, 1, 3, 3),
            v=random(6, 4, 3, 3, seed=1),
        )
        counts.append(check(trim_borders, model, batches=(1,)))
    # Four sizes in a row end in one size of answer; the third of them wastes nothing.
    assert counts == [2, 2, 0, 1, 2, 2, 0, 1]


def test_a_shape_that_is_declared_too_large_leaves_the_graph_whole(any_size):
    model = build(
        """(float[N,6,4] x) => (float[N,6,4] y) { a = Slice(x, zero, two, two)
        b = Slice(x, two, four, two) c = Sigmoid(b) y = Mul(a, c) }""",
        zero=ints(0),
        two=ints(2),
        four=ints(4),
    )
    feed = {"x": random(3, 6, 4)}
    expected = run(model, feed)[0]

    assert trim_borders(model) == 0
    np.testing.assert_array_equal(run(model, feed)[0], expected)
