"""bench/coverage.py: no layer of Keras is forgotten, and the page shows none that exports wrong."""

import importlib.util
import inspect
import json
import subprocess
import sys
from pathlib import Path

import keras_models
import pytest

ROOT = Path(__file__).parent.parent
BENCH = ROOT / "bench"
# One of each kind that tests/keras_models.py does not have.
REDUCED = (
    "AdaptiveMaxPooling3D", "Attention: scaled, causal", "ConvLSTM1D", "Dot: normalized",
    "GRU: masked", "Hashing", "PReLU: shared", "Softmax: two axes", "STFTSpectrogram: logarithms",
    "keras.ops: power, rsqrt, sign, round",
)  # fmt: skip


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    spec = importlib.util.spec_from_file_location("bench_coverage", BENCH / "coverage.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def layer_classes():
    """Every name in keras.layers that is a layer, with its class; some have several names."""
    layers = keras_models.import_keras().layers
    found = ((name, getattr(layers, name)) for name in dir(layers))
    return {
        name: entry
        for name, entry in found
        if inspect.isclass(entry) and issubclass(entry, layers.Layer)
    }


def networks():
    applications = keras_models.import_keras().applications
    found = (getattr(applications, name) for name in dir(applications))
    return {function.__name__ for function in found if inspect.isfunction(function)}


@pytest.mark.slow
def test_every_layer_and_network_of_keras_has_a_case(script):
    classes = layer_classes()
    cases = {case.layer for case in script.CASES.values()} - {"keras.ops"}

    known = {classes[name] for name in cases | set(script.NO_CASE)}
    assert [name for name, entry in classes.items() if entry not in known] == []
    assert not cases & set(script.NO_CASE)
    assert set(script.NETWORKS) == networks()


@pytest.mark.slow
def test_a_case_is_right_or_refused(tmp_path):
    patterns = [part for name in REDUCED for part in ("--only", name)]

    done = subprocess.run(
        [
            sys.executable,
            BENCH / "coverage.py",
            *patterns,
            "--results",
            tmp_path / "results.jsonl",
            "--page",
            tmp_path / "page.md",
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    results = {result["name"]: result for result in map(json.loads, lines)}
    assert set(results) == set(REDUCED)
    assert results.pop("Hashing")["reason"].startswith("the layer 'hashing' (Hashing)")
    assert {result["verdict"] for result in results.values()} == {"right"}
    assert not (tmp_path / "page.md").exists()


@pytest.mark.slow
def test_keras_own_tests_of_its_export_pass_with_this_exporter():
    done = subprocess.run(
        [sys.executable, BENCH / "peers" / "keras_export_tests.py"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_a_case_that_kills_its_process_fails_and_the_others_go_on(script, monkeypatch, tmp_path):
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import os, sys\n"
        "for line in sys.stdin:\n"
        "    if line.strip() == 'deadly': os._exit(7)\n"
        """    print('{"verdict": "right"}', flush=True)\n"""
    )
    monkeypatch.setattr(script, "WORKER", worker)

    results = list(script.run_layers(["one", "deadly", "two"]))

    assert [(result["name"], result["verdict"]) for result in results] == [
        ("one", "right"),
        ("deadly", "failed"),
        ("two", "right"),
    ]
    assert results[1]["reason"] == "its process ended with status 7"


def test_results_are_kept_and_the_last_one_counts(script, tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"name": "a", "verdict": "failed"}\n{"name": "a", "verdict": "right"}\n')

    assert script.read(path) == {"a": {"name": "a", "verdict": "right"}}
    assert script.chosen(["Conv1D", "Conv2D", "Dense"], ["Conv*"]) == ["Conv1D", "Conv2D"]
