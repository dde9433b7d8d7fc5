"""The MNIST CNN on six CPUs, and what emulation needs to be set up."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from emulation import emulation, on_emulated_cpus
from onnx import TensorProto, helper

import toolkit
from toolkit.cli import toolkit as command
from toolkit.datasets import load_dataset
from toolkit.devices import Run, debian, open_device, sysroot
from toolkit.devices.emulated import CPUS, EmulatedDevice
from toolkit.errors import DeviceError
from toolkit.recipes import builtin_dir

__all__ = ["emulation"]

SAMPLES = 500
FEW = 100
# A float image takes 20 to 140 ms under emulation, fused products of x86 the longest: all of them
# on one CPU of each architecture, fewer on the others.
FLOAT_SAMPLES = {"cortex-a53": SAMPLES, "nehalem": SAMPLES, "haswell": FEW // 2}
# Every layer in int8, weights over their full range.
FULL = """
description = "all in int8"
[placement]
slow_convolutions = "int8"
last_layer = "int8"
"""


@pytest.fixture(scope="session")
def samples():
    test = load_dataset("mnist").test
    images = np.ascontiguousarray(test.images[slice(0, SAMPLES)][..., np.newaxis])
    return images, test.labels[:SAMPLES]


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """The float model and its int8 variants, each with the reference's name."""
    folder = tmp_path_factory.mktemp("mnist")
    (folder / "full.toml").write_text(FULL)
    made = {"float": builtin_dir("models") / "mnist_cnn.onnx"}
    recipes = ["int8", "int8-arm64", "int8-x86-avx2", str(folder / "full.toml")]
    for recipe in recipes:
        name = Path(recipe).stem
        made[name] = folder / f"{name}.onnx"
        # Placed by rules: a measurement on a busy machine may place layers otherwise.
        toolkit.quantize(
            "mnist_cnn", made[name], recipe=recipe, data="mnist", samples=100, portable=True
        )
    expose_codes(made["full"])
    return made


def expose_codes(path: Path) -> None:
    """Make the int8 scores in front of the softmax an output: softmax itself is in float."""
    model = onnx.load(path)
    maker = {name: node for node in model.graph.node for name in node.output}
    softmax = maker[model.graph.output[0].name]
    assert softmax.op_type == "Softmax"
    codes = maker[softmax.input[0]].input[0]
    assert maker[codes].op_type == "QuantizeLinear"
    value = helper.make_tensor_value_info(codes, TensorProto.UINT8, ["batch", 10])
    model.graph.output.append(value)
    onnx.save(model, path)


@pytest.fixture(scope="session")
def expected(models, samples):
    runs = [(path, {"image": samples[0]}) for path in models.values()]
    outputs = open_device("local").infer(runs, exact=True).outputs
    return dict(zip(models, outputs, strict=True))


@pytest.fixture(scope="session")
def answers(emulation, models, samples):
    """Answers of a CPU, computed once: variant to outputs."""
    known = {}

    def ask(cpu):
        if cpu not in known:
            counts = {"float": FLOAT_SAMPLES.get(cpu, FEW), "int8": SAMPLES, "full": SAMPLES}
            counts |= {"int8-x86-avx2": 2 * FEW} if cpu == "haswell" else {}
            counts |= {"int8-arm64": FEW} if CPUS[cpu].machine == "aarch64" else {}
            runs = [(models[name], {"image": samples[0][:n]}) for name, n in counts.items()]
            found = open_device(f"emulated:{cpu}").infer(runs, batch=FEW)
            known[cpu] = (found.device, dict(zip(counts, found.outputs, strict=True)))
        return known[cpu]

    return ask


def scores(outputs):
    return outputs["probabilities"]


def codes(outputs):
    return next(values for values in outputs.values() if values.dtype == np.uint8)


slow = on_emulated_cpus


@pytest.mark.parametrize("cpu", CPUS)
class TestMnistOn:
    pytestmark = slow

    def test_onnxruntime_sees_the_features_of_the_cpu(self, cpu, answers):
        device, _ = answers(cpu)
        assert device.emulated
        assert device.machine == CPUS[cpu].machine
        assert device.int8 == open_device_kernels(cpu)
        assert (device.temperature_c, device.governor) == (None, None)

    def test_float_is_the_same_within_rounding(self, cpu, answers, expected, samples):
        found = scores(answers(cpu)[1]["float"])
        reference = scores(expected["float"])[: len(found)]
        assert np.abs(found - reference).max() < 2e-6
        labels = samples[1][: len(found)]
        assert np.mean(found.argmax(1) == labels) >= 0.98

    def test_int8_names_the_same_classes(self, cpu, answers, expected, samples):
        found = scores(answers(cpu)[1]["int8"])
        assert np.mean(found.argmax(1) == samples[1]) >= 0.98
        assert np.mean(found.argmax(1) == scores(expected["int8"]).argmax(1)) >= 0.998


@pytest.mark.parametrize("cpu", [cpu for cpu in CPUS if cpu != "haswell"])
class TestExactKernelsOf:
    pytestmark = slow

    def test_all_int8_is_equal_bit_for_bit(self, cpu, answers, expected):
        assert np.array_equal(codes(answers(cpu)[1]["full"]), codes(expected["full"]))

    def test_the_default_recipe_is_equal_within_one_step(self, cpu, answers, expected):
        # Its first convolution is in float, so that a rounding behind it may fall otherwise.
        difference = np.abs(scores(answers(cpu)[1]["int8"]) - scores(expected["int8"]))
        assert difference.max() <= 1 / 255


@pytest.mark.parametrize("cpu", [cpu for cpu in CPUS if CPUS[cpu].machine == "aarch64"])
class TestRecipeForArmOn:
    pytestmark = slow

    def test_its_answers_are_those_of_x86(self, cpu, answers, expected):
        found = scores(answers(cpu)[1]["int8-arm64"])
        assert np.abs(found - scores(expected["int8-arm64"])[:FEW]).max() < 2e-6


class TestSaturationOnHaswell:
    pytestmark = slow

    def test_weights_of_full_range_saturate(self, answers, expected):
        found = codes(answers("haswell")[1]["full"]).astype(int)
        difference = np.abs(found - codes(expected["full"]))
        assert np.count_nonzero(difference.any(axis=1)) > SAMPLES / 2
        assert difference.max() > 1

    def test_the_recipe_for_avx2_does_not(self, answers, expected):
        found = scores(answers("haswell")[1]["int8-x86-avx2"])
        assert np.abs(found - scores(expected["int8-x86-avx2"])[: 2 * FEW]).max() < 2e-6

    def test_exact_kernels_can_be_asked_for(self, emulation, models, samples, expected):
        device = open_device("emulated:haswell")
        run = (models["full"], {"image": samples[0][:20]})
        [outputs] = device.infer([run], exact=True).outputs
        assert np.array_equal(codes(outputs), codes(expected["full"])[:20])

    def test_verify_finds_it_and_names_the_recipe(self, emulation, models, tmp_path):
        # On eight samples; those of full range differ on nearly every one.
        for name in ("full", "int8-x86-avx2"):
            shutil.copy(models[name], tmp_path / f"{name}.onnx")
        paths = [str(path) for path in tmp_path.glob("*.onnx")]
        arguments = ["--device", "emulated:haswell", "--device", "local", "--attach"]
        result = CliRunner().invoke(command, ["verify", *paths, *arguments])
        assert result.exit_code == 3
        assert "--recipe int8-x86-avx2" in result.stderr
        failed = [line for line in result.stdout.splitlines() if "DIFFERS" in line]
        assert len(failed) == 1
        assert "full.onnx" in failed[0]


def open_device_kernels(cpu):
    from toolkit.devices.kernels import int8_kernels

    return int8_kernels(CPUS[cpu].flags.split())


@pytest.mark.slow
def test_setting_up_twice_does_nothing(emulation):
    result = CliRunner().invoke(command, ["device", "setup", "emulated"])
    assert result.exit_code == 0
    assert "was set up already" in result.stdout
    assert str(emulation.folder) in result.stdout.replace("\n", "")


@pytest.mark.slow
def test_times_under_emulation_are_refused(emulation):
    device = EmulatedDevice("cortex-a53")
    with pytest.raises(DeviceError, match="its times say nothing about that CPU"):
        device.measure({"x": Run(Path("x.onnx"), {})}, rounds=8, max_seconds=1)


def test_cpus_that_are_not_set_up_say_how(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DeviceError, match="once, in about 20 s and 220 MB: toolkit device setup"):
        open_device("emulated:cortex-a53")


DEB822 = """\
# comment
Types: deb
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates
Components: main
"""


@pytest.mark.parametrize(
    ("name", "text", "url"),
    [
        ("debian.sources", DEB822, "http://mirror.test/debian"),
        ("other.sources", "Types: deb\nURIs: http://x.test\nSuites: noble\n\n" + DEB822,
         "http://mirror.test/debian"),
        ("a.list", "deb [arch=amd64 signed-by=/k] https://m.test/d trixie main", "https://m.test/d"),
        ("a.list", "deb http://x.test cloud-sdk main\ndeb http://m.test stable main",
         "http://m.test"),
    ],
)  # fmt: skip
def test_the_mirror_is_that_of_the_machines_apt(tmp_path, name, text, url):
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / name).write_text(text)
    assert debian.mirror(tmp_path) == url


@pytest.mark.parametrize(
    "text",
    ["", "# deb http://m.test trixie main", "deb http://u.test noble main",
     "deb-src http://m.test trixie main"],
)  # fmt: skip
def test_without_a_mirror_of_debian_it_says_what_to_do(tmp_path, text):
    (tmp_path / "sources.list").write_text(text)
    with pytest.raises(DeviceError, match="Debian 12 or later, or in its container"):
        debian.mirror(tmp_path)


def test_a_disabled_source_does_not_count(tmp_path):
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "d.sources").write_text(DEB822 + "Enabled: no\n")
    with pytest.raises(DeviceError, match="No mirror of Debian"):
        debian.mirror(tmp_path)


@pytest.mark.parametrize(
    ("programs", "message"),
    [
        ({}, "'apt-get' of the package apt is not on this machine"),
        ({"apt-get": "echo 'E: no such host' >&2; exit 100", "dpkg-deb": "exit 0"},
         "apt-get update from Debian's archive failed: no such host"),
    ],
)  # fmt: skip
def test_a_set_up_that_fails_leaves_nothing(monkeypatch, tmp_path, programs, message):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, script in programs.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setattr(debian, "KEYRING", tools)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(DeviceError, match=message):
        sysroot.make(mirror="http://mirror.invalid/debian")
    assert [path.name for path in (tmp_path / "cache" / "toolkit" / "emulated").iterdir()] == [
        ".lock"
    ]


def test_a_set_up_that_was_killed_leaves_no_lock_and_no_half(monkeypatch, tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("apt-get", "dpkg-deb"):
        (tools / name).write_text("#!/bin/sh\nkill -9 $PPID\n")
        (tools / name).chmod(0o755)
    script = (
        "import sys; from pathlib import Path; from toolkit.devices import debian, sysroot\n"
        "debian.KEYRING = Path(sys.argv[1]); sysroot.make(mirror='http://mirror.invalid')"
    )
    environment = {**os.environ, "PATH": f"{tools}:/bin", "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script, str(tools)], env=environment, check=False)
    assert done.returncode == -9
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert not sysroot.is_made()
    monkeypatch.setattr(debian, "KEYRING", tools)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DeviceError, match="'apt-get' of the package apt"):
        sysroot.make(mirror="http://mirror.invalid")
    assert len(list((tmp_path / "toolkit" / "emulated").iterdir())) == 1
