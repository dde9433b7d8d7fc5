"""What a model costs an application that starts: import, load, first run, and peak memory.

Each figure comes from a fresh process of its own, started as
``python -m toolkit.measuring.cold_start JOB``; in a process that already holds another model,
neither memory nor the first run can be told apart. A process without a model tells what numpy and
onnxruntime alone take.
"""

import dataclasses
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import ModelError, ToolkitError
from toolkit.measuring.options import DEFAULTS, RuntimeOptions

_MIB = 1 << 20
_CALLS = 10  # after the first: the arena grows to its working size within a few runs
_TIMEOUT_S = 600


@dataclass(frozen=True)
class ColdStart:
    """One process, or the medians of several.

    Attributes:
        import_ms: Importing numpy and onnxruntime.
        load_ms: Opening the session, graph optimization included; the file is in the page cache.
        first_run_ms: The first call.
        peak_rss_mib: Highest resident memory of the process.
    """

    import_ms: float
    load_ms: float
    first_run_ms: float
    peak_rss_mib: float


def cold_start(
    path: Path | None,
    feeds: Mapping[str, tuple[str, tuple[int, ...]]],
    *,
    provider: str = "cpu",
    threads: int | None = None,
    options: RuntimeOptions = DEFAULTS,
) -> ColdStart:
    """Start a process that opens a model and runs it a few times on zeros.

    Args:
        path: The model; None measures the bare runtime, whose load and first run are 0.
        feeds: Dtype and shape of each input, by name.
        provider: As `toolkit.runtime.session.create_session` takes it.
        threads: The same.
        options: How onnxruntime runs it; its ``cpus`` are those of this process.

    Raises:
        ModelError: The process failed, or was killed.
    """
    job = {
        "path": None if path is None else os.fspath(path),
        "feeds": {name: [dtype, list(shape)] for name, (dtype, shape) in feeds.items()},
        "provider": provider,
        "threads": threads,
        "options": dataclasses.asdict(options),
    }
    # -P keeps the current folder, which may hold a numpy.py, out of the module search path.
    package_root = str(Path(__file__).resolve().parents[2])
    search_path = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
    what = "The bare runtime" if path is None else f"'{path}'"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "toolkit.measuring.cold_start", json.dumps(job)],
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
            env={**os.environ, "PYTHONPATH": search_path},
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"{what} did not finish {_CALLS + 1} runs in {_TIMEOUT_S} seconds in a process of "
            "its own; give it a smaller --batch."
        ) from error
    answer = done.stdout.strip().rpartition("\n")[2]
    if done.returncode != 0 or not answer.startswith("{"):
        raise ModelError(f"{what} could not run in a process of its own: {_reason(done)}.")
    document = json.loads(answer)
    if "error" in document:
        raise ModelError(document["error"])
    return ColdStart(**document)


def median(starts: list[ColdStart]) -> ColdStart:
    """Return the median of each figure."""
    return ColdStart(
        import_ms=statistics.median(start.import_ms for start in starts),
        load_ms=statistics.median(start.load_ms for start in starts),
        first_run_ms=statistics.median(start.first_run_ms for start in starts),
        peak_rss_mib=statistics.median(start.peak_rss_mib for start in starts),
    )


def _reason(done: "subprocess.CompletedProcess[str]") -> str:
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        hint = ", perhaps for lack of memory" if name == "SIGKILL" else ""
        return f"it was ended by {name}{hint}"
    lines = done.stderr.strip().splitlines()
    return lines[-1].rstrip(".") if lines else f"it exited with {done.returncode}"


def _peak_rss_mib() -> float:
    """Return this process's peak resident memory.

    Linux keeps VmHWM per address space. ``ru_maxrss`` survives exec there: a small process that
    a large one started would report its parent's memory.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return next(
            int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")
        )
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / _MIB if sys.platform == "darwin" else peak / 1024


def _run(job: dict[str, Any]) -> ColdStart:
    start = time.perf_counter()
    import numpy as np

    from toolkit.runtime.session import create_session, import_onnxruntime

    import_onnxruntime()
    imported = time.perf_counter()
    if job["path"] is None:
        return ColdStart((imported - start) * 1e3, 0.0, 0.0, _peak_rss_mib())
    session = create_session(
        job["path"],
        provider=job["provider"],
        threads=job["threads"],
        configure=RuntimeOptions(**job["options"]).configure,
    )
    loaded = time.perf_counter()
    feeds = {name: np.zeros(shape, dtype) for name, (dtype, shape) in job["feeds"].items()}
    names = [output.name for output in session.get_outputs()]
    before = time.perf_counter()
    session.run(names, feeds)
    after = time.perf_counter()
    for _ in range(_CALLS):
        session.run(names, feeds)
    return ColdStart(
        import_ms=(imported - start) * 1e3,
        load_ms=(loaded - imported) * 1e3,
        first_run_ms=(after - before) * 1e3,
        peak_rss_mib=_peak_rss_mib(),
    )


def _main() -> None:
    try:
        document = vars(_run(json.loads(sys.argv[1])))
    except ToolkitError as error:
        document = {"error": str(error)}
    sys.stdout.write(json.dumps(document) + "\n")


if __name__ == "__main__":
    _main()
