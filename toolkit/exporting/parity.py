"""Compares what onnxruntime computes with what Keras computed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.contract import Contract
from toolkit.errors import CheckFailedError
from toolkit.exporting.references import Case
from toolkit.runtime.session import create_session, import_onnxruntime

LIMIT = 1e-4

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Difference:
    """How far one output is from Keras' in one way of running.

    Attributes:
        output: The output's name.
        optimized: Whether onnxruntime ran with all of its graph optimizations, or with none.
        max_abs_diff: max |a - b| over all samples, a being Keras' output.
        max_rel_diff: max |a - b| / max |a|.
    """

    output: str
    optimized: bool
    max_abs_diff: float
    max_rel_diff: float


@dataclass(frozen=True)
class Parity:
    """The comparison with Keras: every output, with all optimizations and with none.

    Attributes:
        real: Samples of a dataset that were compared.
        random: Random samples that were compared.
        batches: The batch sizes, ascending.
        differences: One for each output and way of running.
        limit: The largest relative difference that passes.
        runtime: Name and version of the runtime.
    """

    real: int
    random: int
    batches: tuple[int, ...]
    differences: tuple[Difference, ...]
    limit: float
    runtime: str

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
        }


def compare(
    model: bytes, contract: Contract, cases: Sequence[Case], limit: float = LIMIT
) -> Parity:
    """Run an ONNX model on the cases and compare its outputs with Keras'.

    Args:
        model: The serialized ONNX model.
        contract: Its contract; names the inputs and outputs in the order of the cases.
        cases: Inputs and Keras' outputs.
        limit: The largest relative difference that passes.

    Raises:
        ModelError: onnxruntime cannot load the model.
        MissingPackageError: onnxruntime is not installed.
    """
    real = {case.batch for case in cases if case.source == "real"}
    random = {case.batch for case in cases if case.source == "random"}
    return Parity(
        # A single sample is the first of the larger batch: it does not count twice.
        real=max(real, default=0),
        random=sum(random),
        batches=tuple(sorted(real | random)),
        differences=tuple(_differences(model, contract, cases)),
        limit=limit,
        runtime=f"onnxruntime {import_onnxruntime().__version__}",
    )


def require(parity: Parity, source: str) -> None:
    """Raise when the comparison failed.

    Raises:
        CheckFailedError: Names the output, the figure and the limit.
    """
    if parity.passed:
        return
    worst = parity.worst
    how = "with its optimizations" if worst.optimized else "without optimizations"
    raise CheckFailedError(
        f"'{source}': the output '{worst.output}' differs from Keras by {worst.max_rel_diff:.1e} "
        f"(max |a-b| / max |a|; the limit is {parity.limit:g}) in {parity.runtime} {how}. "
        "Nothing was written."
    )


def _differences(model: bytes, contract: Contract, cases: Sequence[Case]) -> Iterator[Difference]:
    names = [spec.name for spec in contract.outputs]
    for optimized in (True, False):
        session = create_session(model, provider="cpu", optimize=optimized)
        results = [
            session.run(
                names,
                {
                    spec.name: tensor
                    for spec, tensor in zip(contract.inputs, case.inputs, strict=True)
                },
            )
            for case in cases
        ]
        for index, name in enumerate(names):
            absolute, relative = difference(
                [case.outputs[index] for case in cases], [result[index] for result in results]
            )
            yield Difference(name, optimized, absolute, relative)


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
