"""Compare `toolkit train mnist_cnn --fast` with the recipe's five epochs: CPU seconds, accuracy.

    python bench/fast_training.py

Each is a process of its own, started as a user starts it, and its CPU seconds are those of the
whole process: imports, training, validation, the test set. Exit status 1 when the fast training
needs more than 0.6 of the recipe's CPU seconds, or either has less than 99.0 % on the test set.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CPU_GOAL = 0.6
ACCURACY_GOAL = 0.99


@dataclass(frozen=True)
class Run:
    """What one training took and gave; accuracy is a fraction in [0, 1]."""

    name: str
    epochs: int
    cpu_s: float
    wall_s: float
    test_accuracy: float


def train(name: str, folder: Path, *options: str) -> Run:
    """Run `toolkit train mnist_cnn` with the options as a process and measure it."""
    output = folder / f"{name}.keras"
    report = folder / f"{name}.json"
    command = [sys.executable, "-m", "toolkit", "train", "mnist_cnn", "-o", str(output), "--json"]
    started = time.perf_counter()
    with report.open("wb") as stdout:
        child = os.posix_spawn(
            command[0],
            [*command, *options],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, stdout.fileno(), 1)],
        )
        # wait4 gives the resources of this child alone, those of its own children included.
        _, status, usage = os.wait4(child, 0)
    wall_s = time.perf_counter() - started
    if status:
        sys.exit(f"{' '.join(command)} failed: {os.waitstatus_to_exitcode(status)}")
    result = json.loads(report.read_text(encoding="utf-8"))
    return Run(
        name=name,
        epochs=result["epochs"],
        cpu_s=usage.ru_utime + usage.ru_stime,
        wall_s=wall_s,
        test_accuracy=result["test_accuracy"],
    )


def main() -> None:
    """Run both, print the table, and exit with 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", help="of both trainings; by default the recipe's")
    seed = parser.parse_args().seed
    options = [] if seed is None else ["--seed", seed]
    with tempfile.TemporaryDirectory() as folder:
        fast = train("fast", Path(folder), "--fast", *options)
        recipe = train("recipe", Path(folder), *options)

    print(f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}")
    print(f"{'training':10}{'epochs':>8}{'CPU s':>10}{'wall s':>10}{'test accuracy':>16}")
    for run in (recipe, fast):
        print(
            f"{run.name:10}{run.epochs:8}{run.cpu_s:10.1f}{run.wall_s:10.1f}"
            f"{100 * run.test_accuracy:14.2f} %"
        )
    ratio = fast.cpu_s / recipe.cpu_s
    lowest = min(fast.test_accuracy, recipe.test_accuracy)
    print(f"CPU seconds, fast / recipe: {ratio:.2f} (goal: at most {CPU_GOAL})")
    print(f"lowest accuracy: {100 * lowest:.2f} % (goal: at least {100 * ACCURACY_GOAL:.1f} %)")
    sys.exit(0 if ratio <= CPU_GOAL and lowest >= ACCURACY_GOAL else 1)


if __name__ == "__main__":
    main()
