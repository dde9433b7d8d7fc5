"""bench/peers/: the scripts run, and compare models that answer alike."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PEERS = Path(__file__).parent.parent / "bench" / "peers"


@pytest.mark.slow
def test_litert_is_compared_on_the_same_weights():
    pytest.importorskip("ai_edge_litert", reason="the extra 'peers' is not installed")
    command = [sys.executable, PEERS / "litert.py", "--rounds", "10"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    accuracies = [float(found) for found in re.findall(r"top-1 ([\d.]+) %", done.stdout)]
    assert len(accuracies) == 4
    assert max(accuracies) - min(accuracies) < 0.2
    assert done.stdout.count("95 % interval") == 3
