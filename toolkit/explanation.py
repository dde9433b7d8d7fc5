"""`explain`: node by node, why a quantized model is faster than its float original, or slower."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import onnx
import onnx_ir as ir

from toolkit.contract import Contract
from toolkit.errors import ModelError
from toolkit.measuring.inputs import input_shape, random_input
from toolkit.measuring.nodes import ProfileRow, operation, side_by_side
from toolkit.measuring.profile import NodeTime
from toolkit.measuring.statistics import Ratio
from toolkit.quantization.node_costs import names_in, owner_of
from toolkit.quantization.placement import is_weight_layer
from toolkit.quantization.speed import shown
from toolkit.quantization.stopwatch import LocalStopwatch
from toolkit.quantization.unfused import meant_int8, unfused
from toolkit.recipes import find_model
from toolkit.runtime import load

Precision = Literal["int8", "float", ""]

_FLOAT, _INT8 = "float", "int8"
# What changes the precision or the layout of values, and computes nothing.
_CONVERSIONS = frozenset(
    {
        "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ReorderInput",
        "ReorderOutput", "Transpose", "Cast",
    }
)  # fmt: skip
_INTEGER = ("QLinear", "QGemm", "QAttention", "ConvInteger", "MatMulInteger", "DynamicQuantize")
_NOT_FUSED = "no int8 kernel for it here: it runs in float between conversions"
_NOTICED_US = 1.0  # the profiler counts whole microseconds
_NAMED = 3  # nodes in the sentence


@dataclass(frozen=True)
class Row:
    """One operation, or one conversion, in both models.

    Attributes:
        operator: What it computes, as the float operator is called.
        node: Its name in the float model, or onnxruntime's own.
        float_us: Its time in the float model in microseconds, or None where it does not run.
        int8_us: The same in the quantized model.
        precision: What it works in in the quantized model; empty where it does not run.
        reason: Why it works in float there; empty when nothing is to be said.
        conversion: Whether it only changes the type or the layout of values.
    """

    operator: str
    node: str
    float_us: float | None
    int8_us: float | None
    precision: Precision
    reason: str
    conversion: bool

    @property
    def gain_us(self) -> float:
        """How much less time it takes in the quantized model."""
        return (self.float_us or 0.0) - (self.int8_us or 0.0)


@dataclass(frozen=True)
class Explanation:
    """Where the time of both models goes.

    Attributes:
        model: The float model.
        quantized: The quantized one.
        rows: Operations in the order in which they run, then conversions.
        ratio: Time of a whole call, quantized divided by float, not profiled.
        unfused: Nodes of the quantized model that were meant to be int8 and run in float.
        machine: What it was measured on.
        sentences: Why, and what to do.
    """

    model: Path
    quantized: Path
    rows: tuple[Row, ...]
    ratio: Ratio
    unfused: tuple[str, ...]
    machine: Mapping[str, Any]
    sentences: tuple[str, ...]

    def total_us(self, *, conversions: bool) -> tuple[float, float]:
        """Return the profiled time of all operations, or of all conversions, in both models."""
        rows = [row for row in self.rows if row.conversion is conversions]
        return sum(row.float_us or 0.0 for row in rows), sum(row.int8_us or 0.0 for row in rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        totals = {}
        for name, conversions in (("operations", False), ("conversions", True)):
            float_us, int8_us = self.total_us(conversions=conversions)
            totals[name] = {"float_us": float_us, "int8_us": int8_us}
        return {
            "schema": "toolkit.explain/1",
            "model": str(self.model),
            "quantized": str(self.quantized),
            "rows": [
                {
                    "operator": row.operator,
                    "node": row.node,
                    "float_us": row.float_us,
                    "int8_us": row.int8_us,
                    "precision": row.precision or None,
                    "reason": row.reason or None,
                    "conversion": row.conversion,
                }
                for row in self.rows
            ],
            "totals": totals,
            "latency_ratio": self.ratio.value,
            "interval": [self.ratio.low, self.ratio.high],
            "verdict": self.ratio.verdict,
            "unfused": list(self.unfused),
            "machine": dict(self.machine),
            "sentences": list(self.sentences),
        }


def explain(
    model: str | Path,
    quantized: str | Path,
    *,
    threads: int = 1,
    size: Mapping[str, int] | None = None,
    max_time: float = 10.0,
) -> Explanation:
    """Measure a float model and its quantized form node by node, and say what makes the difference.

    Args:
        model: The float .onnx file, or a zoo name.
        quantized: The quantized one, by whatever tool.
        threads: Threads inside one operator.
        size: What symbolic sizes other than the batch are to be, by name.
        max_time: Seconds that the comparison of whole calls may take, above 0.

    Raises:
        ModelError: A model is missing or damaged, they do not do the same task, or a size is free.
        ValueError: A number is out of range.
    """
    if threads < 1:
        raise ValueError(f"threads is {threads}, it must be at least 1")
    if not 0 < max_time < float("inf"):
        raise ValueError(f"max_time is {max_time}, it must be above 0")
    paths = {_FLOAT: find_model(str(model), ".onnx"), _INT8: find_model(str(quantized), ".onnx")}
    original, contract = (load(path, provider="cpu").contract for path in paths.values())
    if _tensors(original) != _tensors(contract):
        raise ModelError(
            f"'{paths[_FLOAT]}' and '{paths[_INT8]}' do not take and give the same tensors. "
            "Explain a model and what was quantized from that very file."
        )
    feeds = {
        spec.name: random_input(
            spec, input_shape(spec, _batch(spec.shape), size or {}, str(paths[_FLOAT]))
        )
        for spec in contract.inputs
    }
    watch = LocalStopwatch(feeds, threads=threads)
    profiles = {name: watch.nodes(path) for name, path in paths.items()}
    ratio = watch.compare(paths[_INT8], paths[_FLOAT], seconds=max_time)
    proto = onnx.load(paths[_INT8])
    left = tuple(unfused(proto, meant_int8(proto)))
    rows = _rows(profiles, ir.load(paths[_FLOAT]).graph, _reasons(contract), left)
    return Explanation(
        model=paths[_FLOAT],
        quantized=paths[_INT8],
        rows=rows,
        ratio=ratio,
        unfused=left,
        machine=watch.machine(),
        sentences=_sentences(rows, ratio, left),
    )


def _tensors(contract: Contract) -> list[tuple[str, str]]:
    inputs = [(spec.name, spec.dtype) for spec in contract.inputs]
    return inputs + [(spec.name, spec.dtype) for spec in contract.outputs]


def _batch(shape: tuple[int | str, ...]) -> int:
    return shape[0] if shape and isinstance(shape[0], int) else 1


def _reasons(contract: Contract) -> dict[str, str]:
    """Return why nodes are in float, as `quantize` wrote it into the contract."""
    for step in reversed(contract.provenance):
        results = step.get("results") if step.get("step") == "quantize" else None
        layers = results.get("float_layers") if isinstance(results, dict) else None
        if isinstance(layers, dict):
            return {str(name): str(reason) for name, reason in layers.items()}
    return {}


def _rows(
    profiles: Mapping[str, list[NodeTime]],
    graph: ir.Graph,
    reasons: Mapping[str, str],
    left: tuple[str, ...],
) -> tuple[Row, ...]:
    """Return operations in the order of the float graph, then what has no node of its own there.

    Both models' nodes are matched by the node of the float graph that they come from: branches may
    run in another order. The rest is matched by its order.
    """
    names = names_in(graph)
    owned: dict[str, dict[str, NodeTime]] = {}
    rest: dict[str, list[NodeTime]] = {variant: [] for variant in profiles}
    for variant, profile in profiles.items():
        for entry in profile:
            owner = owner_of(entry, names)
            if owner is None or not owner.name:
                rest[variant].append(entry)
                continue
            found = owned.setdefault(owner.name, {})
            if variant in found:  # one operation became two
                entry = replace(entry, us=entry.us + found[variant].us)
            found[variant] = entry
    rows = []
    for node in graph:
        times = owned.get(str(node.name))
        if times:
            row = ProfileRow(operation(node.op_type), str(node.name), times)
            layer = is_weight_layer(node)
            rows.append(_row(row, reasons, left, layer=layer, conversion=False))
    for row in side_by_side(rest):
        conversion = row.operator in _CONVERSIONS
        rows.append(_row(row, reasons, left, layer=False, conversion=conversion))
    return tuple(sorted(rows, key=lambda row: row.conversion))


def _row(
    row: ProfileRow,
    reasons: Mapping[str, str],
    left: tuple[str, ...],
    *,
    layer: bool,
    conversion: bool,
) -> Row:
    in_float, in_int8 = row.nodes.get(_FLOAT), row.nodes.get(_INT8)
    precision = "" if in_int8 is None or conversion else _precision(in_int8)
    reason = ""
    if precision == "float":
        reason = reasons.get(row.name) or (_NOT_FUSED if row.name in left else "")
        reason = reason or ("not quantized in this model" if layer else "")
    return Row(
        operator=row.operator,
        node=row.name,
        float_us=None if in_float is None else in_float.us,
        int8_us=None if in_int8 is None else in_int8.us,
        precision=precision,
        reason=reason,
        conversion=conversion,
    )


def _precision(node: NodeTime) -> Precision:
    integer = node.operator.startswith(_INTEGER) or node.dtype in ("uint8", "int8")
    return "int8" if integer else "float"


def _sentences(rows: tuple[Row, ...], ratio: Ratio, left: tuple[str, ...]) -> tuple[str, ...]:
    operations = [row for row in rows if not row.conversion]
    conversions = sum(-row.gain_us for row in rows if row.conversion)
    saved = sum(max(row.gain_us, 0.0) for row in operations)
    lost = sum(max(-row.gain_us, 0.0) for row in operations)
    word = {"faster": "faster", "slower": "slower", "no verdict": "no faster and no slower"}
    change = "add" if conversions >= 0 else "save"
    summary = (
        f"int8 is {word[ratio.verdict]}: it takes {shown(ratio)} of float's time. By the profile, "
        f"operations save {saved:.0f} us and lose {lost:.0f} us, conversions {change} "
        f"{abs(conversions):.0f} us."
    )
    found = [summary]
    best = [row for row in _by_gain(operations) if row.gain_us > _NOTICED_US][:_NAMED]
    worst = [row for row in reversed(_by_gain(operations)) if row.gain_us < -_NOTICED_US]
    slow = [row for row in worst if row.precision == "int8"][:_NAMED]
    if best:
        found.append(f"Most is gained in {_listed(best)}.")
    if worst:
        found.append(f"Most is lost in {_listed(worst[:_NAMED])}.")
    if left:
        names = ", ".join(f"'{name}'" for name in left)
        found.append(
            f"Run in float between conversions, as onnxruntime has no int8 kernel for them here: "
            f"{names}. Leave them out with [nodes] exclude in a recipe."
        )
    if ratio.verdict != "faster" or slow:
        found.append(_advice(slow, conversions, saved - lost))
    return tuple(found)


def _advice(slow: list[Row], conversions: float, gained: float) -> str:
    if slow:
        names = ", ".join(f'"{row.node}"' for row in slow)
        return (
            "Keep what loses in float: `toolkit quantize` does so by measurement on the machine "
            f"that will run the model, or [nodes] exclude = [{names}] in a recipe."
        )
    if conversions > max(gained, 0.0):
        return (
            "The conversions cost what int8 saves: quantize neighbouring nodes together, or leave "
            "single ones between float nodes in float."
        )
    return "The model is too small to gain from int8 here: use the float model."


def _by_gain(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: -row.gain_us)


def _listed(rows: list[Row]) -> str:
    return ", ".join(
        f"'{row.node}' ({row.float_us or 0:.0f} to {row.int8_us or 0:.0f} us)" for row in rows
    )
