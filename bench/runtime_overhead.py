"""What `Model.predict` costs over a bare `InferenceSession.run` of the same file, at batch 1.

    python bench/runtime_overhead.py [MODEL.onnx]

Blocks of calls of both kinds alternate in one process, in shuffled order, on one thread; the
cost is the median of the differences between neighbouring blocks, with a 95 % bootstrap
interval. Exits with 3 when even the lower end of that interval is above the limit.
"""

import platform
import random
import sys
import time
from collections.abc import Callable

import click
import numpy as np
import onnxruntime

from toolkit.recipes import find_model
from toolkit.runtime import load

LIMIT_US = 5.0


@click.command()
@click.argument("model", default="mnist_cnn")
@click.option("--rounds", default=500, show_default=True, help="Pairs of blocks.")
@click.option("--calls", default=20, show_default=True, help="Calls in one block.")
def main(model: str, rounds: int, calls: int) -> None:
    """Measure and print; MODEL is a path or a name of the zoo."""
    path = find_model(model, ".onnx")
    loaded = load(path, provider="cpu", threads=1)
    spec = loaded.contract.inputs[0]
    shape = [int(size) for size in spec.sample_shape]
    sample = np.random.default_rng(0).integers(0, 256, shape).astype(spec.dtype)
    feeds = {spec.name: sample[np.newaxis]}

    def run() -> object:
        # The same session: two of one file differ by a percent or two in memory layout alone.
        return loaded.session.run(None, feeds)

    def predict() -> object:
        return loaded.predict(sample)

    blocks: dict[str, list[float]] = {"run": [], "predict": []}
    timed = [("run", run), ("predict", predict)]
    for _, call in timed:
        block_us(call, 50 * calls)
    shuffled = random.Random(0)  # noqa: S311 - an order of runs, no secret
    for _ in range(rounds):
        shuffled.shuffle(timed)
        for name, call in timed:
            blocks[name].append(block_us(call, calls))

    difference = np.array(blocks["predict"]) - np.array(blocks["run"])
    resampled = np.random.default_rng(0).choice(difference, (1000, rounds))
    low, high = np.quantile(np.median(resampled, axis=1), [0.025, 0.975])
    print(f"{path.name}, batch 1, 1 thread, onnxruntime {onnxruntime.__version__}, "
          f"{platform.machine()}, {rounds:,} pairs of {calls} calls")  # fmt: skip
    print(f"  median of InferenceSession.run                    {np.median(blocks['run']):8.2f} us")
    print(f"  median of paired differences, Model.predict - run {np.median(difference):+8.2f} us  "
          f"[{low:+.2f}, {high:+.2f}], limit +{LIMIT_US:.0f}")  # fmt: skip
    if low > LIMIT_US:
        sys.exit(3)


def block_us(call: Callable[[], object], calls: int) -> float:
    """Return the mean time of one call in microseconds, over a block of calls."""
    start = time.perf_counter_ns()
    for _ in range(calls):
        call()
    return (time.perf_counter_ns() - start) / calls / 1000


if __name__ == "__main__":
    main()
