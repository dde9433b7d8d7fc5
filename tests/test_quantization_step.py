import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper
from quantization_models import cnn, dense, initializer, labelled, pictures, save, tensor

from toolkit.cli import toolkit
from toolkit.contract import KEY, OutputKind, from_metadata
from toolkit.errors import CheckFailedError, DataError, ModelError, OutputError
from toolkit.quantization import quantize, trials
from toolkit.quantization.checking import Comparison


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return cnn(tmp_path / "cnn.onnx")


@pytest.fixture
def data(tmp_path: Path, model: Path) -> Path:
    return labelled(tmp_path / "data.npz", model)


def with_output(path: Path, **changes: Any) -> Path:
    """A copy of the model whose contract says something else about its output."""
    proto = onnx.load(path)
    contract = from_metadata({entry.key: entry.value for entry in proto.metadata_props})
    assert contract is not None
    outputs = (dataclasses.replace(contract.outputs[0], **changes),)
    changed = dataclasses.replace(contract, outputs=outputs)
    helper.set_model_props(proto, {KEY: changed.to_json()})
    onnx.save(proto, path.with_name("changed.onnx"))
    return path.with_name("changed.onnx")


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def command(*arguments: object) -> Result:
    return CliRunner().invoke(toolkit, ["quantize", *map(str, arguments)])


def test_weights_are_int8_and_the_float_model_is_unchanged(model: Path, data: Path) -> None:
    before = model.read_bytes()
    result = quantize(model, model.with_name("int8.onnx"), data=data)
    types = {entry.name: entry.data_type for entry in onnx.load(result.path).graph.initializer}
    assert types["w2_quantized"] == types["w3_channels_last_quantized"] == TensorProto.INT8
    assert model.read_bytes() == before


def test_no_conversion_of_pixels_is_left(model: Path, data: Path) -> None:
    graph = onnx.load(quantize(model, model.with_name("int8.onnx"), data=data).path).graph
    assert "Mul" not in {node.op_type for node in graph.node}
    readers = [node.op_type for node in graph.node if "image" in node.input]
    assert readers == ["Reshape"]  # one channel: no values move


def test_relu_is_absorbed_in_the_range_of_the_layer_before_it(model: Path, data: Path) -> None:
    result = quantize(model, model.with_name("int8.onnx"), data=data)
    assert [node.name for node in onnx.load(result.path).graph.node if node.op_type == "Relu"] == [
        "relu1"  # behind the first convolution, which stays in float
    ]
    assert "relu2" in result.int8_nodes


def test_scales_are_per_channel_unless_the_recipe_says_otherwise(
    model: Path, data: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "tensor.toml"
    recipe.write_text('description = "one scale per tensor"\n[weights]\nper_channel = false\n')
    sizes = []
    for name in ("int8", recipe):
        path = quantize(model, tmp_path / "q.onnx", data=data, recipe=name, force=True).path
        scales = {entry.name: list(entry.dims) for entry in onnx.load(path).graph.initializer}
        sizes.append(scales["w2_scale"])
    assert sizes == [[16], []]


def test_accuracy_agreement_and_sizes_are_measured(model: Path, data: Path) -> None:
    document = quantize(model, model.with_name("int8.onnx"), data=data).to_dict()
    assert document["schema"] == "toolkit.quantize/1"
    assert document["accuracy"]["float"] == 1.0  # the labels are its own answers
    drop = 100 * (1 - document["accuracy"]["int8"])
    assert document["accuracy"]["drop"] == pytest.approx(drop)
    assert document["agreement"] == document["accuracy"]["int8"] >= 0.9
    assert document["size_bytes"] == model.with_name("int8.onnx").stat().st_size
    assert document["source_size_bytes"] == model.stat().st_size
    assert document["nodes"] == {"int8": 4, "float": 6}
    assert document["float_layers"] == {"conv1": "1 input channel: float is faster"}
    assert document["test_samples"] == 40  # a fifth of the 200
    json.dumps(document)


def test_calibration_samples_come_from_the_training_data_alone(model: Path, tmp_path: Path) -> None:
    images = pictures(120)
    training, test = images[:60] // 4, images[60:]  # the test pictures are four times as bright
    zeros = np.zeros(60, np.int64)
    np.savez(tmp_path / "sets.npz", x_train=training, y_train=zeros, x_test=test, y_test=zeros)
    path = quantize(model, tmp_path / "dim.onnx", data=tmp_path / "sets.npz").path
    np.savez(tmp_path / "sets.npz", x_train=test, y_train=zeros, x_test=training, y_test=zeros)
    bright = quantize(model, tmp_path / "bright.onnx", data=tmp_path / "sets.npz").path

    def scale(file: Path) -> float:
        graph = onnx.load(file).graph
        return next(
            float(onnx.numpy_helper.to_array(entry))
            for entry in graph.initializer
            if entry.name == "p1_scale"
        )

    assert scale(bright) > 1.5 * scale(path)


def test_the_file_carries_contract_provenance_and_evidence(model: Path, data: Path) -> None:
    result = quantize(model, model.with_name("int8.onnx"), data=data, samples=50, seed=3)
    session = onnxruntime.InferenceSession(result.path, providers=["CPUExecutionProvider"])
    contract = from_metadata(session.get_modelmeta().custom_metadata_map)
    assert contract is not None
    step = contract.provenance[-1]
    assert (step["step"], step["results"]["samples"]) == ("quantize", 50)
    assert (step["options"]["recipe"], step["options"]["seed"]) == ("int8", 3)
    assert step["data"]["name"] == str(data)
    assert len(step["data"]["sha256"]) == len(step["sha256"]) == 64
    accuracy, optimizer, saturation = contract.evidence[-4:-1]
    assert accuracy["agreement"] == result.to_dict()["agreement"]
    assert (optimizer["check"], optimizer["samples"]) == ("optimizer", 13)
    assert (saturation["check"], saturation["samples"]) == ("saturation", 50)
    assert contract.inputs[0].dtype == "uint8"


def test_every_initializer_is_used(model: Path, data: Path) -> None:
    for recipe in ("int8", "int8-qoperator", "int8-dynamic"):
        path = quantize(model, model.with_name("q.onnx"), data=data, recipe=recipe, force=True).path
        graph = onnx.load(path).graph
        used = {name for node in graph.node for name in node.input}
        assert {entry.name for entry in graph.initializer} <= used


def test_opset_and_ir_version_of_the_source_stay(model: Path, data: Path) -> None:
    written = onnx.load(quantize(model, model.with_name("int8.onnx"), data=data).path)
    # What export writes by default, and what onnxruntime 1.12 and later read.
    assert (written.ir_version, written.opset_import[0].version) == (8, 17)
    onnx.checker.check_model(written, full_check=True)


def test_the_dataset_of_the_training_is_the_default(tmp_path: Path) -> None:
    model = cnn(tmp_path / "cnn.onnx")
    data = labelled(tmp_path / "data.npz", model)
    named = cnn(tmp_path / "named.onnx", data=str(data))
    assert quantize(named, tmp_path / "int8.onnx").data == str(data)
    with pytest.raises(DataError, match="--data"):
        quantize(model, tmp_path / "other.onnx")


def test_a_dynamic_recipe_needs_no_data(tmp_path: Path) -> None:
    result = quantize(dense(tmp_path / "dense.onnx"), tmp_path / "q.onnx", recipe="int8-dynamic")
    assert "MatMulInteger" in operators(result.path)
    assert (result.test, result.samples, result.int8_nodes) == (None, 0, ("dense_x0", "last"))


def test_a_dynamic_recipe_measures_accuracy_when_there_is_data(model: Path, data: Path) -> None:
    result = quantize(model, model.with_name("q.onnx"), data=data, recipe="int8-dynamic")
    assert result.test is not None
    assert result.test.agreement is not None
    assert result.test.agreement > 0.9


def test_the_budget_is_decided_on_validation_samples(model: Path, data: Path) -> None:
    result = quantize(model, model.with_name("int8.onnx"), data=data, max_drop=50)
    assert result.validation is not None
    assert result.validation.samples == 13  # one in twelve of the 160 that are no test samples


def test_a_budget_that_cannot_be_kept_writes_nothing_and_shows_what_was_tried(
    model: Path, data: Path
) -> None:
    output = model.with_name("q.onnx")
    done = command(model, "-o", output, "--data", data, "--min-sqnr", "200")
    assert isinstance(done.exception, CheckFailedError)
    assert done.exception.exit_code == 3
    assert "\n" not in str(done.exception)
    assert not output.exists()
    assert "recipe int8" in done.output
    assert "calibration mse" in done.output


def test_input_dicts_calibrate_a_model_with_several_inputs(tmp_path: Path) -> None:
    model = dense(tmp_path / "two.onnx", inputs=2)
    rng = np.random.default_rng(0)
    feeds = (
        {name: rng.normal(size=(4, 8)).astype(np.float32) for name in ("x0", "x1")}
        for _ in range(1000)
    )
    result = quantize(model, tmp_path / "q.onnx", data=feeds, samples=64)
    assert result.samples == 64
    assert result.test is not None
    assert result.test.samples == 8  # every fifth is held out, half of them for checks
    assert result.test.sqnr_db > 25
    assert sum(1 for _ in feeds) == 980  # no more than needed were drawn


def test_an_npz_gives_each_input_by_its_name(tmp_path: Path) -> None:
    model = dense(tmp_path / "two.onnx", inputs=2)
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=(100, 8)).astype(np.float32) for name in ("x0", "x1")}
    np.savez(tmp_path / "both.npz", **arrays)
    result = quantize(model, tmp_path / "q.onnx", data=tmp_path / "both.npz")
    assert (result.samples, result.data) == (80, str(tmp_path / "both.npz"))
    np.savez(tmp_path / "one.npz", x0=arrays["x0"])
    with pytest.raises(DataError, match="x0, x1"):
        quantize(model, tmp_path / "r.onnx", data=tmp_path / "one.npz")


def test_a_model_without_contract_or_pictures_is_quantized(tmp_path: Path) -> None:
    model = dense(tmp_path / "dense.onnx")
    feeds = [{"x0": np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)}]
    result = quantize(model, tmp_path / "q.onnx", data=feeds)
    assert result.int8_nodes == ("dense_x0", "relu", "last")


def test_nodes_in_float_compute_what_the_float_model_computes(tmp_path: Path) -> None:
    model = cnn(tmp_path / "cnn.onnx")
    recipe = tmp_path / "last.toml"
    recipe.write_text('description = "the last layer"\n[nodes]\ninclude = ["dense"]\n')
    data = labelled(tmp_path / "data.npz", model)
    result = quantize(model, tmp_path / "q.onnx", data=data, recipe=recipe)
    assert result.int8_nodes == ("dense",)
    assert result.reasons == {
        "conv1": "the recipe leaves this node out",
        "conv2": "the recipe leaves this node out",
    }
    assert result.test is not None
    assert result.test.sqnr_db > 35


BAD_MODELS = [
    (b"", "is empty"),
    (b"PK\x03\x04 a zip", "is a Keras model"),
    (b"certainly no model", "no ONNX model"),
]


@pytest.mark.parametrize(("content", "message"), BAD_MODELS)
def test_a_file_that_is_no_model_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        quantize(path, tmp_path / "q.onnx", data="mnist")


def test_a_truncated_model_is_one_line(model: Path, data: Path) -> None:
    cut = model.with_name("cut.onnx")
    cut.write_bytes(model.read_bytes()[:-400])
    with pytest.raises(ModelError, match=r"cut\.onnx"):
        quantize(cut, model.with_name("q.onnx"), data=data)


def test_a_quantized_model_is_refused(model: Path, data: Path) -> None:
    quantized = quantize(model, model.with_name("int8.onnx"), data=data).path
    with pytest.raises(ModelError, match="quantized already"):
        quantize(quantized, model.with_name("twice.onnx"), data=data)


def test_a_model_without_weight_layers_is_refused(tmp_path: Path) -> None:
    path = save(
        tmp_path / "relu.onnx",
        [helper.make_node("Relu", ["x"], ["y"], "relu")],
        [tensor("x", ["batch", 4])],
        [tensor("y", ["batch", 4])],
        [],
    )
    feeds = [{"x": np.ones((5, 4), np.float32)}]
    with pytest.raises(ModelError, match="nothing to quantize"):
        quantize(path, tmp_path / "q.onnx", data=feeds)


def test_a_recipe_that_leaves_everything_out_is_refused(
    model: Path, data: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "none.toml"
    recipe.write_text('description = "nothing"\n[operators]\nexclude = ["*"]\n')
    with pytest.raises(ModelError, match="'conv1' stays in float"):
        quantize(model, tmp_path / "q.onnx", data=data, recipe=recipe)


def feed(values: object) -> list[dict[str, np.ndarray]]:
    return [{"x0": np.asarray(values)}]


BAD_FEEDS = [
    ([], "no samples"),
    ([{"z": np.ones((2, 8), np.float32)}], "yields z"),
    ([np.ones((2, 8))], "yields ndarray"),
    (feed(np.ones((3, 9), np.float32)), r"takes \[batch, 8\]"),
    (feed(np.full((10, 8), np.nan, np.float32)), "NaN"),
    (feed(np.array([["a"] * 8] * 2)), "plain numbers"),
    (feed(np.array([[None] * 8] * 2)), "plain numbers"),
    (feed(np.empty((0, 8), np.float32)), "no samples"),
    (feed(np.float32(1)), "samples"),
    ([{"x0": [[1.0, 2.0], [3.0]]}], "'x0' is no array"),
    (feed(np.ones((2, 8), np.float32)), "has 2 samples.* at least 3"),
]


@pytest.mark.parametrize(("feeds", "message"), BAD_FEEDS)
def test_calibration_data_that_does_not_fit_is_one_line(
    tmp_path: Path, feeds: list[dict[str, np.ndarray]], message: str
) -> None:
    model = dense(tmp_path / "dense.onnx")
    with pytest.raises(DataError, match=message) as caught:
        quantize(model, tmp_path / "q.onnx", data=feeds)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "q.onnx").exists()


def test_labels_beyond_the_classes_are_refused(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=pictures(60), y=np.arange(60) % 11)
    with pytest.raises(DataError, match="labels go up to 10, the model has 10 classes"):
        quantize(model, tmp_path / "q.onnx", data=tmp_path / "data.npz")
    assert not (tmp_path / "q.onnx").exists()


def test_a_budget_without_labels_is_refused(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=pictures(60))
    with pytest.raises(DataError, match="labelled data"):
        quantize(model, tmp_path / "q.onnx", data=tmp_path / "data.npz", max_drop=1)


@pytest.mark.parametrize("kind", ["raw", "embedding"])
@pytest.mark.parametrize("where", ["option", "recipe"])
def test_a_budget_on_an_output_without_classes_is_refused_before_the_work(
    model: Path, data: Path, tmp_path: Path, kind: OutputKind, where: str
) -> None:
    changed = with_output(model, kind=kind)
    recipe = tmp_path / "strict.toml"
    recipe.write_text('description = "strict"\nmax_drop = 1\n')
    options: dict[str, Any] = {"max_drop": 1} if where == "option" else {"recipe": recipe}
    started = list(tmp_path.iterdir())
    with pytest.raises(ModelError, match=rf"max-drop.*'scores'.*'{kind}'.*--min-sqnr") as caught:
        quantize(changed, tmp_path / "q.onnx", data="no such data", **options)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == started


def test_a_budget_that_cannot_be_decided_is_an_error(
    model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever the reason: no figure is no pass.
    monkeypatch.setattr(trials, "compare", lambda *_: Comparison(13, None, None, None, 40.0))
    with pytest.raises(CheckFailedError, match="nothing was written"):
        quantize(model, model.with_name("q.onnx"), data=data, max_drop=100)
    assert not model.with_name("q.onnx").exists()


@pytest.mark.parametrize("count", [1, 4, 10, 13])
def test_a_dataset_that_is_too_small_to_divide_is_one_line(
    model: Path, tmp_path: Path, count: int
) -> None:
    np.savez(tmp_path / "few.npz", x=pictures(count), y=np.zeros(count, np.int64))
    with pytest.raises(DataError, match="too few samples") as caught:
        quantize(model, tmp_path / "q.onnx", data=tmp_path / "few.npz", max_drop=50)
    assert "\n" not in str(caught.value)


def test_pictures_of_another_size_are_refused(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros((60, 9, 9), np.uint8))
    with pytest.raises(DataError, match=r"takes \[batch, 12, 12, 1\], the data has \[\d+, 9, 9\]"):
        quantize(model, tmp_path / "q.onnx", data=tmp_path / "data.npz")


def test_an_activation_that_is_not_finite_is_named(tmp_path: Path) -> None:
    path = save(
        tmp_path / "log.onnx",
        [
            helper.make_node("Log", ["x"], ["l"], "log"),
            helper.make_node("Gemm", ["l", "w"], ["y"], "dense"),
        ],
        [tensor("x", ["batch", 4])],
        [tensor("y", ["batch", 2])],
        [initializer("w", np.ones((4, 2), np.float32))],
    )
    feeds = [{"x": np.zeros((5, 4), np.float32)}]
    with pytest.raises(DataError, match="'l' is NaN or infinite"):
        quantize(path, tmp_path / "q.onnx", data=feeds)


def test_an_output_that_exists_needs_force(model: Path, data: Path) -> None:
    output = model.with_name("q.onnx")
    output.write_text("precious")
    with pytest.raises(OutputError, match="--force"):
        quantize(model, output, data=data)
    assert output.read_text() == "precious"
    assert quantize(model, output, data=data, force=True).size_bytes == output.stat().st_size


def test_the_float_model_is_not_replaced_even_by_force(model: Path, data: Path) -> None:
    with pytest.raises(OutputError, match="is what this step reads"):
        quantize(model, model, data=data, force=True)


OUT_OF_RANGE = [
    ("samples", 0),
    ("seed", -1),
    ("max_drop", -1),
    ("max_drop", 101),
    ("max_drop", float("nan")),
    ("min_agreement", 101),
    ("min_sqnr", float("inf")),
]


@pytest.mark.parametrize(("option", "value"), OUT_OF_RANGE)
def test_an_option_out_of_range_is_a_value_error(model: Path, option: str, value: float) -> None:
    with pytest.raises(ValueError, match=option):
        quantize(model, model.with_name("q.onnx"), data="mnist", **{option: value})


def test_the_command_prints_a_table_and_json(model: Path, data: Path) -> None:
    output = model.with_name("q.onnx")
    shown = command(model, "-o", output, "--data", data)
    assert shown.exit_code == 0, shown.output
    assert "1 input channel: float is faster" in shown.output
    printed = command(model, "-o", output, "--data", data, "--force", "--json")
    assert json.loads(printed.stdout)["recipe"] == "int8"


@pytest.mark.parametrize(("option", "value"), OUT_OF_RANGE)
def test_wrong_usage_is_exit_status_2(model: Path, option: str, value: float) -> None:
    name = f"--{option.replace('_', '-')}"
    done = command(model, "-o", "q.onnx", name, value)
    assert done.exit_code == 2
    assert name in done.output


def test_more_samples_than_there_are_take_all(model: Path, data: Path) -> None:
    result = quantize(model, model.with_name("q.onnx"), data=data, samples=10**30, seed=10**30)
    assert result.samples == 147  # 200 without a fifth, and without a twelfth of the rest


def test_an_output_that_is_missing_is_exit_status_2(model: Path) -> None:
    assert command(model).exit_code == 2


def test_nothing_of_the_quantizer_reaches_the_terminal(
    model: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    quantize(model, model.with_name("q.onnx"), data=data)
    assert capfd.readouterr() == ("", "")
