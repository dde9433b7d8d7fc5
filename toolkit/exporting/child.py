"""Starts the child process that holds TensorFlow, and turns whatever happens to it into one line.

The parent never imports TensorFlow: its start takes seconds, its log cannot be silenced from
inside, and a crash or a lack of memory in it must not take the caller along.
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from toolkit import errors
from toolkit.errors import MissingPackageError, ModelError
from toolkit.quiet_tensorflow import INSTALL

# -P keeps a file named keras.py in the current folder from being imported in Keras' place.
COMMAND = (sys.executable, "-P", "-m", "toolkit.exporting.worker")
TIMEOUT_S = 3600.0
_JOB = "job.json"

# Files in the folder that parent and child share.
IMAGES = "images.npy"  # samples of a dataset, for the child
MODEL = "model.onnx"  # from the child: what tf2onnx made
CASES = "cases.npz"  # from the child: inputs and Keras' outputs
OUTPUTS = "outputs.npz"  # from the child: Keras' outputs for the images

_MORE_MEMORY = "Close other programs, or use a machine with more."
# What the loader, C++, Python and the kernel say on stderr when memory ran out.
_NO_MEMORY = (
    "failed to map segment from shared object", "std::bad_alloc", "MemoryError",
    "Cannot allocate memory",
)  # fmt: skip

Listener = Callable[[dict[str, Any]], None]


@contextmanager
def workshop() -> Iterator[Path]:
    """Give a temporary folder for the files that parent and child exchange."""
    with tempfile.TemporaryDirectory(prefix="toolkit-") as folder:
        yield Path(folder)


def require_tensorflow() -> None:
    """Check that TensorFlow and tf2onnx are installed, without importing them.

    Raises:
        MissingPackageError: One is not; the message holds the command.
    """
    for package in ("tensorflow", "tf2onnx"):
        if importlib.util.find_spec(package) is None:
            raise MissingPackageError(
                f"Keras models need {package}, which is not installed: {INSTALL}"
            )


def run(
    job: dict[str, Any],
    folder: Path,
    listener: Listener,
    *,
    timeout_s: float = TIMEOUT_S,
) -> dict[str, Any]:
    """Run a job in the child process and return its result.

    Args:
        job: What to do; see `toolkit.exporting.worker`. "source" names the model in messages.
        folder: From `workshop`; the child reads and writes its files there.
        listener: Called with each message that the child sends on its way.
        timeout_s: Seconds after which the child is killed.

    Raises:
        ModelError: The child crashed, ran out of memory or time, or refused the model.
        ToolkitError: The subclass that the child named.
    """
    job_file = folder / _JOB
    job_file.write_text(json.dumps(job), encoding="utf-8")
    with (folder / "stderr").open("w+b") as log:
        # A session of its own: Ctrl-C reaches the parent alone, which then kills the child.
        process = subprocess.Popen(
            [*COMMAND, str(job_file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=_environment(),
            start_new_session=True,
        )
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(timeout_s, expire)
        timer.daemon = True
        timer.start()
        try:
            last = _listen(process, listener)
            status = process.wait()
        finally:
            timer.cancel()
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        if "result" in last:
            return dict(last["result"])
        if "error" in last:
            raise getattr(errors, last["error"])(last["message"])
        raise ModelError(
            _obituary(job["source"], status, timeout_s if expired.is_set() else None, log)
        )


def _listen(process: subprocess.Popen[bytes], listener: Listener) -> dict[str, Any]:
    """Pass the child's messages on and return the last one."""
    last: dict[str, Any] = {}
    assert process.stdout is not None  # noqa: S101 - it was asked for
    for line in process.stdout:
        try:
            last = json.loads(line)
        except ValueError:  # the child died in the middle of a line
            return {}
        listener(last)
    return last


def _environment() -> dict[str, str]:
    """Let the child find this package, wherever it is, and keep it on the CPU and quiet."""
    home = str(Path(errors.__file__).resolve().parent.parent)
    path = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": f"{home}{os.pathsep}{path}" if path else home,
        "CUDA_VISIBLE_DEVICES": "-1",
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def _obituary(source: str, status: int, timeout_s: float | None, log: IO[bytes]) -> str:
    """Say in one line why the child ended without a result."""
    if timeout_s is not None:
        return (
            f"'{source}': loading and converting took longer than {timeout_s:g} seconds and was "
            "stopped. Allow more with --timeout-s."
        )
    if status == -signal.SIGKILL:
        return (
            f"'{source}': the process that converts it was killed, most likely because the memory "
            f"ran out. {_MORE_MEMORY}"
        )
    log.seek(0)
    text = log.read().decode(errors="replace").strip()
    if any(sign in text for sign in _NO_MEMORY):
        return f"'{source}' needs more memory than there is. {_MORE_MEMORY}"
    if status < 0:
        # An allocation that fails inside of a library ends as a crash.
        return (
            f"'{source}': the process that converts it crashed ({signal.Signals(-status).name}); "
            f"the file may be damaged, or the memory ran out. {_MORE_MEMORY}"
        )
    lines = text.splitlines()
    reason = f" ({' '.join(lines[-1].split())[:300]})" if lines else ""
    return f"'{source}': the process that converts it ended with status {status}{reason}."
