import pytest
from bench_models import classifier

from toolkit.errors import ModelError
from toolkit.measuring.nodes import side_by_side
from toolkit.measuring.profile import NodeTime, profile


def nodes(*operators):
    return [
        NodeTime(f"{operator}_{i}", operator, "CPU", 1.0) for i, operator in enumerate(operators)
    ]


@pytest.mark.parametrize(
    ("first", "second", "rows"),
    [
        (["Conv", "Gemm"], ["QLinearConv", "QGemm"], [("Conv", 2), ("Gemm", 2)]),
        (
            ["Conv", "MaxPool", "ReorderOutput", "FusedGemm"],
            ["QuantizeLinear", "QLinearConv", "NhwcMaxPool", "Transpose", "QGemm"],
            [
                ("QuantizeLinear", 1), ("Conv", 2), ("MaxPool", 2), ("Transpose", 1),
                ("ReorderOutput", 1), ("Gemm", 2),
            ],
        ),
        # A match that takes long is worth more than several cheap ones.
        (["Cast", "Cast", "Conv"], ["Conv", "Cast", "Cast"], [("Cast", 1)] * 2 + [("Conv", 2)]
         + [("Cast", 1)] * 2),
        (["Softmax"], [], [("Softmax", 1)]),
    ],
)  # fmt: skip
def test_operations_are_aligned_in_their_order(first, second, rows):
    found = side_by_side({"float": nodes(*first), "int8": nodes(*second)})
    assert [(row.operator, len(row.nodes)) for row in found] == rows


def test_a_third_model_joins_the_rows_of_the_others():
    found = side_by_side(
        {"a": nodes("Conv", "Gemm"), "b": nodes("Cast", "Conv", "Gemm"), "c": nodes("Cast", "Gemm")}
    )
    assert [(row.operator, sorted(row.nodes)) for row in found] == [
        ("Cast", ["b", "c"]), ("Conv", ["a", "b"]), ("Gemm", ["a", "b", "c"]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("conv2d/Relu:0_nchwc", "conv2d/Relu"),
        ("fused dense/MatMul", "dense/MatMul"),
        ("pool1_token_7", "pool1"),
    ],
)
def test_names_lose_what_onnxruntime_added(name, shown):
    assert side_by_side({"m": [NodeTime(name, "Conv", "CPU", 1.0)]})[0].name == shown


def test_the_profile_of_a_real_model_names_its_nodes(tmp_path):
    import numpy as np

    feeds = {"image": np.zeros((1, 8, 8, 1), np.uint8)}
    found = profile(classifier(tmp_path / "m.onnx"), feeds, threads=1, calls=20)
    assert [node.operator for node in found][-2:] == ["MatMul", "Softmax"]
    assert {node.provider for node in found} == {"CPUExecutionProvider"}
    assert all(node.us >= 0 for node in found)
    with pytest.raises(ModelError):
        profile(tmp_path / "no.onnx", feeds)
