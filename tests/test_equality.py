"""What a graph allows to expect of its answers on another CPU."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from toolkit.equality import compare, rule

WEIGHT = np.full((4, 4), 3, np.int8)


def model(*chain, inputs=(), dtype=TensorProto.FLOAT):
    """A chain of operators from x to y; Q and DQ get scale and zero point, products a weight."""
    constants = {
        "scale": np.float32(0.1), "zero": np.uint8(0), "zero8": np.int8(0), "codes": WEIGHT,
        "floats": WEIGHT.astype(np.float32),
    }  # fmt: skip
    nodes = [helper.make_node("DequantizeLinear", ["codes", "scale", "zero8"], ["weight"])]
    name = "x"
    for index, operator in enumerate(chain):
        output = "y" if index == len(chain) - 1 else f"t{index}"
        kind, _, what = operator.partition(":")
        more = {
            "Q": ["scale", "zero"], "DQ": ["scale", "zero"],
            "MatMul": ["floats" if what == "float" else "weight"],
        }.get(kind, [])  # fmt: skip
        kind = {"Q": "QuantizeLinear", "DQ": "DequantizeLinear"}.get(kind, kind)
        nodes.append(helper.make_node(kind, [name, *more], [output]))
        name = output
    used = {entry for node in nodes for entry in node.input}
    if "weight" not in used:
        nodes = nodes[1:]
    x, y = (helper.make_tensor_value_info(n, dtype, ["batch", 4]) for n in "xy")
    stored = [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    graph = helper.make_graph(nodes, "chain", [x], [y], stored)
    return helper.make_model(graph)


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        (["MatMul:float", "Softmax"], "float"),
        (["Q", "DQ", "MatMul", "Q", "DQ"], "bit for bit"),
        (["Mul", "Q", "DQ", "MatMul", "Relu", "Q", "DQ"], "bit for bit"),
        (["Q", "DQ", "MatMul", "Q", "DQ", "Softmax", "Q", "DQ"], "bit for bit"),
        (["Q", "DQ", "MatMul", "Q", "DQ", "Softmax"], "float rounding"),
        (["Q", "DQ", "MatMul", "Softmax"], "float rounding"),
        (["MatMul:float", "Q", "DQ", "MatMul", "Q", "DQ"], "one output step"),
        (["Q", "DQ", "MatMul", "Exp", "Q", "DQ"], "one output step"),
        (["Q", "DQ", "MatMul:float", "Q", "DQ"], "one output step"),
    ],
)
def test_the_rule_follows_from_where_float_sums_stand(chain, expected):
    assert rule(model(*chain)) == expected


def test_float16_has_a_rule_of_its_own():
    graph = model("MatMul:float")
    graph.graph.initializer[-1].CopyFrom(
        numpy_helper.from_array(WEIGHT.astype(np.float16), "floats")
    )
    assert rule(graph) == "half"


def test_a_product_that_is_also_read_as_float_is_no_integer_kernel():
    graph = model("Q", "DQ", "MatMul", "Q", "DQ")
    product = next(node for node in graph.graph.node if node.op_type == "MatMul").output[0]
    graph.graph.node.append(helper.make_node("Exp", [product], ["z"]))
    graph.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    assert rule(graph) == "one output step"


A = np.array([[0.0, 1.0], [0.5, 0.25]], np.float32)


@pytest.mark.parametrize(
    ("shift", "how", "passed"),
    [
        (0, "bit for bit", True),
        (1e-7, "bit for bit", False),
        (1e-6, "float rounding", True),
        (1e-5, "float rounding", False),
        (3e-3, "one output step", True),
        (5e-3, "one output step", False),
        (9e-5, "float", True),
        (2e-4, "float", False),
        (9e-3, "half", True),
        (2e-2, "half", False),
    ],
)
def test_a_rule_allows_so_much(shift, how, passed):
    found = compare(A + np.float32([[shift, 0], [0, 0]]), A, how)
    assert found.passed == passed
    assert found.samples == (shift > 0)
    assert found.max_abs == pytest.approx(shift, rel=1e-2)


def test_a_class_that_changes_is_counted():
    assert compare(A[:, ::-1], A, "float").classes == 2


@pytest.mark.parametrize(
    ("found", "expected", "passed"),
    [
        (np.array([[np.nan]]), np.array([[np.nan]]), True),
        (np.array([[np.inf]]), np.array([[np.inf]]), True),
        (np.array([[np.nan]]), np.array([[1.0]]), False),
        (np.array([[1.0]]), np.array([[np.inf]]), False),
        (np.array([[1.0, 2.0]]), np.array([[1.0]]), False),
        (np.zeros((0, 2)), np.zeros((0, 2)), True),
    ],
)
def test_infinities_and_nan_are_equal_to_themselves_only(found, expected, passed):
    assert compare(found, expected, "half").passed == passed
