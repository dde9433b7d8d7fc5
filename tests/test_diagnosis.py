"""`doctor` reports what really works, and every finding that is not ok says what to do."""

import importlib.metadata
import json

import pytest
from click.testing import CliRunner

from toolkit import diagnosis
from toolkit.cli import toolkit
from toolkit.measuring import environment


def test_this_machine_is_healthy_and_its_cpu_provider_runs():
    result = diagnosis.doctor()
    assert result.healthy
    by_name = {(finding.topic, finding.name): finding for finding in result.findings}
    assert by_name["provider", "cpu"].detail == "a session runs on it"
    assert by_name["package", "onnxruntime"].status == "ok"


def test_both_onnxruntime_wheels_are_a_clash_with_its_remedy(monkeypatch):
    monkeypatch.setattr(diagnosis, "_version", lambda name: "1.0")
    clash = [f for f in diagnosis.doctor().findings if f.status == "problem"]
    assert [finding.name for finding in clash] == ["onnxruntime and onnxruntime-gpu"]
    assert clash[0].remedy.startswith("pip uninstall -y onnxruntime onnxruntime-gpu && pip install")


def test_gpu_providers_have_a_remedy_only_where_a_gpu_is_seen(monkeypatch):
    remedies = {}
    for seen in (False, True):
        monkeypatch.setattr(diagnosis, "_nvidia_gpu", lambda seen=seen: seen)
        finding = diagnosis._lacking("cuda, tensorrt")
        assert (finding.status, "NVIDIA GPU" in finding.detail) == ("missing", True)
        remedies[seen] = finding.remedy
    assert remedies[False] == ""
    assert "toolkit[gpu]" in remedies[True]


def test_without_a_gpu_the_command_suggests_no_other_onnxruntime(monkeypatch):
    monkeypatch.setattr(diagnosis, "_nvidia_gpu", lambda: False)
    assert "uninstall" not in CliRunner().invoke(toolkit, ["doctor"]).stdout


def test_without_tensorflow_it_is_missing_but_no_problem(monkeypatch):
    def version(name):
        if name in ("tensorflow", "tf2onnx"):
            raise importlib.metadata.PackageNotFoundError
        return "1.0"

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setitem(diagnosis.PACKAGES, "onnxruntime-gpu", "gpu")
    missing = {f.name: f for f in diagnosis.doctor().findings if f.status == "missing"}
    assert missing["tensorflow"].remedy == "pip install 'toolkit[train]'"


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ({"avx2", "avx512_vnni"}, "exact and fast"),
        ({"avx2", "avx_vnni"}, "exact and fast"),
        ({"avx2"}, "saturate at 16 bits"),
        ({"asimd", "asimddp"}, "dot product"),
        ({"asimd"}, "NEON without dot product"),
        ({"sse4_1"}, "no int8 instructions"),
    ],
)
def test_cpu_features_become_advice_on_int8(features, words):
    assert words in diagnosis._int8_advice(frozenset(features)).detail


@pytest.mark.parametrize(
    ("cpuinfo", "model", "features"),
    [
        ("model name\t: Xeon\nflags\t\t: fpu avx2 avx512_vnni\n", "Xeon", {"avx2", "avx512_vnni"}),
        ("Features\t: fp asimd asimddp\nModel\t: Raspberry Pi 5\n", "Raspberry Pi 5",
         {"asimd", "asimddp"}),
    ],
)  # fmt: skip
def test_cpu_is_read_from_cpuinfo(monkeypatch, cpuinfo, model, features):
    monkeypatch.setattr(environment, "_cpuinfo", lambda: cpuinfo)
    assert environment.cpu_model() == model
    assert environment.cpu_features() == features


def test_the_command_prints_json_and_exits_1_when_something_must_be_mended(monkeypatch):
    result = CliRunner().invoke(toolkit, ["doctor", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["schema"] == "toolkit.doctor/1"
    monkeypatch.setattr(diagnosis, "_version", lambda name: "1.0")
    result = CliRunner().invoke(toolkit, ["doctor"])
    assert result.exit_code == 1
    assert "PROBLEM" in result.stdout
