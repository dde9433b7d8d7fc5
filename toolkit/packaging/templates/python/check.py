"""Holds this machine against the one that made the package.

Runs the golden samples and compares the outputs; exits with 1 when one is further off than it
may be.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.runtime import load

HERE = Path(__file__).parent


def read(tensor: dict[str, Any], runs: int) -> np.ndarray:
    """Return the values of all runs, [runs, *shape]."""
    dtype = np.dtype(tensor["dtype"]).newbyteorder("<")
    values = np.fromfile(HERE / "golden" / tensor["file"], dtype)
    return values.reshape(runs, *tensor["shape"]).astype(tensor["dtype"], copy=False)


def main() -> int:
    """Compare all runs and print one line."""
    golden = json.loads((HERE / "golden" / "golden.json").read_text(encoding="utf-8"))
    runs = golden["runs"]
    model = load(HERE / golden["models"][0]["file"], provider="cpu", threads=1)
    inputs = {tensor["name"]: read(tensor, runs) for tensor in golden["inputs"]}
    met, worst = runs, 0.0
    outputs = golden["models"][0]["outputs"]
    expected = {tensor["name"]: read(tensor, runs) for tensor in outputs}
    for run in range(runs):
        results = model.run({name: values[run] for name, values in inputs.items()})
        good = True
        for tensor in outputs:
            wanted = expected[tensor["name"]][run].astype(np.float64)
            difference = float(np.abs(results[tensor["name"]] - wanted).max(initial=0))
            good = good and difference <= tensor["tolerance"]
            worst = max(worst, difference)
        met -= not good
    print(
        f"{met} of {runs} golden samples agree; largest difference {worst:.3g}, "
        f"allowed {outputs[0]['tolerance']:.3g}"
    )
    return 0 if met == runs else 1


if __name__ == "__main__":
    sys.exit(main())
