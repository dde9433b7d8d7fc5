"""Small ONNX graphs for the tests of the passes: written as text, run by onnxruntime."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime as ort

FLOAT = np.float32


def random(*shape: int, seed: int = 0, low: float = -1, high: float = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, shape).astype(FLOAT)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def build(text: str, *, opset: int = 17, ir_version: int = 8, **constants: np.ndarray) -> ir.Model:
    """Parse ``(inputs) => (outputs) { nodes }``; constants become initializers."""
    head = f'<ir_version: {ir_version}, opset_import: ["": {opset}]> g '
    proto = onnx.parser.parse_model(head + text)
    for name, array in constants.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    onnx.checker.check_model(proto)
    return ir.from_proto(proto)


def run(
    model: ir.Model, feeds: dict[str, np.ndarray], *, optimize: bool = True
) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = ir.to_proto(model).SerializeToString()
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def inputs_for(model: ir.Model, batch: int, seed: int = 1) -> dict[str, np.ndarray]:
    """Random inputs; every dynamic size is the batch."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for value in model.graph.inputs:
        shape = [size if isinstance(size, int) else batch for size in value.shape]
        dtype = value.dtype.numpy()
        if np.issubdtype(dtype, np.floating):
            feeds[value.name] = rng.normal(0, 1, shape).astype(dtype)
        else:
            feeds[value.name] = rng.integers(0, 2 if dtype == np.bool_ else 256, shape).astype(
                dtype
            )
    return feeds


def check(
    apply: Callable[[ir.Model], int],
    model: ir.Model,
    *,
    rtol: float = 1e-5,
    batches: Sequence[int] = (1, 3),
) -> int:
    """Apply a pass; fail unless outputs, signature and versions stay and a second run does nothing.

    Returns how often the rule applied. The difference allowed is relative to the largest output.
    """
    signature = _signature(model)
    feeds = [inputs_for(model, batch) for batch in batches]
    before = [[run(model, feed, optimize=how) for how in (True, False)] for feed in feeds]
    count = apply(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert _signature(model) == signature
    for feed, expected in zip(feeds, before, strict=True):
        for how, old in zip((True, False), expected, strict=True):
            new = run(model, feed, optimize=how)
            for one, other in zip(old, new, strict=True):
                assert one.shape == other.shape
                assert one.dtype == other.dtype
                one, other = one.astype(np.float64), other.astype(np.float64)
                scale = max(1e-30, float(np.abs(one).max(initial=0)))
                np.testing.assert_allclose(other / scale, one / scale, rtol=0, atol=rtol)
    once = ir.to_proto(model).SerializeToString()
    assert apply(model) == 0
    assert ir.to_proto(model).SerializeToString() == once
    return count


def _signature(model: ir.Model) -> tuple[object, ...]:
    """Names and dtypes of inputs and outputs, the opsets and the IR version."""
    values = (*model.graph.inputs, *model.graph.outputs)
    return (
        [(value.name, value.dtype) for value in values],
        dict(model.graph.opset_imports),
        model.ir_version,
    )
