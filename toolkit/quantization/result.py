"""What `quantize` returns: the quantized model, what it cost and why it is as it is."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.quantization.checking import Comparison
from toolkit.quantization.optimizer_check import OptimizerCheck
from toolkit.quantization.saturation import Saturation
from toolkit.quantization.speed import Speed


@dataclass(frozen=True)
class Attempt:
    """One way that was tried to keep the accuracy budget.

    Attributes:
        what: What was changed, in words.
        validation: Both models on the validation samples.
        kept: Whether that is within the budget.
    """

    what: str
    validation: Comparison
    kept: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object."""
        drop = self.validation.drop
        return {
            "what": self.what,
            "drop": None if drop is None else round(drop, 6),
            "agreement": self.validation.agreement,
            "sqnr_db": finite(self.validation.sqnr_db),
            "kept": self.kept,
        }


@dataclass(frozen=True)
class QuantizeResult:
    """The quantized model and what it cost.

    Attributes:
        path: The file that was written.
        recipe: Name of the recipe.
        precision: What nodes became, in words: "int8", "float16", "int4 weights".
        size_bytes: Its size.
        source_size_bytes: The float model's size.
        data: Name of the data, or None when the recipe needs none and none was given.
        samples: Calibration samples that were run; 0 for a dynamic recipe.
        test: Both models on the test samples, or None without data.
        validation: Both models on the validation samples, when there was a budget.
        attempts: What was tried to keep the budget, in its order; empty without a budget.
        optimizer: How far onnxruntime's optimizer moves the answer, or None without data.
        saturation: What x86 CPUs without VNNI would make of it, on calibration samples, or None
            without data, and for other precisions than int8.
        speed: Its time against the float model's and how it was tuned, or None when nothing was
            measured.
        int8_nodes: Names of the nodes of the float graph that work in the new precision.
        float_nodes: Names of the others.
        reasons: Why a node stayed in float, by its name: of all weight layers, and of others that
            a measurement or the accuracy budget kept there.
        repairs: What had to be done to the float model first.
        ranges_grew: How much the ranges still changed over the last quarter of the calibration
            samples, in [0, 1], or None for a dynamic recipe.
        warnings: What a person should know.
        seconds: Wall time.
    """

    path: Path
    recipe: str
    precision: str
    size_bytes: int
    source_size_bytes: int
    data: str | None
    samples: int
    test: Comparison | None
    validation: Comparison | None
    attempts: tuple[Attempt, ...]
    optimizer: OptimizerCheck | None
    saturation: Saturation | None
    speed: Speed | None
    int8_nodes: tuple[str, ...]
    float_nodes: tuple[str, ...]
    reasons: dict[str, str]
    repairs: tuple[str, ...]
    ranges_grew: float | None
    warnings: tuple[str, ...] = field(default=())
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": "toolkit.quantize/1",
            "path": str(self.path),
            "recipe": self.recipe,
            "precision": self.precision,
            "size_bytes": self.size_bytes,
            "source_size_bytes": self.source_size_bytes,
            "data": self.data,
            "samples": self.samples,
            "accuracy": accuracy(self.test),
            "agreement": None if self.test is None else self.test.agreement,
            "sqnr_db": None if self.test is None else finite(self.test.sqnr_db),
            "test_samples": 0 if self.test is None else self.test.samples,
            "validation": None
            if self.validation is None
            else {"samples": self.validation.samples, **(accuracy(self.validation) or {})},
            "attempts": [attempt.to_dict() for attempt in self.attempts],
            "optimizer_steps": None if self.optimizer is None else self.optimizer.steps,
            "saturation": None if self.saturation is None else self.saturation.to_dict(),
            "speed": None if self.speed is None else self.speed.to_dict(),
            "nodes": {"int8": len(self.int8_nodes), "float": len(self.float_nodes)},
            "float_layers": self.reasons,
            "ranges_grew": self.ranges_grew,
            "repairs": list(self.repairs),
            "warnings": list(self.warnings),
            "seconds": round(self.seconds, 2),
        }


def accuracy(comparison: Comparison | None) -> dict[str, float] | None:
    """Return the JSON object of top-1 in both models, or None without labels."""
    if comparison is None or comparison.drop is None:
        return None
    assert comparison.top1_float is not None  # noqa: S101 - there is a drop
    assert comparison.top1_int8 is not None  # noqa: S101 - there is a drop
    return {
        "float": comparison.top1_float,
        "int8": comparison.top1_int8,
        "drop": round(comparison.drop, 6),
    }


def finite(ratio: float) -> float | None:
    """Return a number that JSON can hold: equal outputs have no finite ratio."""
    return round(ratio, 4) if abs(ratio) != float("inf") else None
