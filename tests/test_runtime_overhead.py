"""`predict` costs no more than the runtime's own `run`; bench/runtime_overhead.py prints it."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "bench" / "runtime_overhead.py"


@pytest.mark.slow
def test_predict_stays_within_5_microseconds_of_a_bare_run():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--rounds", "400"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Model.predict" in done.stdout
