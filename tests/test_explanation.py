import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from quantization_models import cnn, dense, labelled, pictures

from toolkit import explanation
from toolkit.cli import toolkit
from toolkit.errors import ModelError
from toolkit.explanation import Explanation, explain
from toolkit.measuring.profile import NodeTime
from toolkit.measuring.statistics import Ratio
from toolkit.quantization import quantize


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("explained")


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    return cnn(folder / "cnn.onnx")


@pytest.fixture(scope="module")
def quantized(folder: Path, model: Path) -> Path:
    data = labelled(folder / "data.npz", model)
    return quantize(model, folder / "int8.onnx", data=data, portable=True).path


@pytest.fixture(scope="module")
def found(model: Path, quantized: Path) -> Explanation:
    return explain(model, quantized, max_time=0.1)


def test_each_operation_stands_once_with_its_precision_and_reason(found: Explanation) -> None:
    rows = {row.node: row for row in found.rows if not row.conversion}
    assert rows["conv1"].precision == "float"
    assert rows["conv1"].reason == "1 input channel: float is faster"
    assert (rows["conv2"].operator, rows["conv2"].precision) == ("Conv", "int8")
    assert (rows["dense"].operator, rows["dense"].precision) == ("Gemm", "int8")
    assert rows["softmax"].precision == "float"
    assert all(rows[name].float_us and rows[name].int8_us for name in ("conv1", "conv2", "dense"))


def test_conversions_stand_in_rows_of_their_own(found: Explanation) -> None:
    conversions = [row.operator for row in found.rows if row.conversion]
    assert "QuantizeLinear" in conversions
    assert not {"Conv", "Gemm", "MaxPool", "Softmax"} & set(conversions)
    operations = [row for row in found.rows if not row.conversion]
    assert found.total_us(conversions=False)[1] == sum(row.int8_us or 0 for row in operations)


def test_the_whole_is_compared_with_an_interval_and_said_in_words(found: Explanation) -> None:
    assert found.ratio.low <= found.ratio.value <= found.ratio.high
    assert f"{found.ratio.value:.2f}" in found.sentences[0]
    assert not found.unfused


class Slow:
    """A stopwatch that is told what the nodes take."""

    def __init__(self, feeds: object, threads: int) -> None:
        self.feeds = feeds

    def nodes(self, path: Path) -> list[NodeTime]:
        conv = (
            NodeTime("conv2", "QLinearConv", "CPU", 90.0, "uint8")
            if path.name == "int8.onnx"
            else NodeTime("conv2", "Conv", "CPU", 20.0, "float")
        )
        return [NodeTime("conv1", "Conv", "CPU", 10.0, "float"), conv]

    def compare(self, candidate: Path, baseline: Path, *, seconds: float) -> Ratio:
        return Ratio(3.3, 3.2, 3.4, "slower")

    def machine(self) -> dict[str, object]:
        return {"threads": 1}


def test_what_loses_is_named_with_the_remedy(
    model: Path, quantized: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explanation, "LocalStopwatch", Slow)
    text = " ".join(explain(model, quantized).sentences)
    assert "slower: it takes 3.30 [3.20, 3.40]" in text
    assert "Most is lost in 'conv2' (20 to 90 us)" in text
    assert 'exclude = ["conv2"]' in text


class Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, name: str, batch: np.ndarray) -> None:
        self._feeds = iter([{name: batch}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def test_a_model_quantized_elsewhere_is_explained(model: Path, folder: Path) -> None:
    theirs = folder / "theirs.onnx"
    quantize_static(
        model, theirs, Reader("image", pictures(20)[..., None]), per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    rows = {row.node: row for row in explain(model, theirs, max_time=0.1).rows}
    assert {name: rows[name].precision for name in ("conv1", "conv2", "dense")} == {
        "conv1": "int8", "conv2": "int8", "dense": "int8",
    }  # fmt: skip


def test_nodes_that_were_meant_to_be_int8_and_are_not_are_named(
    model: Path, quantized: Path, folder: Path
) -> None:
    proto = onnx.load(quantized)
    convolution = next(node for node in proto.graph.node if node.name == "conv2")
    # Nothing that onnxruntime joins with a convolution in int8.
    activation = onnx.helper.make_node("Tanh", ["conv2_raw"], [convolution.output[0]], "tanh")
    convolution.output[0] = "conv2_raw"
    proto.graph.node.insert(list(proto.graph.node).index(convolution) + 1, activation)
    onnx.save(proto, folder / "unfused.onnx")
    result = explain(model, folder / "unfused.onnx", max_time=0.1)
    assert result.unfused == ("conv2",)
    assert "conv2" in " ".join(result.sentences)
    row = next(row for row in result.rows if row.node == "conv2")
    assert (row.precision, row.reason) == ("float", explanation._NOT_FUSED)


def test_models_of_different_tasks_are_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="same tensors"):
        explain(model, dense(tmp_path / "dense.onnx"))
    with pytest.raises(ModelError, match=r"no\.onnx"):
        explain(model, tmp_path / "no.onnx")


def test_numbers_out_of_range_are_refused(model: Path) -> None:
    with pytest.raises(ValueError, match="threads"):
        explain(model, model, threads=0)
    with pytest.raises(ValueError, match="max_time"):
        explain(model, model, max_time=0)


def test_the_command_prints_tables_or_the_document(model: Path, quantized: Path) -> None:
    arguments = ["explain", str(model), str(quantized), "--max-time", "0.1"]
    shown = CliRunner().invoke(toolkit, arguments, catch_exceptions=False)
    assert "1 input channel: float is faster" in shown.stdout
    assert shown.stdout.count("sum") == 2
    document = json.loads(CliRunner().invoke(toolkit, [*arguments, "--json"]).stdout)
    assert document["schema"] == "toolkit.explain/1"
    assert set(document["totals"]) == {"operations", "conversions"}
    assert {"operator", "node", "float_us", "int8_us", "precision", "reason", "conversion"} == set(
        document["rows"][0]
    )
    assert CliRunner().invoke(toolkit, [*arguments, "--size", "x"]).exit_code == 2
