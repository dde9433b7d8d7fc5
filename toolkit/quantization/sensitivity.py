"""How much each quantized layer costs: its own noise, and what of it reaches the result.

One layer at a time is quantized and all others stay in float, so that what is seen is its doing
alone. To a first approximation the noises of layers add up at the output; so the layers that make
most of it are those to leave in float.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from toolkit.errors import ModelError
from toolkit.graph.editing import sole_use
from toolkit.quantization.building import Built, build
from toolkit.quantization.calibration import exposing
from toolkit.quantization.checking import sqnr_db
from toolkit.quantization.placement import is_weight_layer
from toolkit.quantization.running import Runner
from toolkit.quantization.samples import Samples
from toolkit.quantization.trials import Trials
from toolkit.reporting.terminal import progress

_SAMPLES = 128
_DEQUANTIZED = "_DequantizeLinear_Output"  # how onnxruntime's quantizer names such tensors


@dataclass(frozen=True)
class Sensitivity:
    """What quantizing one layer alone costs.

    Attributes:
        name: The layer's name.
        sqnr_db: Signal to quantization noise of its own output, or None where the quantized graph
            has no such tensor in float.
        effect_db: The same of the model's output.
    """

    name: str
    sqnr_db: float | None
    effect_db: float


def measure_sensitivity(trials: Trials, built: Built) -> list[Sensitivity]:
    """Measure the quantized weight layers of a candidate on validation samples.

    Returns them with the most sensitive first: the one with the noisiest result, of equals the one
    with the noisiest output of its own.

    Raises:
        ValueError: There are no samples.
    """
    if trials.source.data is None:
        raise ValueError("sensitivity is measured on samples")
    samples = trials.source.data.validation.head(_SAMPLES)
    source = trials.source.of(built.candidate.recipe)
    graph = source.copy().graph
    quantized = set(built.int8_nodes)
    layers = [node for node in graph if node.name in quantized and is_weight_layer(node)]
    expected = _run(source.proto(), [trials.output.name, *map(_result, layers)], samples)
    found = []
    with progress("measuring the sensitivity of layers", len(layers)) as advance:
        for layer in layers:
            others = [str(node.name) for node in layers if node is not layer]
            try:
                alone = build(trials.source, built.candidate.keeping(others, "measured later"))
            except ModelError:  # on its own it would stay in float, too
                alone = None
            if alone is not None:
                found.append(_measure(alone.model, layer, trials.output.name, expected, samples))
            advance()
    return sorted(found, key=_order)


def _measure(
    model: onnx.ModelProto,
    layer: ir.Node,
    output: str,
    expected: dict[str, npt.NDArray[np.generic]],
    samples: Samples,
) -> Sensitivity:
    tensor = _counterpart(model, layer)
    answers = _run(model, [output] if tensor is None else [output, tensor], samples)
    own = None if tensor is None else sqnr_db(expected[_result(layer)], answers[tensor])
    return Sensitivity(str(layer.name), own, sqnr_db(expected[output], answers[output]))


def _order(layer: Sensitivity) -> tuple[float, float]:
    return layer.effect_db, float("inf") if layer.sqnr_db is None else layer.sqnr_db


def _run(
    model: onnx.ModelProto, names: list[str], samples: Samples
) -> dict[str, npt.NDArray[np.generic]]:
    """Return tensors of a graph for all samples, by their names."""
    wanted = list(dict.fromkeys(names))
    runner = Runner(exposing(model, wanted), wanted)
    return dict(zip(wanted, runner.run_all(samples), strict=True))


def _result(layer: ir.Node) -> str:
    """Return what a layer gives: behind the activation that vanishes in its range."""
    after = sole_use(layer.outputs[0])
    last = after if after is not None and after.op_type in ("Relu", "Clip") else layer
    return str(last.outputs[0].name)


def _counterpart(model: onnx.ModelProto, layer: ir.Node) -> str | None:
    """Return the float32 tensor of a quantized graph that stands for a layer's result."""
    present = {name for node in model.graph.node for name in node.output}
    result, plain = _result(layer), str(layer.outputs[0].name)
    candidates = [f"{result}{_DEQUANTIZED}", f"{plain}{_DEQUANTIZED}", result]
    return next((name for name in candidates if name in present), None)
