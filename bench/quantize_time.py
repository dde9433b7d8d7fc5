"""How long `quantize` takes on the zoo's MNIST CNN, with and without the search for speed.

    python bench/quantize_time.py

Prints the seconds of both, with 500 samples and the accuracy check, each in a process of its own
from its start to its end, with nothing remembered from an earlier calibration. The limits are 10
seconds without the search and 60 with. Other programs lengthen the wall time; the CPU time of the
process stands beside it.

Exit status 3 when one takes longer than its limit.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SAMPLES = 500
LIMITS_S = {"--portable": 10.0, "--no-portable": 60.0}


def seconds(option: str, folder: Path) -> tuple[float, float]:
    """Quantize in a new process with an empty cache; return its wall time and its CPU time."""
    command = [
        sys.executable, "-m", "toolkit", "quantize", "mnist_cnn", "-o", str(folder / "q.onnx"),
        "--samples", str(SAMPLES), "--max-drop", "0.1", "--allow-slower", "--force", option,
    ]  # fmt: skip
    cache = {**os.environ, "XDG_CACHE_HOME": str(folder / option)}
    start, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True, env=cache, stdout=subprocess.DEVNULL)
    after = os.times()
    spent = after.children_user + after.children_system
    return time.perf_counter() - start, spent - before.children_user - before.children_system


def main() -> int:
    """Time both ways, print, judge."""
    late = False
    with tempfile.TemporaryDirectory() as folder:
        for option, limit in LIMITS_S.items():
            took, spent = seconds(option, Path(folder))
            what = "without the search" if option == "--portable" else "with the search"
            print(f"quantize {what:20} {took:5.1f} s, CPU {spent:5.1f} s   (limit {limit:g} s)")
            late |= took > limit
    return 3 if late else 0


if __name__ == "__main__":
    sys.exit(main())
