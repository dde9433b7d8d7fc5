"""Installs one version of onnxruntime into a throw-away folder, for a Python that it was built for.

A wheel is built for a few versions of Python: 1.16 for 3.8 to 3.11, 1.20 for 3.10 to 3.13. Where
the Python that runs the toolkit is none of them, another one on the PATH is taken.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import ToolkitError
from toolkit.exporting.runtimes import Runtime

_TIMEOUT_S = 600
# onnxruntime's wheels up to 1.18 were built against numpy 1.
_NUMPY_2_SINCE = (1, 19)
_MINORS = range(6, 16)  # of Python 3, that may have wheels
_NO_WHEEL = "No matching distribution found"


@dataclass(frozen=True)
class Installed:
    """An installed runtime.

    Attributes:
        python: The interpreter that it was installed for.
        packages: The folder that holds onnxruntime and numpy.
    """

    python: str
    packages: Path


def install(runtime: Runtime, folder: Path) -> Installed:
    """Install a runtime, and the numpy that it was built for, into a folder.

    Raises:
        ToolkitError: It cannot be installed; the message says which Python it needs.
    """
    for python, version in _interpreters():
        finished = call(_pip(runtime, folder, version), _TIMEOUT_S)
        if finished.returncode == 0:
            return Installed(python, folder)
        if _NO_WHEEL not in finished.stderr:
            lines = [line for line in finished.stderr.splitlines() if line.startswith("ERROR:")]
            reason = lines[-1].removeprefix("ERROR: ") if lines else finished.stderr.strip()[-200:]
            raise ToolkitError(
                f"--check-runtime: onnxruntime {runtime.version} could not be installed for Python "
                f"{version} ({reason[:200].rstrip('.')}). Leave the check out, or try again later."
            )
    raise ToolkitError(_needed(runtime, folder))


def call(command: list[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run a command and return its output.

    Raises:
        ToolkitError: It takes longer.
    """
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ToolkitError(
            f"--check-runtime took longer than {timeout_s:g} seconds and was stopped."
        ) from error


def _interpreters() -> Iterator[tuple[str, str]]:
    """Yield this Python, then others on the PATH from the newest, as (program, version)."""
    yield sys.executable, f"{sys.version_info.major}.{sys.version_info.minor}"
    for minor in reversed(_MINORS):
        python = shutil.which(f"python3.{minor}")
        # A name on the PATH may be a shim without a Python behind it.
        if minor != sys.version_info.minor and python and _runs(python):
            yield python, f"3.{minor}"


def _runs(python: str) -> bool:
    try:
        return call([python, "-I", "-S", "-c", ""], _TIMEOUT_S).returncode == 0
    except OSError:
        return False


def _pip(runtime: Runtime, folder: Path, python: str, *options: str) -> list[str]:
    number = tuple(int(part) for part in runtime.version.split("."))
    exact = runtime.version if len(number) == 3 else f"{runtime.version}.*"
    numpy = "numpy" if number[:2] >= _NUMPY_2_SINCE else "numpy<2"
    return [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--target", str(folder), "--python-version", python, *options),
        # Its other dependencies are for its tools; `import onnxruntime` needs numpy alone.
        *("--no-deps", "--only-binary", ":all:", f"onnxruntime=={exact}", numpy),
    ]


def _needed(runtime: Runtime, folder: Path) -> str:
    """Say which versions of Python have a wheel of the runtime."""
    minors = [
        minor
        for minor in _MINORS
        if call(_pip(runtime, folder, f"3.{minor}", "--dry-run"), _TIMEOUT_S).returncode == 0
    ]
    if not minors:
        return (
            f"--check-runtime: there is no onnxruntime {runtime.version} for this machine on "
            "Python's package index. Name another version, or leave the check out."
        )
    span = f"3.{minors[0]}" + (f" to 3.{minors[-1]}" if len(minors) > 1 else "")
    return (
        f"--check-runtime: onnxruntime {runtime.version} needs Python {span}, and none of them is "
        f"on the PATH. Install one (python3.{minors[-1]}), name another version, or leave the "
        "check out."
    )
