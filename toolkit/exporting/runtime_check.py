"""Loads and runs a model in another version of onnxruntime, in a throw-away folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import CheckFailedError
from toolkit.exporting import parity, runtime_probe
from toolkit.exporting.references import Case
from toolkit.exporting.runtime_install import call, install
from toolkit.exporting.runtimes import Runtime

_TIMEOUT_S = 600


@dataclass(frozen=True)
class RuntimeCheck:
    """How far the model is from its source in another version of onnxruntime.

    Attributes:
        name: The runtime as it was asked for.
        version: The version that ran.
        max_abs_diff: max |a - b| over all outputs and samples, with all graph optimizations and
            with none.
        max_rel_diff: max |a - b| / max |a|.
        limit: The largest relative difference that passes.
    """

    name: str
    version: str
    max_abs_diff: float
    max_rel_diff: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the difference is within the limit."""
        return self.max_rel_diff <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object that stands in results and in the contract's evidence."""
        return {
            "name": self.name,
            "runtime": f"onnxruntime {self.version}",
            "max_abs_diff": self.max_abs_diff,
            "max_rel_diff": self.max_rel_diff,
            "limit": self.limit,
            "passed": self.passed,
        }


def check_runtime(
    runtime: Runtime,
    model: bytes,
    cases: Sequence[Case],
    folder: Path,
    source: str,
    limit: float = parity.LIMIT,
    computed_by: str = "Keras",
) -> RuntimeCheck:
    """Install a version of onnxruntime into a folder and compare the model with its source there.

    Python's wheel stands for the other packages of the same version: they share the code that
    reads and runs a model on the CPU.

    Args:
        runtime: The version.
        model: The serialized ONNX model.
        cases: Inputs and the source's outputs.
        folder: An empty folder, 100 MB for the packages and the files of the check.
        source: What to call the source.
        limit: The largest relative difference that passes.
        computed_by: What computed the outputs of the cases.

    Raises:
        ToolkitError: The version cannot be installed here.
        CheckFailedError: The model does not load there, or computes something else.
    """
    installed = install(runtime, folder / "packages")
    (folder / "model.onnx").write_bytes(model)
    inputs = {
        f"{index}/input/{number}": tensor
        for index, case in enumerate(cases)
        for number, tensor in enumerate(case.inputs)
    }
    np.savez(folder / "inputs.npz", **inputs)  # type: ignore[arg-type]  # stubs see allow_pickle
    files = [folder / name for name in ("model.onnx", "inputs.npz", "results.npz")]
    command = [installed.python, "-I", "-S", runtime_probe.__file__, str(installed.packages)]
    finished = call([*command, *map(str, files)], _TIMEOUT_S)
    what = f"'{source}': onnxruntime {runtime.version}"
    if finished.returncode != 0:
        reason = (finished.stderr.strip().splitlines() or [f"status {finished.returncode}"])[-1]
        raise CheckFailedError(
            f"{what} cannot run the model: {reason[:300].rstrip('.')}. Nothing was written."
        )
    figures = [(0.0, 0.0)]
    with np.load(files[2]) as results:
        for way in ("all", "none"):
            for number in range(len(cases[0].outputs)):
                expected = [case.outputs[number] for case in cases]
                found = [results[f"{index}/{way}/{number}"] for index in range(len(cases))]
                figures.append(parity.difference(expected, found))
        version = str(results["version"])
    check = RuntimeCheck(
        name=runtime.name,
        version=version,
        max_abs_diff=max(absolute for absolute, _ in figures),
        max_rel_diff=max(relative for _, relative in figures),
        limit=limit,
    )
    if not check.passed:
        raise CheckFailedError(
            f"{what} computes something else than {computed_by}: max |a-b| / max |a| is "
            f"{check.max_rel_diff:.1e}, the limit is {limit:g}. Nothing was written."
        )
    return check
