"""The child process: everything that needs TensorFlow. Started by `toolkit.exporting.child`.

``python -m toolkit.exporting.worker JOB.json`` reads the job, writes its results beside that file
and reports on stdout, one JSON object a line:

    {"stage": "loading the model"}     what it does now
    {"done": 256}                      samples worked off since the last such line
    {"result": {...}}                  the end
    {"error": "ModelError", "message": "..."}    the end, with the name of a class of toolkit.errors
"""

import contextlib
import dataclasses
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import DataError, RecipeError, ToolkitError
from toolkit.exporting import child, promises, references
from toolkit.exporting.keras_contract import exported_inputs
from toolkit.exporting.promises import promise
from toolkit.exporting.sources.loading import load
from toolkit.exporting.sources.model import SourceModel, refusing
from toolkit.exporting.sources.source import Source
from toolkit.runtime.feeding import to_batch

Report = Callable[..., None]


def main() -> None:
    """Do the job named on the command line."""
    job_file = Path(sys.argv[1])
    # When memory runs out, this process is the one to end, and not another of the user's.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
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
    report(stage="loading the model")
    model = load(Source.from_job(job))
    promised = promise(model.contract, promises.from_job(job["promises"]))
    model = dataclasses.replace(model, contract=promised)
    batch = _batch(model, job)
    inputs = exported_inputs(model.contract.inputs, job["input"])
    images_file = folder / child.IMAGES
    if len(inputs) > 1 and images_file.exists():
        raise DataError(
            f"'{job['source']}' has {len(inputs)} inputs; --data fits models with one. "
            "Leave --data out."
        )
    images = np.load(images_file) if images_file.exists() else None
    model.refuse()
    report(stage=f"computing the outputs of {model.computed_by}")
    cases = references.make_cases(model, inputs, images, batch)
    references.save(cases, folder / child.CASES)
    report(stage="converting")
    with refusing(job["source"], "cannot be converted"):
        converted = model.convert(job["opset"], batch)
    (folder / child.MODEL).write_bytes(converted.SerializeToString())
    return {
        "contract": references.with_real_shapes(model.contract, cases).to_dict(),
        "batch": batch,
        "computed_by": model.computed_by,
        "arithmetic": model.arithmetic,
        "layers": dict(model.layers),
        "versions": dict(model.versions),
    }


def _outputs(job: dict[str, Any], folder: Path, report: Report) -> dict[str, Any]:
    """Run a model on images; writes its outputs."""
    report(stage="loading the model")
    model = load(Source.from_job(job))
    images = np.load(folder / child.IMAGES, mmap_mode="r")
    inputs = model.contract.inputs
    if len(inputs) > 1:
        raise DataError(f"'{job['source']}' has {len(inputs)} inputs; images fit one.")
    report(stage=f"running {model.computed_by}")
    batches = []
    size = model.batch or job["batch_size"]
    for start in range(0, len(images), size):
        part = to_batch(np.asarray(images[start : start + size]), inputs[0])
        batches.append(references.run(model, inputs, [part]))
        report(done=len(part))
    joined = [np.concatenate(parts) for parts in zip(*batches, strict=True)]
    np.savez(folder / child.OUTPUTS, *joined)
    return {}


TASKS: dict[str, Callable[[dict[str, Any], Path, Report], dict[str, Any]]] = {
    "export": _export,
    "outputs": _outputs,
}


def _batch(model: SourceModel, job: dict[str, Any]) -> int | None:
    """Return the batch size to fix: the one asked for, or what the source has fixed."""
    wanted: int | None = job["batch"]
    if model.batch is not None and wanted not in (None, model.batch):
        raise RecipeError(
            f"'{job['source']}' has the fixed batch size {model.batch}; leave --batch {wanted} out."
        )
    return model.batch or wanted


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
