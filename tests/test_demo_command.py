"""`demo` ends in the figures of its steps; the whole chain runs where the README is tested."""

import json

from click.testing import CliRunner

from toolkit import demonstration
from toolkit.cli import toolkit
from toolkit.demonstration import DemoResult

RESULT = DemoResult(
    "demo",
    {
        "train": {"test_accuracy": 0.9916},
        "export": {"nodes": 14, "parity": {"max_rel_diff": 6e-07}},
        "quantize": {"source_size_bytes": 2_805_700, "size_bytes": 238_800,
                     "accuracy": {"drop": 0.0}, "agreement": 0.9998},
        "evaluate": {"errors": "demo/errors.png"},
        "bench": {"comparisons": [
            {"latency_ratio": 0.6384, "interval": [0.6361, 0.6399], "verdict": "faster"}
        ]},
    },
    73.0,
    "demo/report.html",
)  # fmt: skip


def test_ratio_and_interval_have_three_digits_and_every_file_to_look_at_is_named(monkeypatch):
    monkeypatch.setattr(demonstration, "demo", lambda *_, **__: RESULT)
    shown = CliRunner().invoke(toolkit, ["demo"]).stdout
    assert "0.638 of float's time [0.636, 0.640]" in shown
    assert "2,805.7 kB to 238.8 kB" in shown
    assert "demo/errors.png" in shown
    assert "demo/report.html" in shown


def test_json_is_one_document_with_every_step(monkeypatch):
    monkeypatch.setattr(demonstration, "demo", lambda *_, **__: RESULT)
    document = json.loads(CliRunner().invoke(toolkit, ["demo", "--json"]).stdout)
    assert document["schema"] == "toolkit.demo/1"
    assert list(document["steps"]) == ["train", "export", "quantize", "evaluate", "bench"]
