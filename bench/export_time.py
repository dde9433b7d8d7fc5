"""How long `toolkit export` takes for the MNIST CNN, against the import of TensorFlow alone.

    python bench/export_time.py [--rounds 5]

Whole processes in turn, so that a change of the machine's speed meets both. Prints the median of
each and the median of the paired differences, in wall time and, for busy machines, in CPU time;
exits with 3 when the wall time differs by more than 4 seconds.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT_S = 4.0
TOOLKIT = Path(sys.executable).with_name("toolkit")
SOURCE = Path(__file__).resolve().parent.parent / "models" / "mnist_cnn.keras"


def seconds(command: list[str]) -> tuple[float, float]:
    """Return the wall time and the CPU time of a process and those that it starts."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    started = time.perf_counter_ns()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = (time.perf_counter_ns() - started) / 1e9
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return wall, usage.ru_utime + usage.ru_stime


def main() -> int:
    """Print the comparison; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        target = str(Path(folder, "model.onnx"))
        commands = {
            "toolkit export": [str(TOOLKIT), "export", str(SOURCE), "-o", target, "--force"],
            "import tensorflow": [sys.executable, "-c", "import tensorflow"],
        }
        for command in commands.values():  # files into the page cache, bytecode written
            seconds(command)
        rows = [[seconds(command) for command in commands.values()] for _ in range(rounds)]
    for index, name in enumerate(commands):
        wall, cpu = (statistics.median(row[index][kind] for row in rows) for kind in (0, 1))
        print(f"{name:18} {wall:6.2f} s, {cpu:6.2f} s of CPU")
    wall, cpu = (statistics.median(row[0][kind] - row[1][kind] for row in rows) for kind in (0, 1))
    print(f"difference         {wall:6.2f} s, {cpu:6.2f} s of CPU; at most {LIMIT_S:g} s")
    return 0 if wall <= LIMIT_S else 3


if __name__ == "__main__":
    sys.exit(main())
