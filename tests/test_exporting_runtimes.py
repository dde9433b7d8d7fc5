"""Files for the runtime that is shipped: what it reads, and a run in exactly that version."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from graph_models import build, ints, random, run

from toolkit.errors import CheckFailedError, RecipeError, ToolkitError
from toolkit.exporting import export, runtime_check, runtime_install
from toolkit.exporting.references import Case
from toolkit.exporting.runtimes import find_runtime
from toolkit.graph.passes.guard_pad_maxpool import guard_pad_maxpool


@pytest.mark.parametrize(
    ("name", "opset", "ir_version"),
    [
        ("1.0", 11, 6),
        ("1.7.2", 13, 7),
        ("1.10", 15, 8),
        ("1.12.1", 17, 8),
        ("1.16", 19, 9),
        ("1.17", 20, 9),
        ("1.18.1", 21, 10),
        ("1.20", 21, 10),
        ("2.0", 28, 14),
        ("web", 26, 13),
        ("debian-trixie", 22, 10),
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

    there = runtime_install.Installed(sys.executable, Path(onnxruntime.__file__).parent.parent)
    monkeypatch.setattr(runtime_check, "install", lambda runtime, folder: there)
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


def answering(monkeypatch, wheels_for, commands=None):
    """Let pip find wheels for some versions of Python, and let no other Python be on the PATH."""

    def call(command, timeout_s):
        if commands is not None:
            commands.append(command)
        version = command[command.index("--python-version") + 1]
        found = version in wheels_for
        error = "" if found else f"ERROR: {runtime_install._NO_WHEEL} for onnxruntime\n"
        return subprocess.CompletedProcess(command, int(not found), "", error)

    monkeypatch.setattr(runtime_install, "call", call)
    monkeypatch.setattr(runtime_install.shutil, "which", lambda name: None)


def test_a_version_that_cannot_be_installed_is_one_line(tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: old\nERROR: No space left.\n")
    monkeypatch.setattr(runtime_install, "call", lambda command, timeout_s: failed)

    with pytest.raises(ToolkitError, match=r"1\.16 could not be installed .*No space left"):
        check(tmp_path, "1.16")


def test_a_version_without_a_wheel_for_this_python_names_those_that_have_one(tmp_path, monkeypatch):
    answering(monkeypatch, {"3.6", "3.7", "3.8"})

    with pytest.raises(ToolkitError, match=r"1\.8\.1 needs Python 3\.6 to 3\.8, and none of them"):
        check(tmp_path, "1.8.1")


def test_a_version_that_never_was_is_one_line(tmp_path, monkeypatch):
    answering(monkeypatch, set())

    with pytest.raises(ToolkitError, match=r"there is no onnxruntime 1\.99 for this machine"):
        check(tmp_path, "1.99")


def test_another_python_on_the_path_is_taken_where_it_has_the_wheel(tmp_path, monkeypatch):
    answering(monkeypatch, {"3.8"})
    monkeypatch.setattr(runtime_install.shutil, "which", lambda name: f"/opt/{name}")
    monkeypatch.setattr(runtime_install, "_runs", lambda python: python != "/opt/python3.10")

    installed = runtime_install.install(find_runtime("1.8"), tmp_path)

    assert installed == runtime_install.Installed("/opt/python3.8", tmp_path)


def test_old_wheels_get_the_numpy_they_were_built_for(tmp_path, monkeypatch):
    commands = []
    answering(monkeypatch, {f"{sys.version_info.major}.{sys.version_info.minor}"}, commands)
    for version in ("1.16", "1.18.1", "1.19", "1.31.1"):
        runtime_install.install(find_runtime(version), tmp_path)

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


@pytest.mark.slow
def test_a_padding_before_pooling_is_right_in_a_version_that_folds_it_wrongly(
    tmp_path, monkeypatch
):
    runtime = find_runtime("1.20.1")
    try:
        installed = runtime_install.install(runtime, tmp_path / "packages")
    except ToolkitError as error:
        pytest.skip(str(error))  # no network, or a Python that has no such wheel
    monkeypatch.setattr(runtime_check, "install", lambda runtime, folder: installed)
    model = build(
        """(float[N,3,8,8] x) => (float[N,3,4,4] y) {
        a = Pad(x, p) y = MaxPool<kernel_shape = [3, 3], strides = [2, 2]>(a) }""",
        p=ints(0, 0, 1, 1, 0, 0, 1, 1),
    )
    x = random(2, 3, 8, 8, low=-2, high=-1)
    cases = [Case("random", (x,), tuple(run(model, {"x": x}, optimize=False)))]

    def compare():
        content = ir.to_proto(model).SerializeToString()
        return runtime_check.check_runtime(runtime, content, cases, tmp_path, "model.keras")

    with pytest.raises(CheckFailedError, match=r"onnxruntime 1\.20\.1 computes something else"):
        compare()
    guard_pad_maxpool(model)
    assert compare().max_rel_diff < 1e-6
