"""Checks that `toolkit bench --against` can be believed: benches of one file, one after another.

Each bench is compared with the one before it, as --against does: an unchanged file must not fail
--fail-if-slower 1.05, and a copy that is slowed by 15 % must. The same is told for times that are
not divided by the yardstick's, which shows what the machine alone changes from bench to bench.

    python bench/earlier_selfcheck.py [--runs 40] [--rounds 50] [MODEL.onnx]
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from verdict_selfcheck import opener

from toolkit.measuring import yardstick
from toolkit.measuring.latency import measure
from toolkit.measuring.statistics import Ratio, compare_apart
from toolkit.recipes import find_model

LIMIT, SLOWDOWN = 1.05, 0.15


@dataclass(frozen=True)
class Bench:
    """log(time) of each round of the file and of its slowed copy.

    The times are divided by the yardstick's, or ("plain") as the clock tells.
    """

    file: npt.NDArray[np.float64]
    slowed: npt.NDArray[np.float64]
    file_plain: npt.NDArray[np.float64]
    slowed_plain: npt.NDArray[np.float64]


def main() -> None:
    """Run the benches and print one line for each way; exit with 1 when --against errs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="mnist_cnn")
    parser.add_argument("--runs", type=int, default=40, help="benches, one after another")
    parser.add_argument("--rounds", type=int, default=50)
    arguments = parser.parse_args()
    path = find_model(arguments.model, ".onnx")
    benches = [measured(path, arguments.rounds, seed) for seed in range(arguments.runs)]
    pairs = list(zip(benches[1:], benches, strict=False))
    wrong, missed = told(
        "divided by the yardstick",
        [compare_apart(now.file, before.file) for now, before in pairs],
        [compare_apart(now.slowed, before.file) for now, before in pairs],
    )
    told(
        "as the clock tells      ",
        [compare_apart(now.file_plain, before.file_plain) for now, before in pairs],
        [compare_apart(now.slowed_plain, before.file_plain) for now, before in pairs],
    )
    if wrong > 0.05 * len(pairs) or missed > 0.05 * len(pairs):
        raise SystemExit("--against cannot be believed on this machine")


def measured(path: Path, rounds: int, seed: int) -> Bench:
    """Return one bench."""
    models = {"file": opener(path, 0.0), "slowed": opener(path, SLOWDOWN)}
    timings = measure(
        {**models, yardstick.NAME: yardstick.open_yardstick},
        rounds=rounds,
        max_seconds=600,
        seed=seed,
    )
    return Bench(
        timings.log_ratios("file", yardstick.NAME),
        timings.log_ratios("slowed", yardstick.NAME),
        np.log(timings.medians_ns("file")),
        np.log(timings.medians_ns("slowed")),
    )


def told(way: str, equal: list[Ratio], slower: list[Ratio]) -> tuple[int, int]:
    """Print how often an equal file fails and a slowed one passes, and return both."""
    wrong = sum(fails(ratio) for ratio in equal)
    missed = sum(not fails(ratio) for ratio in slower)
    spread = np.quantile([abs(np.log(ratio.value)) for ratio in equal], 0.9)
    print(
        f"{way}: the same file fails {wrong} of {len(equal)} times (9 in 10 changes are below "
        f"{spread:.1%}); slowed by {SLOWDOWN:.0%} it is found {len(slower) - missed} of "
        f"{len(slower)} times"
    )
    return wrong, missed


def fails(ratio: Ratio) -> bool:
    """Tell whether a ratio exceeds the limit, as `toolkit.benchmark.checks` decides."""
    return ratio.value > LIMIT and ratio.low > 1


if __name__ == "__main__":
    main()
