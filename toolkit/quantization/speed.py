"""Never slower: the placement is tuned on this machine, and a model that loses is refused."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import CheckFailedError
from toolkit.measuring.statistics import Ratio
from toolkit.quantization.searching import Try, search
from toolkit.quantization.stopwatch import Stopwatch
from toolkit.quantization.trials import Trial, Trials

_FINAL_PART = 0.2  # of the time, for the comparison with float that decides
_FINAL_SECONDS = (3.0, 15.0)


@dataclass(frozen=True)
class Speed:
    """How fast the quantized model is, and what was tried to make it faster.

    Attributes:
        ratio: The int8 model's time divided by the float model's.
        tries: The placements that were measured, in order.
        exhausted: False when the time for the search ran out before the placements did.
        machine: What it was measured on.
        seconds: Wall time of the measurement.
    """

    ratio: Ratio
    tries: tuple[Try, ...]
    exhausted: bool
    machine: dict[str, Any]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "ratio": self.ratio.value,
            "interval": [self.ratio.low, self.ratio.high],
            "verdict": self.ratio.verdict,
            "tries": [
                {
                    "what": entry.what,
                    "ratio": entry.ratio.value,
                    "interval": [entry.ratio.low, entry.ratio.high],
                    "taken": entry.taken,
                    "reason": entry.reason,
                }
                for entry in self.tries
            ],
            "exhausted": self.exhausted,
            "machine": self.machine,
            "seconds": round(self.seconds, 1),
        }


def tune(trials: Trials, first: Trial, stopwatch: Stopwatch, seconds: float) -> tuple[Trial, Speed]:
    """Look for the fastest placement and compare it with the float model.

    Args:
        trials: Builds and judges candidates.
        first: Where to start.
        stopwatch: Measures.
        seconds: About how long it may take.

    Raises:
        ModelError: A model cannot be opened.
    """
    started = time.perf_counter()
    least, most = _FINAL_SECONDS
    final = min(max(seconds * _FINAL_PART, least), most, seconds / 2)
    with tempfile.TemporaryDirectory(prefix="toolkit-quantize-") as folder:
        found = search(trials, first, stopwatch, Path(folder), seconds - final)
        ratio = stopwatch.compare(found.path, trials.source.path, seconds=final)
    spent = time.perf_counter() - started
    return found.best, Speed(ratio, found.tries, found.exhausted, stopwatch.machine(), spent)


def require_not_slower(speed: Speed, trial: Trial, source: Path, recipe: str) -> None:
    """Check that int8 is not slower than float; no verdict is no failure.

    Raises:
        CheckFailedError: It is.
    """
    if speed.ratio.verdict != "slower":
        return
    count = len(trial.built.int8_nodes)
    nodes = f"{count} node{'s' if count > 1 else ''}"
    raise CheckFailedError(
        f"'{source}' with the recipe '{recipe}': int8 takes {shown(speed.ratio)} of float's time "
        f"on this machine, with {nodes} in int8 at best; nothing was written. Use the float "
        "model, quantize on the machine that will run it, or write it all the same with "
        "--allow-slower, and see where the time goes with `toolkit explain`."
    )


def shown(ratio: Ratio) -> str:
    """Return a ratio with its interval, in words of a terminal."""
    return f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
