"""Simulates what x86 CPUs with AVX2 and without VNNI make of a quantized model.

There the sum of two products of an unsigned activation and a signed weight saturates at 16 bits
(see `saturating_sums`), and the layers whose weights are large give other results than on every
other CPU. The simulation computes them as such a CPU does, bit for bit in integers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from toolkit.contract import OutputSpec
from toolkit.quantization.checking import compare
from toolkit.quantization.optimizer_check import difference_steps
from toolkit.quantization.running import filled
from toolkit.quantization.samples import Samples
from toolkit.quantization.saturated_network import SaturatedNetwork
from toolkit.quantization.saturating_layers import Computed, Layer
from toolkit.quantization.saturating_sums import SAFE_PAIR
from toolkit.reporting.terminal import progress

Array = npt.NDArray[Any]

RECIPE = "int8-x86-avx2"

_WORK = 5 * 10**9  # sums of 16 bits to compute in all, unless that leaves too few samples
_AT_ONCE = 10**8  # in one batch
_FEWEST, _BATCH = 8, 128
_NAMED = 3  # layers in a sentence
_SUFFIX = "_quantized"  # what onnxruntime's quantizer adds to the name of a weight


@dataclass(frozen=True)
class ClippedLayer:
    """A layer whose sums saturated.

    Attributes:
        name: The layer's name in the quantized model.
        weight: Name of its float weights.
        clipped: How many sums of 16 bits were clipped.
        sums: How many it has on these samples.
        samples: On which samples, counted from 0.
        steps: How far its output moved at most: in codes of 8 bits, or for a float output in
            1/255 of its range.
        widening: For each output channel by how much the range of its weights has to grow, so
            that no input lets a sum saturate; 1 where none does.
    """

    name: str
    weight: str
    clipped: int
    sums: int
    samples: tuple[int, ...]
    steps: float
    widening: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "name": self.name,
            "clipped_sums": self.clipped,
            "sums": self.sums,
            "samples": list(self.samples),
            "output_steps": self.steps,
        }


@dataclass(frozen=True)
class Saturation:
    """What saturation does to a model on some samples.

    Attributes:
        samples: Samples that were run, the first ones.
        layers: How many layers run in kernels that can saturate.
        exposed: How many of them have weights large enough for it on some input.
        clipped: Those that saturated on these samples, in the order of the graph.
        answer_steps: How far the first output moved at most, in 1/255 of its range.
        agreement: The part of the samples that keep their class, or None without classes.
        drop: What the top-1 of these samples loses, in points, or None without labels.
    """

    samples: int
    layers: int
    exposed: int
    clipped: tuple[ClippedLayer, ...] = ()
    answer_steps: float = 0.0
    agreement: float | None = None
    drop: float | None = None

    @property
    def clipped_samples(self) -> int:
        """How many samples have a layer that saturates."""
        return len({index for layer in self.clipped for index in layer.samples})

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "samples": self.samples,
            "layers": self.layers,
            "exposed_layers": self.exposed,
            "clipped_samples": self.clipped_samples,
            "clipped_layers": [layer.to_dict() for layer in self.clipped],
            "answer_steps": self.answer_steps,
            "agreement": self.agreement,
            "drop": self.drop,
        }


def simulate(
    model: onnx.ModelProto,
    samples: Samples,
    output: OutputSpec | None = None,
    *,
    disabled_optimizers: Sequence[str] = (),
) -> Saturation:
    """Run a quantized model as an x86 CPU with AVX2 and without VNNI would.

    Large networks are run on fewer samples than there are: the first ones, as many as take 5e9
    sums of 16 bits together, but at least 8.

    Args:
        model: A quantized model in any form; left unchanged.
        samples: What to run.
        output: What the model's first output means; without it no classes are compared.
        disabled_optimizers: Graph optimizers that onnxruntime leaves out.

    Raises:
        ModelError: onnxruntime cannot load the model.
        DataError: The samples do not fit.
    """
    name = model.graph.output[0].name
    network = SaturatedNetwork(model, [name], disabled_optimizers=disabled_optimizers)
    if not network.exposed:
        return Saturation(len(samples), len(network.layers), 0)
    fixed = _fixed_batch(model)
    tallies = [_Tally(layer) for layer in network.exposed]
    answers: list[tuple[Array, Array]] = []
    wanted, done, size = len(samples), 0, _FEWEST
    with progress("simulating CPUs without VNNI", wanted) as advance:
        while done < wanted:
            # Ranges that are measured at every run span the batch; applications run one sample.
            size = fixed or (1 if network.dynamic else size)
            feed = samples.feed(slice(done, min(done + size, wanted)))
            count = len(next(iter(feed.values())))
            whole = filled(feed, fixed or count)
            [exact], ([saturated], computed) = network.run_exactly(whole), network.run(whole)
            answers.append((exact[:count], saturated[:count]))
            for tally, each in zip(tallies, computed, strict=True):
                tally.add(each, done, count)
            done += count
            advance(count)
            sums = max(1, sum(tally.sums for tally in tallies) // done)
            wanted = min(len(samples), max(_FEWEST, _WORK // sums))
            size = min(max(_FEWEST, _AT_ONCE // sums), _BATCH)
    right, wrong = (np.concatenate(parts) for parts in zip(*answers, strict=True))
    compared = None if output is None else compare(right, wrong, samples.head(done), output)
    names = _layer_names(model)
    return Saturation(
        samples=done,
        layers=len(network.layers),
        exposed=len(network.exposed),
        clipped=tuple(tally.result(names) for tally in tallies if tally.clipped),
        answer_steps=difference_steps(right, wrong),
        agreement=None if compared is None else compared.agreement,
        drop=None if compared is None else compared.drop,
    )


def describe(found: Saturation) -> str:
    """Say in words which layers clip on such a CPU."""
    if not found.clipped:
        could = f"{found.exposed} could on other inputs" if found.exposed else "none can"
        return f"no sum clips on {found.samples:,} samples; of {found.layers} int8 layers {could}"
    names = [layer.name for layer in found.clipped]
    named = ", ".join(names[:_NAMED])
    if len(names) > _NAMED:
        named += f" and {len(names) - _NAMED} more"
    share = f"{len(names)} of {found.layers} int8 layers"
    return f"{share} clip on {found.clipped_samples:,} of {found.samples:,} samples: {named}"


def effect(found: Saturation, recipe: str) -> str:
    """Say in words what that does to the answer, and what to do.

    Args:
        found: What was simulated; something clips.
        recipe: The recipe in use.
    """
    steps = f"{found.answer_steps:.2g}" if found.answer_steps < 10 else f"{found.answer_steps:.0f}"
    text = f"the answer moves by up to {steps} of 255 steps"
    if found.agreement is not None:
        changed = round((1 - found.agreement) * found.samples)
        text += f", {changed:,} of {found.samples:,} samples change their class"
    return text if recipe == RECIPE else f"{text}; the recipe {RECIPE} avoids it"


def warnings_about(found: Saturation, recipe: str) -> list[str]:
    """Warn when the answer changes by more than a rounding; arguments as for `effect`."""
    if found.answer_steps <= 1 and found.agreement in (None, 1.0):
        return []
    return [f"On x86 CPUs without VNNI, {describe(found)}; {effect(found, recipe)}."]


class _Tally:
    """Adds up what the batches show of one layer."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._samples: list[int] = []
        self._steps = 0.0
        self.clipped = self.sums = 0

    def add(self, computed: Computed, first: int, count: int) -> None:
        """Add a batch: ``first`` is its first sample, and ``count`` of its samples are real."""
        self.sums += computed.sums * count // len(computed.clipped)
        here = computed.clipped[:count]
        if here.any():
            self.clipped += int(here.sum())
            self._samples += [first + int(index) for index in np.flatnonzero(here)]
            self._steps = max(self._steps, _steps(computed.exact, computed.saturated))

    def result(self, names: Mapping[str, str]) -> ClippedLayer:
        """Return the sum; ``names`` has the layers by their weights."""
        layer = self._layer
        largest = layer.largest_pair_sums
        # One for the rounding of a code at each end of the range, and one in all for both weights.
        widening = np.where(largest > SAFE_PAIR, (largest + 1) / (SAFE_PAIR - 1), 1.0)
        return ClippedLayer(
            name=names.get(layer.weight, layer.name),
            weight=layer.weight.removesuffix(_SUFFIX),
            clipped=self.clipped,
            sums=self.sums,
            samples=tuple(self._samples),
            steps=self._steps,
            widening=tuple(widening.tolist()),
        )


def _fixed_batch(model: onnx.ModelProto) -> int | None:
    """Return the batch size that the model insists on."""
    constants = {each.name for each in model.graph.initializer}
    shapes = [
        each.type.tensor_type.shape for each in model.graph.input if each.name not in constants
    ]
    return next((s.dim[0].dim_value for s in shapes if s.dim and s.dim[0].dim_value), None)


def _steps(exact: Array, saturated: Array) -> float:
    if exact.dtype.itemsize == 1:
        return float(np.abs(exact.astype(np.int16) - saturated.astype(np.int16)).max())
    return difference_steps(exact, saturated)


def _layer_names(model: onnx.ModelProto) -> dict[str, str]:
    """Return the layer that reads each tensor, by the tensor's name, for integer weights.

    onnxruntime's quantizer and optimizer add to the names of nodes.
    """
    readers: dict[str, str] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, node.name.removesuffix("_quant").removesuffix("_MatMul"))
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.output[0] in readers:
            readers[node.input[0]] = readers[node.output[0]]
    return readers
