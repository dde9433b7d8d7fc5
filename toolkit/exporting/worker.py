"""The child process: everything that needs TensorFlow. Started by `toolkit.exporting.child`.

``python -m toolkit.exporting.worker JOB.json`` reads the job, writes its results beside that file
and reports on stdout, one JSON object a line:

    {"stage": "loading the model"}     what it does now
    {"done": 256}                      samples worked off since the last such line
    {"result": {...}}                  the end
    {"error": "ModelError", "message": "..."}    the end, with the name of a class of toolkit.errors
"""

import json
import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from toolkit import contract as contracts
from toolkit.errors import DataError, ModelError, ToolkitError
from toolkit.exporting import child, keras_contract, keras_graph, references, refusals
from toolkit.exporting.keras_contract import exported_inputs
from toolkit.exporting.sources import refuse_code
from toolkit.quiet_tensorflow import import_tensorflow
from toolkit.runtime.feeding import to_batch

Report = Callable[..., None]


def main() -> None:
    """Do the job named on the command line."""
    job_file = Path(sys.argv[1])
    threading.Thread(target=_leave_with_parent, args=[job_file.parent], daemon=True).start()
    # What TensorFlow and Keras print goes to stderr; stdout is for the parent alone.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def report(**message: Any) -> None:
        try:
            channel.write(json.dumps(message) + "\n")
            channel.flush()
        except BrokenPipeError:
            _leave(job_file.parent)

    job = json.loads(job_file.read_text(encoding="utf-8"))
    try:
        result = TASKS[job["task"]](job, job_file.parent, report)
    except ToolkitError as error:
        report(error=type(error).__name__, message=str(error))
    except Exception as error:
        # TensorFlow has its own class for a lack of memory, which cannot be named before it is
        # imported. Anything else is a bug and keeps its traceback.
        if type(error).__name__ not in ("MemoryError", "ResourceExhaustedError"):
            raise
        report(error="ModelError", message=f"'{job['source']}' needs more memory than there is.")
    else:
        report(result=result)


def _export(job: dict[str, Any], folder: Path, report: Report) -> dict[str, Any]:
    """Convert a model; writes the raw ONNX model and the cases for the comparison."""
    model, signature, keras = _load(job, report)
    inputs = exported_inputs(keras.inputs, job["input"])
    images_file = folder / child.IMAGES
    if len(inputs) > 1 and images_file.exists():
        raise DataError(
            f"'{job['source']}' has {len(inputs)} inputs; --data fits models with one. "
            "Leave --data out."
        )
    images = np.load(images_file) if images_file.exists() else None
    refusals.refuse_layers(model, job["source"])
    report(stage="computing Keras' outputs")
    cases = references.make_cases(model, keras, inputs, images, job["batch"])
    references.save(cases, folder / child.CASES)
    report(stage="converting")
    try:
        converted = keras_graph.convert(model, signature, opset=job["opset"], batch=job["batch"])
    except (ValueError, TypeError, KeyError, IndexError, NotImplementedError) as error:
        raise ModelError(f"'{job['source']}' cannot be converted: {_first_line(error)}") from error
    (folder / child.MODEL).write_bytes(converted.SerializeToString())
    return {
        "contract": keras.to_dict(),
        "inexact": refusals.inexact_layers(model),
        "layers": refusals.layer_classes(model),
        "versions": _versions(),
    }


def _outputs(job: dict[str, Any], folder: Path, report: Report) -> dict[str, Any]:
    """Run a model on images; writes its outputs."""
    model, _, keras = _load(job, report)
    images = np.load(folder / child.IMAGES, mmap_mode="r")
    if len(keras.inputs) > 1:
        raise DataError(f"'{job['source']}' has {len(keras.inputs)} inputs; images fit one.")
    report(stage="running Keras")
    batches = []
    size = job["batch_size"]
    for start in range(0, len(images), size):
        part = to_batch(np.asarray(images[start : start + size]), keras.inputs[0])
        batches.append(references.run(model, keras.inputs, keras.inputs, [part]))
        report(done=len(part))
    joined = [np.concatenate(parts) for parts in zip(*batches, strict=True)]
    np.savez(folder / child.OUTPUTS, *joined)
    return {}


TASKS: dict[str, Callable[[dict[str, Any], Path, Report], dict[str, Any]]] = {
    "export": _export,
    "outputs": _outputs,
}


def _load(
    job: dict[str, Any], report: Report
) -> tuple[Any, keras_graph.Signature, contracts.Contract]:
    """Load the model, with Keras' safe mode on, and fit its contract."""
    source = job["source"]
    report(stage="loading TensorFlow")
    import_tensorflow()
    import keras

    report(stage="loading the model")
    if job["kind"] == "h5":
        refuse_code(_h5_config(source), source)
    try:
        model = keras.saving.load_model(source, compile=False, safe_mode=True)
        signature = keras_graph.read_signature(model)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OSError) as error:
        raise ModelError(
            f"'{source}' cannot be loaded by Keras {keras.__version__}: {_first_line(error)}"
        ) from error
    known = job["contract"]
    return (
        model,
        signature,
        keras_contract.fit(
            None if known is None else contracts.from_json(json.dumps(known)),
            model,
            signature,
            source,
        ),
    )


def _h5_config(source: str) -> dict[str, Any]:
    """Return the serialized model of an HDF5 file."""
    import h5py

    try:
        with h5py.File(source, "r") as file:
            text = file.attrs.get("model_config")
    except (OSError, KeyError, RuntimeError) as error:
        raise ModelError(f"'{source}' is damaged: {_first_line(error)}") from error
    if text is None:
        raise ModelError(
            f"'{source}' holds weights but no model; save the whole model with model.save()."
        )
    try:
        config = json.loads(text)
    except ValueError as error:
        raise ModelError(f"'{source}': the model's description is damaged ({error}).") from error
    if not isinstance(config, dict):
        raise ModelError(f"'{source}': the model's description is damaged.")
    return config


def _first_line(error: BaseException) -> str:
    """Return the first sentence of a message; Keras' go on with the whole configuration.

    While a model is traced, the message is a stack of calls that ends in the sentence.
    """
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    text = " ".join(lines[-1 if lines[0].startswith("in user code:") else 0].split())
    for tail in (" Full object config", "\n\nconfig=", " Make sure custom classes"):
        text = text.split(tail)[0]
    return text if len(text) <= 300 else f"{text[:300]}..."


def _versions() -> dict[str, str]:
    import keras
    import tensorflow
    import tf2onnx

    return {
        "keras": keras.__version__,
        "tensorflow": tensorflow.__version__,
        "tf2onnx": tf2onnx.__version__,
    }


def _leave_with_parent(folder: Path) -> None:
    """End this process when the parent dies, which closes the pipe; clear up in its place."""
    # Not sys.stdin: this thread would hold its lock when the interpreter ends, which aborts it.
    while os.read(0, 1024):
        pass
    _leave(folder)


def _leave(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    main()
