"""Calibration: the ranges of activations, measured on samples in bounded memory.

One batch of activations is held at a time, and a fixed number of values per activation,
whatever the number of samples. onnxruntime's own calibrators keep every activation of every
sample (https://github.com/microsoft/onnxruntime/issues/21979).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from toolkit.errors import DataError
from toolkit.quantization import range_cache
from toolkit.quantization.ranges import Collector, Range, new_collector
from toolkit.quantization.recipe import Activations, Calibration
from toolkit.quantization.running import Runner
from toolkit.quantization.samples import Samples
from toolkit.reporting.terminal import progress

_BATCH_BYTES = 32 * 2**20  # activations of one batch
_MAX_BATCH = 64
_ENOUGH = 0.05  # ranges that still grow by more than this at the end are not settled


@dataclass(frozen=True)
class Ranges:
    """What calibration found.

    Attributes:
        ranges: The range of each activation, by its name.
        samples: How many samples were run.
        growths: By which part of its final width each range still changed over the last quarter
            of the samples, in [0, 1].
    """

    ranges: dict[str, Range]
    samples: int
    growths: dict[str, float]

    @property
    def growth(self) -> float:
        """The growth of the range that changed most."""
        return max(self.growths.values(), default=0.0)

    @property
    def growing(self) -> str:
        """The name of the activation whose range changed most; the first of equals."""
        return max(self.growths, key=lambda name: self.growths[name], default="")

    def of(self, names: Iterable[str]) -> "Ranges":
        """Return those of some activations.

        Raises:
            KeyError: One of them was not measured.
        """
        chosen = list(names)
        return Ranges(
            {name: self.ranges[name] for name in chosen},
            self.samples,
            {name: self.growths[name] for name in chosen},
        )

    def joined(self, other: "Ranges") -> "Ranges":
        """Return these and those of other activations, measured on the same samples."""
        ranges, growths = self.ranges | other.ranges, self.growths | other.growths
        return Ranges(ranges, self.samples, growths)

    @property
    def settled(self) -> bool:
        """Whether more samples would change the ranges little."""
        return self.growth <= _ENOUGH


def calibrate(
    model: onnx.ModelProto,
    names: Iterable[str],
    samples: Samples,
    calibration: Calibration,
    activations: Activations,
    *,
    samples_key: str | None = None,
) -> Ranges:
    """Measure the ranges of activations.

    Args:
        model: The float model; left unchanged.
        names: The activations, float32 tensors of the graph.
        samples: What to run.
        calibration: The method.
        activations: The integers that will stand for the activations.
        samples_key: What tells these samples from all others; with it, ranges are remembered
            and taken from there the next time.

    Raises:
        DataError: The samples do not fit the model, or an activation is not finite.
    """
    wanted = list(dict.fromkeys(names))
    key = None
    if samples_key is not None:
        key = range_cache.key(model, wanted, samples_key, calibration, activations)
    if key is not None:
        known = _remembered(range_cache.read(key), wanted)
        if known is not None:
            return known
    found = _measure(model, wanted, samples, calibration, activations)
    if key is not None:
        range_cache.write(key, found)
    return found


def _measure(
    model: onnx.ModelProto,
    wanted: list[str],
    samples: Samples,
    calibration: Calibration,
    activations: Activations,
) -> Ranges:
    # A float input of the graph is its own activation: what is fed is what would come back.
    inputs = {value.name for value in model.graph.input}
    fetched = [name for name in wanted if name not in inputs]
    runner = Runner(exposing(model, fetched), outputs=fetched)
    collectors: dict[str, Collector] = {
        name: new_collector(calibration, activations) for name in wanted
    }
    size = runner.fixed_batch or batch_size(runner, samples)
    checkpoint = len(samples) * 3 // 4
    earlier: dict[str, Range] = {}
    with progress("calibrating", len(samples)) as advance:

        def collect(first: int, end: int) -> None:
            for feed in samples.feeds(size, first, end):
                seen = {**feed, **dict(zip(fetched, runner.run(feed), strict=True))}
                for name in wanted:
                    _check_finite(name, seen[name])
                    collectors[name].update(seen[name])
                advance(len(next(iter(feed.values()))))

        collect(0, checkpoint)
        if checkpoint:
            earlier = {name: collector.range() for name, collector in collectors.items()}
        collect(checkpoint, len(samples))
    ranges = {name: collector.range() for name, collector in collectors.items()}
    return Ranges(ranges, len(samples), _growths(earlier, ranges))


def _remembered(document: dict[str, Any] | None, wanted: list[str]) -> Ranges | None:
    """Return ranges from the cache, or None when there are none or the file is damaged."""
    if document is None:
        return None
    try:
        ranges = {
            name: (float(low), float(high)) for name, (low, high) in document["ranges"].items()
        }
        growths = {str(name): float(growth) for name, growth in document["growths"].items()}
        found = Ranges(ranges, int(document["samples"]), growths)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    plausible = all(-math.inf < low <= high < math.inf for low, high in ranges.values())
    plausible &= all(0 <= growth < math.inf for growth in growths.values())
    return found if plausible and set(ranges) == set(growths) == set(wanted) else None


def exposing(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """Return a copy of the model that has these tensors among its outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    present = {output.name for output in copy.graph.output}
    for name in names:
        if name not in present:
            # onnxruntime knows its type.
            copy.graph.output.append(onnx.ValueInfoProto(name=name))
    return copy


def batch_size(runner: Runner, samples: Samples) -> int:
    """Return how many samples' activations fit the memory that a batch may take."""
    per_sample = sum(values.nbytes for values in runner.run(samples.feed(slice(0, 1))))
    return max(1, min(_MAX_BATCH, _BATCH_BYTES // max(per_sample, 1)))


def _check_finite(name: str, values: npt.NDArray[Any]) -> None:
    if not np.isfinite(values).all():
        raise DataError(
            f"The activation '{name}' is NaN or infinite for some calibration samples, so that it "
            "has no range. Check the data and the model's preprocessing."
        )


def _growths(earlier: dict[str, Range], later: dict[str, Range]) -> dict[str, float]:
    """Return by which part of its width each range has changed."""
    growths = dict.fromkeys(later, 0.0)
    for name, (low, high) in later.items():
        if name not in earlier:
            continue
        width = max(high, 0.0) - min(low, 0.0)
        change = max(abs(high - earlier[name][1]), abs(low - earlier[name][0]))
        growths[name] = change / width if width else 0.0
    return growths
