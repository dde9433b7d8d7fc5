"""Shows a model's graph as onnxruntime's optimizer leaves it."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from toolkit.runtime.session import create_session, import_onnxruntime


def optimized(
    model: onnx.ModelProto, *, layouts: bool = False, disabled_optimizers: Sequence[str] = ()
) -> onnx.ModelProto:
    """Return the graph that onnxruntime runs.

    Args:
        model: Left unchanged.
        layouts: Whether it may choose memory layouts too, as it does by default; the result then
            runs on this machine alone.
        disabled_optimizers: Names of graph optimizers that are left out.

    Raises:
        ModelError: onnxruntime cannot load the model.
    """
    levels = import_onnxruntime().GraphOptimizationLevel
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"

        def configure(options: Any) -> None:
            options.graph_optimization_level = (
                levels.ORT_ENABLE_ALL if layouts else levels.ORT_ENABLE_EXTENDED
            )
            options.optimized_model_filepath = str(path)

        create_session(
            bytes(model.SerializeToString()),
            provider="cpu",
            disabled_optimizers=disabled_optimizers,
            configure=configure,
        )
        return onnx.load(path)
