"""`export` as a user meets it: a file that carries its contract and its evidence, or one line."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile

import keras_models
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from click.testing import CliRunner
from training_models import write_digits

from toolkit import contract as contracts
from toolkit import keras_files
from toolkit.cli import toolkit as command
from toolkit.contract import Affine, Contract, ImageSpec, InputSpec, OutputSpec
from toolkit.errors import (
    CheckFailedError,
    DataError,
    MissingPackageError,
    ModelError,
    OutputError,
    RecipeError,
    ToolkitError,
)
from toolkit.exporting import child, export, keras_outputs, parity
from toolkit.files import sha256
from toolkit.recipes import builtin_dir

BY_255 = Affine((1 / 255,), (0.0,))
DIGITS = tuple("0123456789")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def digits(folder):
    return write_digits(folder / "digits.npz", 60, 20)


@pytest.fixture(scope="module")
def source(folder, digits):
    """A small network for digits with a contract, as `train` writes it."""
    path = folder / "small.keras"
    keras_models.mnist_cnn().save(path)
    step = {"step": "train", "data": {"name": str(digits), "sha256": "0" * 64}}
    keras_files.write_contract(
        path,
        Contract(
            name="small",
            inputs=(
                InputSpec(
                    "pixels",
                    "float32",
                    ("batch", 28, 28, 1),
                    image=ImageSpec("NHWC", "grayscale", "mnist"),
                    by_caller=BY_255,
                ),
            ),
            outputs=(
                OutputSpec("scores", "float32", ("batch", 10), "probabilities", labels=DIGITS),
            ),
            provenance=(step,),
        ),
    )
    return path


@pytest.fixture(scope="module")
def exported(folder, source):
    return export(source, folder / "small.onnx")


def contract_of(path):
    model = onnx.load(path)
    return contracts.from_metadata({entry.key: entry.value for entry in model.metadata_props})


@pytest.mark.slow
def test_the_graph_is_small_and_plain(exported):
    model = onnx.load(exported.path)

    assert [node.op_type for node in model.graph.node] == [
        "Cast", "Reshape", "Conv", "Relu", "MaxPool", "Conv", "Relu", "MaxPool",
        "Reshape", "Gemm", "Relu", "Gemm", "Softmax",
    ]  # fmt: skip
    assert (model.ir_version, exported.opset, exported.nodes) == (8, 17, 13)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    used = {name for node in model.graph.node for name in node.input}
    assert {entry.name for entry in model.graph.initializer} <= used
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.slow
def test_the_contract_takes_pixels_and_tells_where_the_model_came_from(exported, source, digits):
    contract = contract_of(exported.path)

    assert contract == exported.contract
    assert contract.name == "small"
    (given,), (result,) = contract.inputs, contract.outputs
    assert (given.name, given.dtype, given.shape) == ("image", "uint8", ("batch", 28, 28, 1))
    assert (given.in_graph, given.by_caller) == (BY_255, None)
    assert given.image == ImageSpec("NHWC", "grayscale", "mnist")
    assert (result.name, result.kind, result.labels) == ("probabilities", "probabilities", DIGITS)
    assert [step["step"] for step in contract.provenance] == ["train", "export"]
    step = contract.provenance[-1]
    assert step["sha256"] == sha256(source)
    assert set(step["versions"]) == {"toolkit", "keras", "tensorflow", "tf2onnx"}
    (check,) = contract.evidence
    assert check["check"] == "parity"
    assert check["passed"]
    assert (check["data"], check["real_samples"], check["random_samples"]) == (str(digits), 55, 8)
    assert check["max_rel_diff"] < 1e-5


@pytest.mark.slow
def test_the_result_is_the_json_of_the_design(exported):
    document = exported.to_dict()

    assert next(iter(document)) == "schema"
    assert document["schema"] == "toolkit.export/1"
    assert {"path", "opset", "ir_version", "nodes", "parity"} <= set(document)
    assert {"samples", "max_abs_diff", "max_rel_diff", "passed"} <= set(document["parity"])
    json.dumps(document)


@pytest.mark.slow
def test_keras_scores_of_pixels_are_those_of_the_onnx_model(exported, source, digits):
    with np.load(digits) as archive:
        images = archive["x_test"]
    done = []

    scores = keras_outputs(source, images, batch_size=8, advance=done.append)

    session = ort.InferenceSession(exported.path)
    (expected,) = session.run(None, {"image": images[..., None]})
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert done == [8, 8, 4]


@pytest.mark.slow
def test_a_float_model_with_a_fixed_batch_for_an_old_opset(folder, source):
    result = export(
        source, folder / "float.onnx", opset=13, batch=2, input="float32", data="fashion_mnist"
    )

    (given,) = result.contract.inputs
    assert (given.dtype, given.shape, given.by_caller) == ("float32", (2, 28, 28, 1), BY_255)
    assert (result.opset, result.nodes, result.data) == (13, 12, "fashion_mnist")
    assert result.parity.batches == (2,)


@pytest.mark.slow
def test_passes_that_are_left_out_do_not_run_and_the_contract_says_which_did(folder, source):
    result = export(source, folder / "plain.onnx", opset=20, passes="-fold_transpose,-fuse_gemm")

    operators = [node.op_type for node in onnx.load(result.path).graph.node]
    assert {"Transpose", "MatMul", "Add"} <= set(operators)
    assert "Gemm" not in operators
    assert (result.opset, result.ir_version) == (20, 8)
    assert {"fold_transpose", "fuse_gemm"}.isdisjoint(result.passes)
    assert result.contract.provenance[-1]["results"]["passes"] == result.passes


def save_pictures(folder, *layers_of):
    """A model of 8x8 pictures, with layers in front."""
    keras = keras_models.import_keras()
    head = [keras.layers.Conv2D(3, 3), keras.layers.Flatten(), keras.layers.Dense(2, name="scores")]
    parts = [keras.Input((8, 8, 3), name="image"), *(make(keras.layers) for make in layers_of)]
    path = folder / f"pictures{len(layers_of)}.keras"
    keras_models.randomise(keras.Sequential([*parts, *head])).save(path)
    return path


@pytest.mark.slow
def test_a_model_that_scales_pixels_itself_takes_them_as_decoded(folder):
    path = save_pictures(
        folder,
        lambda layers: layers.RandomFlip(),
        lambda layers: layers.Rescaling(1 / 255),
        lambda layers: layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.04, 0.04, 0.16]),
    )

    result = export(path, folder / "scales.onnx")

    (given,) = result.contract.inputs
    assert (given.dtype, given.by_caller) == ("uint8", None)
    assert given.in_graph.scale == pytest.approx([1 / 51, 1 / 51, 1 / 102])
    assert given.in_graph.offset == pytest.approx([-2, -2.5, -1.5])
    with pytest.raises(RecipeError, match="scaled already, by the model itself"):
        export(path, folder / "twice.onnx", scale=1 / 255)


@pytest.mark.slow
def test_preprocessing_and_labels_from_options_stand_in_the_graph_and_in_the_contract(folder):
    path, names = save_pictures(folder), folder / "names.txt"
    names.write_text("no\nyes\n")

    result = CliRunner().invoke(
        command,
        ["export", str(path), "-o", str(folder / "said.onnx"), "--json", "--scale", "1/255",
         "--mean", "0.4,0.5,0.6", "--std", "image=0.2", "--labels", str(names)],
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    contract = contract_of(folder / "said.onnx")
    (given,), (scores,) = contract.inputs, contract.outputs
    assert given.dtype == "uint8"
    assert given.in_graph.scale == pytest.approx([1 / 51] * 3)
    assert given.in_graph.offset == pytest.approx([-2, -2.5, -3])
    assert scores.labels == ("no", "yes")
    options = contract.provenance[-1]["options"]
    assert (options["mean"], options["std"]) == ([0.4, 0.5, 0.6], {"image": [0.2]})
    assert options["labels"] == "names.txt"
    session = ort.InferenceSession(folder / "said.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    model = keras_models.import_keras().saving.load_model(path)
    expected = model((pixels / np.float32(255) - [0.4, 0.5, 0.6]) / 0.2)
    np.testing.assert_allclose(session.run(None, {"image": pixels})[0], expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scale", "1/0"], "'1/0' is no number"),
        (["--scale", "a=1", "--scale", "2"], "one does not"),
        (["--std", "a=1", "--std", "a=2"], "a second time"),
        (["--input", "a=int8"], "'int8' is not one of uint8, float32"),
    ],
)
def test_a_value_that_is_none_is_wrong_usage(options, message):
    result = CliRunner().invoke(command, ["export", "m", "-o", "x.onnx", *options])

    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


@pytest.mark.slow
def test_an_hdf5_file_gets_an_inferred_contract(folder):
    keras_models.mnist_cnn().save(folder / "small.h5")

    result = CliRunner().invoke(
        command, ["export", str(folder / "small.h5"), "-o", str(folder / "h5.onnx"), "--json"]
    )

    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["parity"]["real_samples"] == 0
    (given,), (scores,) = document["contract"]["inputs"], document["contract"]["outputs"]
    assert (given["dtype"], given["image"]["layout"]) == ("float32", "NHWC")
    assert (scores["kind"], scores["labels"]) == ("probabilities", None)


@pytest.mark.slow
def test_beyond_the_limit_nothing_is_written(folder, source, monkeypatch):
    monkeypatch.setattr(parity, "limit_of", lambda *_: 1e-12)

    with pytest.raises(CheckFailedError, match=r"'probabilities' differs.*the limit is 1e-12"):
        export(source, folder / "unequal.onnx")
    assert not (folder / "unequal.onnx").exists()


@pytest.mark.slow  # for the model, which Keras makes
def test_data_of_another_size_is_one_line_before_any_work(folder, source, monkeypatch):
    monkeypatch.setattr(child, "run", None)
    path = folder / "large.npz"
    np.savez(path, x=np.zeros((20, 32, 32), np.uint8), y=np.zeros(20, np.int64))

    with pytest.raises(DataError, match=r"takes \[batch, 28, 28, 1\]"):
        export(source, folder / "misfit.onnx", data=path)
    assert not (folder / "misfit.onnx").exists()


@pytest.mark.slow
def test_a_lambda_in_an_hdf5_file_is_refused_by_name(folder):
    keras = keras_models.import_keras()
    layers = [keras.Input((4,)), keras.layers.Lambda(lambda x: x * 2, name="doubled")]
    keras.Sequential(layers).save(folder / "lambda.h5")

    with pytest.raises(ModelError, match="the layer 'doubled' holds Python code"):
        export(folder / "lambda.h5", folder / "lambda.onnx")


@pytest.mark.slow
def test_damaged_weights_are_one_line(folder, source):
    path = folder / "damaged.keras"
    with zipfile.ZipFile(source) as original, zipfile.ZipFile(path, "w") as copy:
        for member in original.infolist():
            content = original.read(member)
            cut = len(content) // 2 if member.filename.endswith(".h5") else len(content)
            copy.writestr(member.filename, content[:cut])

    with pytest.raises(ModelError, match="cannot be loaded by Keras") as caught:
        export(path, folder / "damaged.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_an_interrupt_leaves_nothing_behind(folder, source, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "toolkit", "export", str(source), "-o", str(tmp_path / "x.onnx")],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("toolkit-*/job.json")) and time.monotonic() < deadline:
        time.sleep(0.05)

    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=60)

    assert process.returncode == 130
    assert message.decode().strip().startswith("Interrupted")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"opset": 10}, RecipeError, "--opset 10 is not one of 11 to 21"),
        ({"opset": 22}, RecipeError, "--opset 22 is not one of 11 to 21"),
        ({"passes": "-fold_scal"}, RecipeError, r"no graph pass 'fold_scal'. Did you mean"),
        ({"batch": 0}, RecipeError, "--batch 0 is not positive"),
        ({"output": "taken.onnx"}, OutputError, "exists already"),
        ({"output": "."}, OutputError, "is a directory"),
        ({"output": "nowhere/x.onnx"}, OutputError, "does not exist"),
        ({"output": "m.keras", "force": True}, OutputError, r"must end in \.onnx"),
        ({"data": "nist"}, DataError, r"Did you mean 'mnist'\?"),
        ({"model": "nowhere.keras"}, ModelError, "does not exist"),
        ({"model": "mnist_cn"}, ModelError, r"Did you mean 'mnist_cnn'\?"),
    ],
)
def test_a_wrong_option_is_one_line_before_any_work(tmp_path, monkeypatch, options, error, message):
    def start(*_args, **_options):
        raise AssertionError("the child was started")

    monkeypatch.setattr(child, "run", start)
    monkeypatch.setattr(child, "require_tensorflow", lambda: None)
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("m.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", "")
    (tmp_path / "taken.onnx").touch()

    with pytest.raises(error, match=message) as caught:
        export(**{"model": "m.keras", "output": "x.onnx", **options})
    assert isinstance(caught.value, ToolkitError)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "x.onnx").exists()


def test_without_tensorflow_the_command_that_installs_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(child.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(MissingPackageError, match=r"pip install 'toolkit\[train\]'"):
        export("mnist_cnn", tmp_path / "x.onnx")


@pytest.mark.parametrize("value", ["many", "1.5", ""])
def test_a_batch_that_is_no_number_is_wrong_usage(value):
    result = CliRunner().invoke(command, ["export", "m", "-o", "x.onnx", "--batch", value])

    assert result.exit_code == 2
    assert "neither 'dynamic' nor a number" in result.output


def test_the_shipped_export_is_that_of_the_shipped_model():
    models = builtin_dir("models")
    contract = contract_of(models / "mnist_cnn.onnx")
    step = next(step for step in contract.provenance if step["step"] == "export")

    assert step["sha256"] == sha256(models / "mnist_cnn.keras")
    assert len(onnx.load(models / "mnist_cnn.onnx").graph.node) <= 14
    assert contract.inputs[0].dtype == "uint8"
    assert contract.evidence[-1]["real_samples"] == 256
