"""Whatever the graph: each pass alone, and any choice of them in order, keeps the outputs."""

import functools

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graph_models import inputs_for, run
from random_graphs import generate

from toolkit.graph import PASSES

SEEDS = range(80)


@functools.cache
def before(seed):
    """The model as bytes, inputs at two batches, and the outputs without any optimization."""
    model = generate(seed)
    feeds = [inputs_for(model, batch) for batch in (1, 3)]
    outputs = [run(model, feed, optimize=False) for feed in feeds]
    return ir.to_proto(model).SerializeToString(), feeds, outputs


def load(seed):
    return ir.from_proto(onnx.load_from_string(before(seed)[0]))


def assert_same(model, seed):
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    _, feeds, expected = before(seed)
    for feed, outputs in zip(feeds, expected, strict=True):
        for one, other in zip(outputs, run(model, feed, optimize=False), strict=True):
            assert one.shape == other.shape
            scale = max(1e-30, float(np.abs(one).max()))
            np.testing.assert_allclose(other / scale, one / scale, rtol=0, atol=2e-5)


@pytest.mark.parametrize("rule", PASSES)
def test_each_pass_keeps_the_outputs_of_random_graphs(rule):
    applied = 0
    for seed in SEEDS:
        model = load(seed)
        names = [value.name for value in (*model.graph.inputs, *model.graph.outputs)]
        if not PASSES[rule](model):
            continue
        applied += 1
        assert_same(model, seed)
        assert [value.name for value in (*model.graph.inputs, *model.graph.outputs)] == names
        assert PASSES[rule](model) == 0, f"seed {seed}"
    # The graphs hold what the pass looks for; otherwise this would show nothing.
    assert applied


def test_any_choice_of_passes_keeps_the_outputs_of_random_graphs():
    for seed in SEEDS:
        model = load(seed)
        rng = np.random.default_rng(seed)
        for apply in PASSES.values():
            if rng.random() < 0.7:
                apply(model)
        assert_same(model, seed)
