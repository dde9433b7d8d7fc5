"""The processes that bench/coverage.py starts; each prints one JSON object a line.

    python bench/coverage_worker.py layers          names of layer cases on stdin, one a line
    python bench/coverage_worker.py build NAME DIR  a network of keras.applications into DIR
    python bench/coverage_worker.py export DIR      that network, by `toolkit.export`

Layer cases share one process, and with it the import of TensorFlow: there the exporter's own child
process is left out, and its work done in place. Whatever else `toolkit.export` does is done.
"""

import json
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
from coverage_layers import CASES, Case

from toolkit.errors import CheckFailedError, ToolkitError
from toolkit.exporting import child, export, parity

LIMIT = 1e-4
BATCH = 3
_SEED = 0

Array = npt.NDArray[Any]


def main() -> None:
    """Do what the command line says."""
    warnings.simplefilter("ignore")
    task, *arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        if task == "layers":
            for line in sys.stdin:
                answer(try_layer(CASES[line.strip()], Path(folder)))
        elif task == "build":
            build_network(arguments[0], Path(arguments[1]))
        else:
            answer(export_network(Path(arguments[0])))


def answer(result: dict[str, Any]) -> None:
    """Send a result to bench/coverage.py."""
    sys.__stdout__.write(json.dumps(result) + "\n")
    sys.__stdout__.flush()


def try_layer(case: Case, folder: Path) -> dict[str, Any]:
    """Export the model of a case, and compare the file with Keras."""
    from toolkit.quiet_tensorflow import import_tensorflow

    tensorflow = import_tensorflow()
    import keras

    keras.backend.clear_session()
    keras.utils.set_random_seed(_SEED)
    source, target = folder / "model.keras", folder / "model.onnx"
    try:
        model = randomise(case.build(keras))
        model.save(source)
        with mock.patch.object(child, "run", run_here):
            exported = export(source, target, input="float32", force=True)
        generator = np.random.default_rng(_SEED)
        feeds = [
            [draw(case, tensor, generator, batch) for tensor in model.inputs]
            for batch in (BATCH, 1)
        ]
        expected = [
            [
                np.asarray(output)
                for output in keras.tree.flatten(
                    model(
                        keras.tree.pack_sequence_as(
                            model._inputs_struct, list(map(tensorflow.constant, feed))
                        ),
                        training=False,
                    )
                )
            ]
            for feed in feeds
        ]
        return {**compare(target, feeds, expected), "nodes": exported.nodes}
    except Exception as error:  # whatever it is, it is this case's result
        return verdict_of(error, source)


def run_here(job: dict[str, Any], folder: Path, listener: Any, **_: Any) -> dict[str, Any]:
    """Stand in for the exporter's child process: the same work, in this process."""
    from toolkit.exporting import worker

    def report(**message: Any) -> None:
        listener(message)

    return worker.TASKS[job["task"]](job, folder, report)


def randomise(model: Any) -> Any:
    """Give weights, biases and statistics values for which a lost one shows."""
    generator = np.random.default_rng(_SEED)
    for weight in model.weights:
        if str(weight.dtype).startswith("float"):
            values = generator.normal(0, 0.5, weight.shape)
            positive = any(part in weight.path for part in ("variance", "gamma"))
            weight.assign(np.abs(values) + 0.3 if positive else values)
    for layer in model._flatten_layers():
        if hasattr(layer, "finalize_state"):  # Normalization keeps what it computes with aside
            layer.finalize_state()
    return model


def draw(case: Case, tensor: Any, generator: np.random.Generator, batch: int) -> Array:
    """Return random values for an input; a size that is open becomes 12."""
    shape = (batch, *(12 if size is None else size for size in tensor.shape[1:]))
    if tensor.dtype.startswith("float"):
        values = generator.uniform(case.low, case.high, shape)
    else:
        values = generator.integers(int(case.low), int(case.high), shape)
    if case.gaps:
        values[0, 2:4] = 0
        values[-1, -2:] = 0
    return values.astype(tensor.dtype)


def compare(
    path: Path, feeds: Sequence[Sequence[Array]], expected: Sequence[Sequence[Array]]
) -> dict[str, Any]:
    """Run a file as any application would, with all optimizations and with none."""
    import onnxruntime

    figures = {}
    levels = onnxruntime.GraphOptimizationLevel
    for way, level in (("optimized", levels.ORT_ENABLE_ALL), ("plain", levels.ORT_DISABLE_ALL)):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [entry.name for entry in session.get_inputs()]
        results = [session.run(None, dict(zip(names, feed, strict=True))) for feed in feeds]
        figures[way] = max(
            parity.difference(ours, theirs)[1]
            for ours, theirs in zip(
                zip(*expected, strict=True), zip(*results, strict=True), strict=True
            )
        )
    verdict = "right" if max(figures.values()) < LIMIT else "wrong"
    return {"verdict": verdict, **figures, "size_mib": path.stat().st_size / 2**20}


def verdict_of(error: Exception, source: Path) -> dict[str, Any]:
    """Tell a refusal that names the layer from everything else."""
    reason = " ".join(str(error).replace(f"'{source}': ", "").split()) or type(error).__name__
    refused = isinstance(error, ToolkitError) and not isinstance(error, CheckFailedError)
    if refused and "the layer '" in reason:
        return {"verdict": "refused", "reason": reason}
    kind = "" if isinstance(error, ToolkitError) else f"{type(error).__name__}: "
    return {"verdict": "failed", "reason": f"{kind}{reason[:400]}"}


def build_network(name: str, folder: Path) -> None:
    """Save a network, samples for it, and Keras' outputs for them."""
    import coverage_networks

    from toolkit.quiet_tensorflow import import_tensorflow

    import_tensorflow()
    import keras

    keras.utils.set_random_seed(_SEED)
    model = coverage_networks.build(name)
    samples = coverage_networks.draw(model, BATCH, seed=_SEED + 1)
    np.savez(folder / "samples.npz", inputs=samples, outputs=np.asarray(model(samples)))
    model.save(folder / "model.keras")
    answer({"parameters": model.count_params(), "size": samples.shape[1]})


def export_network(folder: Path) -> dict[str, Any]:
    """Export a saved network as a user would, and compare the file with Keras."""
    source, target = folder / "model.keras", folder / "model.onnx"
    started = time.perf_counter()
    try:
        exported = export(source, target, input="float32", force=True)
        seconds = time.perf_counter() - started
        peaks = {
            "peak_mib": _peak(resource.RUSAGE_CHILDREN),
            "parent_peak_mib": _peak(resource.RUSAGE_SELF),
        }
        with np.load(folder / "samples.npz") as samples:
            feed, outputs = samples["inputs"], samples["outputs"]
        figures = compare(target, [[feed], [feed[:1]]], [[outputs], [outputs[:1]]])
    except Exception as error:  # whatever it is, it is this network's result
        return verdict_of(error, source) | {"peak_mib": _peak(resource.RUSAGE_CHILDREN)}
    return {**figures, "nodes": exported.nodes, "seconds": seconds, **peaks}


def _peak(who: int) -> float:
    return resource.getrusage(who).ru_maxrss / 1024


if __name__ == "__main__":
    main()
