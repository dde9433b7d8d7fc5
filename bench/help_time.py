"""How long `toolkit --help` takes, against the import of click that it cannot do without.

    python bench/help_time.py [--rounds 40]

Whole processes in turn, so that a change of the machine's speed meets both. Prints the median of
each and the median of the paired ratios; exits with 3 when that is above 1.5.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

LIMIT = 1.5
SCRIPT = Path(sys.executable).with_name("toolkit")


def seconds(command: list[str]) -> float:
    """Return the wall time of a process, start and end included."""
    started = time.perf_counter_ns()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter_ns() - started) / 1e9


def main() -> int:
    """Print the comparison; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    commands = {
        "toolkit --help": [str(SCRIPT), "--help"],
        'python -c "import click"': [sys.executable, "-c", "import click"],
    }
    for command in commands.values():  # files into the page cache, bytecode written
        seconds(command)
    pairs = [[seconds(command) for command in commands.values()] for _ in range(rounds)]
    for index, name in enumerate(commands):
        print(f"{name:26} {1000 * statistics.median(pair[index] for pair in pairs):6.1f} ms")
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    print(f"ratio {ratio:.2f}, at most {LIMIT}")
    return 0 if ratio <= LIMIT else 3


if __name__ == "__main__":
    sys.exit(main())
