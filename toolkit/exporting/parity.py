"""Compares what onnxruntime computes with what the source computed: Keras, for most models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from toolkit.contract import Contract
from toolkit.errors import CheckFailedError, ModelError
from toolkit.exporting import bisection
from toolkit.exporting.references import Case
from toolkit.exporting.sources.model import Arithmetic
from toolkit.runtime.session import create_session, import_onnxruntime

LIMIT = 1e-4
# float16 has 11 significant bits: every operation may be 5e-4 off, in Keras as in onnxruntime.
HALF_PRECISION_LIMIT = 5e-3
# TensorFlow Lite rounds activations while it runs where only weights are quantized, and its own
# integer kernels differ from one another by 2e-2 of the range; a lost layer or scale shows in more.
APPROXIMATE_LIMIT = 5e-2
# The same integers in the same runtime: a value on the edge may tip into the next of 255 codes,
# whose range is at most twice the largest value.
INTEGER_LIMIT = 2 / 255
_NOTHING = "Nothing was written."

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Difference:
    """How far one output is from the source's in one way of running.

    Attributes:
        output: The output's name.
        optimized: Whether onnxruntime ran with all of its graph optimizations, or with none.
        max_abs_diff: max |a - b| over all samples, a being the source's output; infinite when the
            model does not load or run that way.
        max_rel_diff: max |a - b| / max |a|.
    """

    output: str
    optimized: bool
    max_abs_diff: float
    max_rel_diff: float


@dataclass(frozen=True)
class Parity:
    """The comparison with the source: every output, with all optimizations and with none.

    Attributes:
        real: Samples of a dataset that were compared.
        random: Random samples that were compared.
        batches: The batch sizes, ascending.
        differences: One for each output and way of running.
        limit: The largest relative difference that passes.
        runtime: Name and version of the runtime.
        computed_by: What computed the source's outputs, such as "Keras".
    """

    real: int
    random: int
    batches: tuple[int, ...]
    differences: tuple[Difference, ...]
    limit: float
    runtime: str
    computed_by: str = "Keras"

    @property
    def worst(self) -> Difference:
        """The largest relative difference."""
        return max(self.differences, key=lambda difference: difference.max_rel_diff)

    @property
    def passed(self) -> bool:
        """Whether every output is within the limit in every way of running."""
        return self.worst.max_rel_diff <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object that stands in results and in the contract's evidence."""
        return {
            "samples": self.real + self.random,
            "real_samples": self.real,
            "random_samples": self.random,
            "batches": list(self.batches),
            "max_abs_diff": max(entry.max_abs_diff for entry in self.differences),
            "max_rel_diff": self.worst.max_rel_diff,
            "limit": self.limit,
            "passed": self.passed,
            "runtime": self.runtime,
            "computed_by": self.computed_by,
        }


def limit_of(model: ir.Model, arithmetic: Arithmetic = "float") -> float:
    """Return the limit for a model: `LIMIT`, or a wider one where it computes in less than float32.

    Args:
        model: The converted model.
        arithmetic: What the source computes in.
    """
    if arithmetic != "float":
        return INTEGER_LIMIT if arithmetic == "integer" else APPROXIMATE_LIMIT
    half = any(
        value.dtype == ir.DataType.FLOAT16
        for node in model.graph.all_nodes()
        for value in node.inputs
        if value is not None
    )
    return HALF_PRECISION_LIMIT if half else LIMIT


def compare(
    model: bytes,
    contract: Contract,
    cases: Sequence[Case],
    limit: float = LIMIT,
    computed_by: str = "Keras",
) -> Parity:
    """Run an ONNX model on the cases and compare its outputs with the source's.

    Args:
        model: The serialized ONNX model.
        contract: Its contract; names the inputs and outputs in the order of the cases.
        cases: Inputs and the source's outputs.
        limit: The largest relative difference that passes.
        computed_by: What computed these outputs.

    Raises:
        ModelError: onnxruntime cannot load the model, even without its optimizations.
        MissingPackageError: onnxruntime is not installed.
    """
    real = {case.batch for case in cases if case.source == "real"}
    random = {case.batch for case in cases if case.source == "random"}
    plain = create_session(model, provider="cpu", optimize=False)
    try:
        optimized = create_session(model, provider="cpu", optimize=True)
    except ModelError:
        optimized = None
    return Parity(
        # A single sample is the first of the larger batch: it does not count twice.
        real=max(real, default=0),
        random=sum(random),
        batches=tuple(sorted(real | random)),
        differences=tuple(
            Difference(name, how, *figures)
            for session, how in ((optimized, True), (plain, False))
            for name, figures in _differences(session, contract, cases).items()
        ),
        limit=limit,
        runtime=f"onnxruntime {import_onnxruntime().__version__}",
        computed_by=computed_by,
    )


def require(
    parity: Parity,
    model: bytes,
    contract: Contract,
    cases: Sequence[Case],
    source: str,
) -> None:
    """Raise when the comparison failed; find the optimizer when it is one of onnxruntime's.

    Args:
        parity: What `compare` returned for the other arguments.
        model: The serialized ONNX model.
        contract: Its contract.
        cases: Inputs and the source's outputs.
        source: What to call the source.

    Raises:
        CheckFailedError: Names the output, the figure and the limit.
    """
    if parity.passed:
        return
    worst = parity.worst
    plain = max(entry.max_rel_diff for entry in parity.differences if not entry.optimized)
    if plain > parity.limit:
        raise CheckFailedError(
            f"'{source}': the output '{worst.output}' differs from {parity.computed_by} "
            f"in {parity.runtime}: "
            f"{_figure(worst.max_rel_diff, parity.limit)}. {_NOTHING}"
        )

    def is_right(session: Any) -> bool:
        found = _differences(session, contract, cases).values()
        return all(relative <= parity.limit for _, relative in found)

    guilty = bisection.guilty_optimizers(model, is_right)
    names = " and ".join(f"'{name}'" for name in guilty) or "none that can be left out by name"
    raise CheckFailedError(
        f"'{source}': {parity.runtime} gets the output '{worst.output}' wrong when it optimizes "
        f"the graph: {_figure(worst.max_rel_diff, parity.limit)} with its optimizations, "
        f"{plain:.1e} without; the optimizer at fault is {names}. {_NOTHING}"
    )


def _figure(relative: float, limit: float) -> str:
    if relative == float("inf"):
        return "it does not run, or gives another shape or infinities"
    return f"max |a-b| / max |a| is {relative:.1e}, the limit is {limit:g}"


def _differences(
    session: Any | None, contract: Contract, cases: Sequence[Case]
) -> dict[str, tuple[float, float]]:
    """Return the absolute and the relative difference of each output in one session."""
    names = [spec.name for spec in contract.outputs]
    failed = dict.fromkeys(names, (float("inf"), float("inf")))
    if session is None:
        return failed
    inputs = [spec.name for spec in contract.inputs]
    try:
        results = [
            session.run(names, dict(zip(inputs, case.inputs, strict=True))) for case in cases
        ]
    except Exception:  # onnxruntime's exceptions share no other base class
        return failed
    return {
        name: difference(
            [case.outputs[index] for case in cases], [result[index] for result in results]
        )
        for index, name in enumerate(names)
    }


def difference(expected: Sequence[Array], actual: Sequence[Array]) -> tuple[float, float]:
    """Return max |a - b| and max |a - b| / max |a| over pairs of arrays.

    Entries that are equal, both NaN or the same infinity do not differ; an entry that is finite
    in one and not in the other, or another shape, makes both figures infinite.
    """
    absolute, scale = 0.0, 0.0
    for a, b in zip(expected, actual, strict=True):
        if a.shape != b.shape:
            return float("inf"), float("inf")
        wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
        same = (wide_a == wide_b) | (np.isnan(wide_a) & np.isnan(wide_b))
        finite = np.isfinite(wide_a) & np.isfinite(wide_b)
        if not np.all(same | finite):
            return float("inf"), float("inf")
        gaps = np.abs(np.subtract(wide_a, wide_b, where=finite, out=np.zeros_like(wide_a)))
        absolute = max(absolute, float(np.max(gaps, initial=0.0)))
        scale = max(scale, float(np.max(np.abs(wide_a), initial=0.0, where=finite)))
    if absolute == 0.0:
        return 0.0, 0.0
    return absolute, absolute / scale if scale else float("inf")
