"""Files for the runtime that is shipped: what it reads, and a run in exactly that version."""

import subprocess
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from graph_models import build, random, run

from toolkit.errors import CheckFailedError, RecipeError, ToolkitError
from toolkit.exporting import export, runtime_check
from toolkit.exporting.references import Case
from toolkit.exporting.runtimes import find_runtime


@pytest.mark.parametrize(
    ("name", "opset", "ir_version"),
    [
        ("1.0", 11, 6),
        ("1.7.2", 13, 7),
        ("1.12.1", 17, 7),
        ("1.16", 19, 9),
        ("1.18.1", 21, 10),
        ("1.20", 21, 10),
        ("2.0", 21, 10),
        ("web", 21, 10),
        ("debian-trixie", 21, 10),
    ],
)
def test_a_runtime_is_known_by_version_or_name(name, opset, ir_version):
    runtime = find_runtime(name)

    assert (runtime.name, runtime.opset, runtime.ir_version) == (name, opset, ir_version)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wep", r"Did you mean 'web'\?"),
        ("1", "is no version such as 1.16"),
        ("1.16.*", "is no version such as 1.16"),
        ("--index-url=x", "is no version such as 1.16"),
        ("0.4", "before 1.0"),
    ],
)
def test_another_runtime_is_refused(name, message):
    with pytest.raises(RecipeError, match=message):
        find_runtime(name)


def test_the_check_needs_a_runtime(tmp_path):
    with pytest.raises(RecipeError, match="--check-runtime needs --runtime"):
        export("mnist_cnn", tmp_path / "x.onnx", check_runtime=True)


def test_an_opset_that_the_runtime_does_not_read_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"--opset 18: onnxruntime 1\.12 reads up to 17"):
        export("mnist_cnn", tmp_path / "x.onnx", runtime="1.12", opset=18)


@pytest.fixture
def this_onnxruntime(monkeypatch):
    """Take the installed packages for freshly installed ones."""
    import onnxruntime

    packages = Path(onnxruntime.__file__).parent.parent
    monkeypatch.setattr(runtime_check, "_install", lambda runtime, target: packages)
    return onnxruntime.__version__


def check(tmp_path, version, *, factor=1.0, model=None):
    built = build("(float[N,4] x) => (float[N,4] y, float[N,4] z) { y = Relu(x) z = Exp(x) }")
    cases = [
        Case("random", (x,), tuple(np.float32(factor) * out for out in run(built, {"x": x})))
        for x in (random(3, 4), random(1, 4, seed=1))
    ]
    content = model or ir.to_proto(built).SerializeToString()
    runtime = find_runtime(version)
    return runtime_check.check_runtime(runtime, content, cases, tmp_path, "model.keras")


def test_every_output_is_compared_there(tmp_path, this_onnxruntime):
    found = check(tmp_path, this_onnxruntime)

    assert found.passed
    assert found.version == this_onnxruntime
    assert found.to_dict() == {
        "name": this_onnxruntime,
        "runtime": f"onnxruntime {this_onnxruntime}",
        "max_abs_diff": found.max_abs_diff,
        "max_rel_diff": found.max_rel_diff,
        "limit": 1e-4,
        "passed": True,
    }


def test_other_results_there_are_a_failed_check(tmp_path, this_onnxruntime):
    with pytest.raises(CheckFailedError, match=r"something else than Keras.* is 9\.9e-03"):
        check(tmp_path, this_onnxruntime, factor=1.01)


def test_a_model_that_does_not_load_there_is_a_failed_check(tmp_path, this_onnxruntime):
    with pytest.raises(CheckFailedError, match=r"cannot run the model: .*Nothing was written"):
        check(tmp_path, this_onnxruntime, model=b"no model")


def test_a_version_that_cannot_be_installed_is_one_line(tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: old\nERROR: No matching version.\n")
    monkeypatch.setattr(runtime_check, "_call", lambda command, timeout_s: failed)

    with pytest.raises(ToolkitError, match=r"1\.16 could not be installed .*No matching version"):
        check(tmp_path, "1.16")


def test_old_wheels_get_the_numpy_they_were_built_for(tmp_path, monkeypatch):
    commands = []

    def call(command, timeout_s):
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(runtime_check, "_call", call)
    for version in ("1.16", "1.18.1", "1.19", "1.31.1"):
        runtime_check._install(find_runtime(version), tmp_path)

    assert [command[-2:] for command in commands] == [
        ["onnxruntime==1.16.*", "numpy<2"],
        ["onnxruntime==1.18.1", "numpy<2"],
        ["onnxruntime==1.19.*", "numpy"],
        ["onnxruntime==1.31.1", "numpy"],
    ]


@pytest.mark.slow
def test_the_model_runs_in_exactly_the_version_named(tmp_path):
    try:
        found = check(tmp_path, "1.16.3")
    except ToolkitError as error:
        if isinstance(error, CheckFailedError):
            raise
        pytest.skip(str(error))  # no network, or a Python that has no such wheel

    assert found.version == "1.16.3"
    assert found.passed
