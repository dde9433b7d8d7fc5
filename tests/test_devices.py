"""Devices: what travels, how a job is exchanged, and what comes back of errors."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

from toolkit.cli import toolkit
from toolkit.devices import Run, messages, open_device, sensors
from toolkit.devices.emulated import CPUS
from toolkit.devices.kernels import int8_kernels
from toolkit.devices.local import LocalDevice
from toolkit.devices.travelling import archive
from toolkit.errors import DataError, DeviceError, ModelError, RecipeError

X = np.arange(10, dtype=np.float32).reshape(5, 2)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return sums(tmp_path_factory.mktemp("model") / "sums.onnx", batch="batch")


def sums(path: Path, batch: int | str) -> Path:
    """y = a + b, z = a - b."""
    tensors = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 2]) for name in "abyz"
    }
    nodes = [
        helper.make_node("Add", ["a", "b"], ["y"]),
        helper.make_node("Sub", ["a", "b"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes, "sums", [tensors["a"], tensors["b"]], [tensors["y"], tensors["z"]]
    )
    made = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    path.write_bytes(made.SerializeToString())
    return path


@pytest.mark.parametrize(
    "arrays",
    [{}, {"x": X}, {"inputs/0": np.zeros((0, 3), np.int8), "flag": np.array(True)}],
)
def test_a_message_arrives_as_it_was_sent(arrays):
    stream = io.BytesIO(messages.pack({"name": "ä", "list": [1, None]}, arrays))
    assert messages.read_document(stream) == {"name": "ä", "list": [1, None]}
    found = messages.read_arrays(stream)
    assert found.keys() == arrays.keys()
    for name, values in arrays.items():
        assert found[name].dtype == values.dtype
        assert np.array_equal(found[name], values)


@pytest.mark.parametrize("length", [0, 5, 8, 12])
def test_a_message_that_was_cut_is_no_message(length):
    with pytest.raises(EOFError):
        messages.read_document(io.BytesIO(messages.pack({"name": 1}, {})[:length]))


def test_an_array_of_python_objects_does_not_travel():
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        messages.pack({}, {"x": np.array([object()])})


def test_what_travels_needs_numpy_and_onnxruntime_alone(tmp_path):
    code = tmp_path / archive().name
    code.write_bytes(archive().content)
    script = (
        "import sys, toolkit.devices.work, toolkit.devices.runner, toolkit.runtime\n"
        "assert toolkit.__path__[0].startswith(sys.argv[1])\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(code)],
        capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"},
    )  # fmt: skip
    assert not set(done.stdout.split()) & {"onnx", "click", "rich", "pydantic", "PIL", "asyncssh"}


def test_equal_code_makes_an_equal_archive():
    first = archive()
    archive.cache_clear()
    assert archive() == first
    with zipfile.ZipFile(io.BytesIO(first.content)) as content:
        names = content.namelist()
    assert "toolkit/devices/runner.py" in names
    assert not any("commands" in name or "training" in name for name in names)


def test_models_share_one_process_and_their_inputs(model):
    with open_device("local") as device:
        found = device.infer([(model, {"a": X, "b": X}), (model, {"a": X, "b": X[::-1]})], batch=2)
    first, second = found.outputs
    assert np.array_equal(first["y"], X + X)
    assert not first["z"].any()
    assert np.array_equal(second["y"], X + X[::-1])
    assert found.device == open_device("local").describe()


def test_a_fixed_batch_is_filled_up(tmp_path):
    path = sums(tmp_path / "fixed.onnx", batch=3)
    [outputs] = open_device("local").infer([(path, {"a": X, "b": X})]).outputs
    assert np.array_equal(outputs["y"], X + X)


def test_times_and_memory_come_back_by_name(model):
    feeds = {"a": X, "b": X}
    runs = {"one": Run(model, feeds), "two": Run(model, feeds, threads=2)}
    found = open_device("local").measure(runs, rounds=6, max_seconds=5, cold_starts=1)
    assert found.timings.rounds >= 6
    assert found.timings.log_ratios("two", "one").shape == (found.timings.rounds,)
    assert found.timings.blocks["one"][0].load_ns > 0
    assert found.cold_starts["two"][0].peak_rss_mib >= found.runtime[0].peak_rss_mib / 2
    assert found.environment["onnxruntime"]
    assert found.before.keys() == sensors.read().keys()


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (None, ModelError, "does not exist"),
        (b"", ModelError, "is empty"),
        (b"nonsense", ModelError, "no ONNX model"),
    ],
)
def test_a_bad_model_is_the_same_error_as_here(tmp_path, content, kind, message):
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(kind, match=message) as error:
        open_device("local").infer([(path, {"a": X})])
    assert str(error.value).startswith(f"On 'local': '{path}'")


def test_inputs_that_do_not_fit_are_an_error_of_one_line(model):
    with pytest.raises(DataError, match="could not run") as error:
        open_device("local").infer([(model, {"a": X, "b": X[:, :1].repeat(3, 1)})])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os.kill(os.getpid(), 11)", "was ended by SIGSEGV"),
        ("import os; os.kill(os.getpid(), 9)", r"SIGKILL \(out of memory\?\)"),
        ("import sys; sys.exit(3)", "failed with 3: it said nothing"),
        ("raise MemoryError('too big')", "failed with 1: MemoryError: too big"),
        ("print('noise')", "failed with 0"),
    ],
)
def test_a_run_that_ends_without_an_answer_says_how(monkeypatch, model, code, message):
    monkeypatch.setattr(LocalDevice, "_command", lambda self, folder: [sys.executable, "-c", code])
    with pytest.raises(DeviceError, match=message):
        open_device("local").infer([(model, {"a": X, "b": X})])


def test_a_bug_there_keeps_its_traceback(monkeypatch, model):
    command = [sys.executable, "-c", "raise KeyError('oops')"]
    monkeypatch.setattr(LocalDevice, "_command", lambda self, folder: command)
    with pytest.raises(RuntimeError, match="KeyError: 'oops'"):
        open_device("local").infer([(model, {"a": X, "b": X})])


def test_the_runner_ends_with_its_caller(tmp_path, model):
    code = tmp_path / "code.zip"
    code.write_bytes(archive().content)
    job = messages.pack(
        {"function": "measure", "models": [str(model)], "options": {
            "runs": [{"feeds": {"a": "x", "b": "x"}, "provider": "cpu", "threads": 1}],
            "rounds": 10_000, "max_seconds": 600, "cold_starts": 0, "seed": 0,
        }},
        {"x": X},
    )  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "toolkit.devices.runner"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"},
    )  # fmt: skip
    process.stdin.write(job)
    process.stdin.close()
    assert process.wait(timeout=30) == 1
    assert process.stdout.read() == b""
    process.stdout.close()


@pytest.mark.parametrize(
    ("features", "name", "exact", "recipe"),
    [
        ({"avx2", "avx512_vnni"}, "AVX-512 VNNI", True, "int8"),
        ({"avx2", "avx_vnni"}, "AVX VNNI", True, "int8"),
        ({"avx2", "avx512f"}, "AVX2 without VNNI", False, "int8-x86-avx2"),
        ({"sse4_1"}, "SSE4.1", True, "int8"),
        ({"asimd"}, "NEON", True, "int8-arm64"),
        ({"asimd", "asimddp"}, "dot product", True, "int8-arm64"),
        ({"asimd", "asimddp", "i8mm"}, "i8mm", True, "int8-arm64"),
        (set(), "unknown", True, "int8"),
    ],
)
def test_features_tell_the_int8_kernels_and_their_recipe(features, name, exact, recipe):
    found = int8_kernels(features)
    assert (found.name, found.exact, found.recipe) == (name, exact, recipe)


@pytest.mark.parametrize("spec", ["", "lokal", "emulated", "http://board", "cortex-a53"])
def test_an_unknown_device_lists_the_known_ones(spec):
    with pytest.raises(RecipeError, match=r"is no device\. Known: local, emulated:cortex-a53"):
        open_device(spec)


def test_an_unknown_cpu_names_the_closest():
    with pytest.raises(RecipeError, match="Did you mean 'cortex-a53'"):
        open_device("emulated:cortex-a54")


def test_the_firmware_of_a_raspberry_pi_tells_why_it_is_slow(monkeypatch, tmp_path):
    word = tmp_path / "get_throttled"
    monkeypatch.setattr(sensors, "_PI_THROTTLED", word)
    for text, reasons in [
        ("0", []),
        ("50005", ["under-voltage", "throttled"]),
        ("80000", ["soft heat limit earlier"]),
    ]:
        word.write_text(text + "\n")
        assert sensors.read()["throttled"] == reasons


def test_heat_and_clock_are_those_of_the_hottest_and_the_fastest(monkeypatch, tmp_path):
    for number, (heat, clock) in enumerate([(41000, 600000), (52500, 1500000)]):
        (tmp_path / f"thermal_zone{number}").mkdir()
        (tmp_path / f"thermal_zone{number}" / "temp").write_text(f"{heat}\n")
        frequency = tmp_path / f"cpu{number}" / "cpufreq"
        frequency.mkdir(parents=True)
        (frequency / "scaling_cur_freq").write_text(f"{clock}\n")
    monkeypatch.setattr(sensors, "_THERMAL", tmp_path)
    monkeypatch.setattr(sensors, "_CPU", tmp_path)
    found = sensors.read()
    assert (found["temperature_c"], found["frequency_mhz"]) == (52.5, 1500)


def test_the_list_shows_every_cpu(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    result = CliRunner().invoke(toolkit, ["device", "list"])
    assert result.exit_code == 0
    assert all(f"emulated:{name}" in result.stdout for name in CPUS)
    assert "toolkit device setup emulated" in result.stderr


def test_a_description_is_a_json_document():
    result = CliRunner().invoke(toolkit, ["device", "describe", "local", "--json"])
    assert '"schema": "toolkit.device/1"' in result.stdout
    shown = CliRunner().invoke(toolkit, ["device", "describe", "local"]).stdout
    assert "int8 kernels" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["setup", "local"], "needs no setting up"),
        (["setup", "ssh://pi@board", "--mirror", "x"], "--mirror is for"),
    ],
)
def test_what_cannot_be_set_up_says_so(arguments, message):
    result = CliRunner().invoke(toolkit, ["device", *arguments])
    assert message in str(result.exception)
