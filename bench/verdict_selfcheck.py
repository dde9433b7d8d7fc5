"""Checks that the verdicts of `toolkit bench` can be believed.

Two copies of one model must get "no verdict" nearly always (95 % intervals: 5 of 100 may err),
and a copy that is slowed by 5 % must be found. The slowed copy runs the same file and then
burns 5 % of the time that the call took.

    python bench/verdict_selfcheck.py [--runs 100] [--slowed 20] [--rounds 100] [MODEL.onnx]
"""

import argparse
import time
from pathlib import Path

import numpy as np

from toolkit.measuring.latency import Call, Open, measure
from toolkit.measuring.statistics import Ratio, compare
from toolkit.recipes import find_model
from toolkit.runtime.session import create_session


def main() -> None:
    """Run both checks and print one line each; exit with 1 when one fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="mnist_cnn")
    parser.add_argument("--runs", type=int, default=100, help="pairs of equal copies")
    parser.add_argument("--slowed", type=int, default=20, help="pairs with one copy 5 %% slower")
    parser.add_argument("--rounds", type=int, default=100)
    arguments = parser.parse_args()
    path = find_model(arguments.model, ".onnx")

    widths, wrong = [], 0
    for seed in range(arguments.runs):
        ratio = compare_copies(path, slowdown=0.0, rounds=arguments.rounds, seed=seed)
        wrong += ratio.verdict != "no verdict"
        widths.append(ratio.high - ratio.low)
    print(
        f"equal copies: no verdict in {arguments.runs - wrong} of {arguments.runs} runs, "
        f"interval +-{np.median(widths) / 2:.2%} (median)"
    )
    found, values = 0, []
    for seed in range(arguments.slowed):
        ratio = compare_copies(path, slowdown=0.05, rounds=arguments.rounds, seed=seed)
        found += ratio.verdict == "slower"
        values.append(ratio.value)
    print(
        f"slowed by 5 %: found in {found} of {arguments.slowed} runs, "
        f"ratio {np.median(values):.3f} (median)"
    )
    if wrong > max(1, 0.07 * arguments.runs) or found < arguments.slowed:
        raise SystemExit("the verdicts cannot be believed on this machine")


def compare_copies(path: Path, *, slowdown: float, rounds: int, seed: int) -> Ratio:
    """Return the ratio of a copy, slower by ``slowdown``, to the same file."""
    copies = {"file": opener(path, 0.0), "copy": opener(path, slowdown)}
    timings = measure(copies, rounds=rounds, max_seconds=600, seed=seed)
    return compare(timings.log_ratios("copy", "file"), seed=seed)


def opener(path: Path, slowdown: float) -> Open:
    """Return what opens the model on one thread, for a batch of one of zeros."""

    def open_model() -> Call:
        session = create_session(path, provider="cpu", threads=1)
        feed = {
            entry.name: np.zeros(
                [size if isinstance(size, int) else 1 for size in entry.shape],
                {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}[entry.type],
            )
            for entry in session.get_inputs()
        }
        names = [entry.name for entry in session.get_outputs()]

        def call() -> None:
            start = time.perf_counter_ns()
            session.run(names, feed)
            end = time.perf_counter_ns()
            until = end + slowdown * (end - start)
            while time.perf_counter_ns() < until:
                pass

        return call

    return open_model


if __name__ == "__main__":
    main()
