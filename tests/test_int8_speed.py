"""bench/int8_speed.py prints how much faster int8 is than float, and fails when it is not."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from toolkit.measuring.latency import Block, Timings

SCRIPT = Path(__file__).parent.parent / "bench" / "int8_speed.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("int8_speed", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def timings(script, ratio, noise):
    """Ten rounds in which int8 takes ``ratio`` of the time that float takes, within ``noise``."""
    random = np.random.default_rng(0)

    def blocks(microseconds):
        factors = random.uniform(1 - noise, 1 + noise, 10)
        return [Block(np.full(5, int(1000 * microseconds * f)), 0, 0) for f in factors]

    models = {script.FLOAT: blocks(100), script.OURS: blocks(100 * ratio)}
    return Timings({**models, script.THEIRS: blocks(200)}, dict.fromkeys(models, 3))


@pytest.mark.parametrize(
    ("ratio", "noise", "status", "verdict"),
    [(0.5, 0.01, 0, ""), (1.0, 0.1, 3, "no verdict"), (1.5, 0.01, 3, "slower")],
)
def test_int8_that_is_not_faster_is_exit_status_3(script, capsys, ratio, noise, status, verdict):
    assert script.report(timings(script, ratio, noise)) == status
    shown = capsys.readouterr()
    assert verdict in shown.err
    assert shown.out.count("95 % interval") == 2


@pytest.mark.slow
def test_int8_of_the_zoo_is_faster_than_float(script, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [str(SCRIPT), "--rounds", "20"])
    assert script.main() == 0, capsys.readouterr()
    assert "int8 (toolkit)" in capsys.readouterr().out
