"""The comparison with Keras: its figures, and the optimizer at fault."""

import numpy as np
import onnx_ir as ir
import pytest
from graph_models import build, ints, random, run

from toolkit import contract as contracts
from toolkit.errors import CheckFailedError, ModelError
from toolkit.exporting import parity
from toolkit.exporting.bisection import guilty_optimizers
from toolkit.exporting.references import Case, with_real_shapes

INFINITE = float("inf")
POOL = """(float[N,3,8,8] x) => (float[N,3,4,4] y) {
    a = Pad(x, p) y = MaxPool<kernel_shape = [3, 3], strides = [2, 2]>(a) }"""
PADS = {"p": ints(0, 0, 1, 1, 0, 0, 1, 1)}


def serialized(model):
    return ir.to_proto(model).SerializeToString()


def contract_of(model):
    return contracts.infer("m", tensors(model.graph.inputs), tensors(model.graph.outputs))


def tensors(values):
    return [(value.name, "float32", ["batch", *list(value.shape)[1:]]) for value in values]


def compared(model, cases):
    return parity.compare(serialized(model), contract_of(model), cases)


def required(model, cases, **options):
    content, contract = serialized(model), contract_of(model)
    found = parity.compare(content, contract, cases)
    parity.require(found, content, contract, cases, "model.keras", **options)


@pytest.mark.parametrize(
    ("expected", "actual", "figures"),
    [
        ([1.0, 2.0], [1.0, 2.0], (0, 0)),
        ([1.0, -2.0], [1.0, -2.5], (0.5, 0.25)),
        ([0.0, 0.0], [0.0, 0.0], (0, 0)),
        ([0.0, 0.0], [0.0, 0.1], (0.1, INFINITE)),
        ([np.nan, 1.0], [np.nan, 1.0], (0, 0)),
        ([np.inf, -np.inf], [np.inf, -np.inf], (0, 0)),
        ([np.nan, 1.0], [0.0, 1.0], (INFINITE, INFINITE)),
        ([1.0, 1.0], [np.inf, 1.0], (INFINITE, INFINITE)),
        ([1.0], [1.0, 1.0], (INFINITE, INFINITE)),
        ([3, 4], [3, 5], (1, 0.25)),
    ],
)
def test_difference_is_relative_to_the_largest_value(expected, actual, figures):
    found = parity.difference([np.array(expected)], [np.array(actual)])

    assert found == pytest.approx(figures)


def test_every_output_is_compared_with_all_optimizations_and_with_none():
    model = build("(float[N,4] x) => (float[N,4] y, float[N,4] z) { y = Relu(x) z = Exp(x) }")
    samples = {"real": random(6, 4), "random": random(3, 4, seed=5)}
    cases = [
        Case(source, (x,), tuple(run(model, {"x": x})))
        for source, x in (*samples.items(), ("real", samples["real"][:1]))
    ]

    found = compared(model, cases)

    assert {(entry.output, entry.optimized) for entry in found.differences} == {
        ("y", True), ("y", False), ("z", True), ("z", False),
    }  # fmt: skip
    assert found.passed
    assert found.to_dict() == {
        "samples": 9,
        "real_samples": 6,
        "random_samples": 3,
        "batches": [1, 3, 6],
        "max_abs_diff": 0.0,
        "max_rel_diff": 0.0,
        "limit": 1e-4,
        "passed": True,
        "runtime": found.runtime,
        "computed_by": "Keras",
    }


def test_a_difference_names_the_output_the_figure_and_the_limit():
    model = build("(float[N,4] x) => (float[N,4] y) { y = Relu(x) }")
    x = random(3, 4, low=1, high=2)
    wrong = x * np.float32(1.01)

    with pytest.raises(CheckFailedError, match=r"'y' differs from Keras.* is 9\.9e-03.* 0\.0001"):
        required(model, [Case("random", (x,), (wrong,))])


def test_the_optimizer_that_changes_the_result_is_named():
    model = build(POOL, **PADS)
    x = random(2, 3, 8, 8, low=-2, high=-1)
    case = Case("random", (x,), tuple(run(model, {"x": x}, optimize=False)))

    with pytest.raises(CheckFailedError, match=r"the optimizer at fault is 'Pad_Fusion'"):
        required(model, [case])


@pytest.mark.parametrize(("opset", "zero_point"), [(17, False), (21, True)])
def test_an_optimizer_that_drops_the_sign_of_int8_is_named(opset, zero_point):
    # onnxruntime up to 1.31 at least: negative codes of an int8 input before a Reshape become 0,
    # and with a zero point the optimized graph does not load
    # (https://github.com/microsoft/onnxruntime/issues/27845).
    model = build(
        f"(int8[N,2,3] x) => (float[N,6] y) {{ a = DequantizeLinear(x, s{', z' * zero_point}) "
        "y = Reshape(a, r) }",
        opset=opset,
        s=np.float32(0.01),
        r=ints(-1, 6),
        **({"z": np.int8(0)} if zero_point else {}),
    )
    x = np.array([[[-90, 5, -3], [4, -5, 60]]], np.int8)
    (y,) = run(model, {"x": x}, optimize=False)
    try:
        fixed = np.array_equal(run(model, {"x": x})[0], y)
    except Exception:  # onnxruntime's own exception class
        fixed = False
    if not fixed:
        with pytest.raises(CheckFailedError, match="at fault is 'QDQPropagationTransformer'"):
            required(model, [Case("random", (x,), (y,))])


def test_an_optimizer_that_breaks_the_loading_is_named():
    # Seen with onnxruntime 1.31: a transposition is moved past a cubic resize, which then fails.
    model = build(
        """(float[n,8,8,3] x) => (float[n,5,7,3] y) {
        a = Transpose<perm = [0, 3, 1, 2]>(x)
        b = Resize<coordinate_transformation_mode = "half_pixel", cubic_coeff_a = -0.5,
                   exclude_outside = 1, mode = "cubic">(a, r, s)
        y = Transpose<perm = [0, 2, 3, 1]>(b) }""",
        s=np.array([1, 1, 0.625, 0.875], np.float32),
        r=np.zeros(0, np.float32),
    )
    x = random(2, 8, 8, 3)
    case = Case("random", (x,), tuple(run(model, {"x": x}, optimize=False)))
    try:
        run(model, {"x": x})
    except Exception:  # onnxruntime's own exception class
        with pytest.raises(CheckFailedError, match="fault is 'TransposeOptimizer_CPUExecution"):
            required(model, [case])


def test_a_model_that_never_loads_is_an_error_of_the_model():
    model = build("(float[N,4] x) => (float[N,4] y) { y = Relu(x) }")
    model.graph[0].op_type = "Bucketize"

    with pytest.raises(ModelError, match="Bucketize"):
        compared(model, [Case("random", (random(3, 4),), (random(3, 4),))])


@pytest.mark.parametrize(
    "guilty", [("NoopElimination",), ("EliminateIdentity", "ConstantFolding"), ()]
)
def test_bisection_finds_all_that_are_at_fault_and_no_more(monkeypatch, guilty):
    from toolkit.exporting import bisection

    monkeypatch.setattr(bisection, "_session", lambda model, left_out: left_out)

    def is_right(left_out):
        return bool(guilty) and set(guilty) <= set(left_out)

    assert guilty_optimizers(b"", is_right) == guilty


def test_half_precision_has_a_wider_limit():
    half = build("(float16[N,4] x) => (float16[N,4] y) { y = Relu(x) }")
    single = build("(float[N,4] x) => (float[N,4] y) { y = Relu(x) }")

    assert parity.limit_of(single) == 1e-4
    assert parity.limit_of(half) == 5e-3


def test_the_contract_gets_the_sizes_that_the_outputs_really_have():
    said = contracts.infer(
        "glu", [("x", "float32", ("batch", 6, 4))], [("y", "float32", ("batch", 6, 4))]
    )
    case = Case("random", (random(3, 6, 4),), (random(3, 6, 2),))

    real = with_real_shapes(said, [case])

    assert real.outputs[0].shape == ("batch", 6, 2)
    assert real.inputs == said.inputs
