"""Checks a package: its files against their sums, its golden samples in whatever runs here."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import CheckFailedError, ModelError, ToolkitError
from toolkit.packaging.manifest import check_manifest
from toolkit.runtime import load

_LINE = re.compile(r"(\d+) of (\d+) golden samples agree; largest difference (\S+), allowed (\S+)")
_SECONDS = 120


@dataclass(frozen=True)
class GoldenCheck:
    """The golden samples, run in one way.

    Attributes:
        way: "python", or the command that ran.
        met: How many samples agree.
        samples: How many there are.
        worst: The largest difference.
        tolerance: How far the first output may be off; 0 means bit for bit.
    """

    way: str
    met: int
    samples: int
    worst: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether every sample agrees."""
        return self.met == self.samples


@dataclass(frozen=True)
class PackageCheck:
    """What `verify_package` found.

    Attributes:
        path: The folder.
        files: How many files have the sum that the manifest names.
        checks: The golden samples, in every way that runs here.
    """

    path: Path
    files: int
    checks: tuple[GoldenCheck, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": "toolkit.verify-package/1",
            "path": str(self.path),
            "files": self.files,
            "checks": [{**vars(check), "passed": check.passed} for check in self.checks],
        }


def verify_package(folder: str | Path) -> PackageCheck:
    """Check the files of a package, and run its golden samples in every way that runs here.

    The model runs in this Python; programs that were built in the folder (``build*/check``, of
    this machine's kind), and Node where its packages are installed, run as well. A page checks
    itself whenever it is opened.

    Raises:
        ModelError: The folder is no package.
        CheckFailedError: A file was changed, or an answer is further off than it may be.
    """
    folder = Path(folder)
    files = check_manifest(folder)
    place = folder / "public" if (folder / "public").is_dir() else folder
    checks = [_in_python(place)]
    for program in sorted(folder.glob("build*/check")):
        check = _in_program(folder, [str(program.relative_to(folder))])
        checks += [] if check is None else [check]
    if (folder / "node_modules" / "onnxruntime-node").is_dir() and shutil.which("node"):
        check = _in_program(folder, ["node", "check.js"])
        checks += [] if check is None else [check]
    for check in checks:
        if not check.passed:
            raise CheckFailedError(
                f"'{folder}': {check.samples - check.met} of {check.samples:,} golden samples give "
                f"other answers in {check.way}: off by {check.worst:.3g}, allowed are "
                f"{check.tolerance:.3g}."
            )
    return PackageCheck(folder, len(files), tuple(checks))


def _in_python(place: Path) -> GoldenCheck:
    try:
        golden = json.loads((place / "golden" / "golden.json").read_text(encoding="utf-8"))
        runs, entry = int(golden["runs"]), golden["models"][0]
        inputs = {tensor["name"]: _read(place, tensor, runs) for tensor in golden["inputs"]}
        outputs = {tensor["name"]: _read(place, tensor, runs) for tensor in entry["outputs"]}
        tolerances = {tensor["name"]: float(tensor["tolerance"]) for tensor in entry["outputs"]}
        file = place / str(entry["file"])
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ModelError(f"'{place / 'golden'}' is damaged: {error!r}.") from error
    model = load(file, provider="cpu", threads=1)
    met, worst = 0, 0.0
    for run in range(runs):
        results = model.run({name: values[run] for name, values in inputs.items()})
        off = {
            name: float(np.abs(results[name] - values[run].astype(np.float64)).max(initial=0))
            for name, values in outputs.items()
        }
        # A difference that is no number agrees with nothing: it is not <= anything.
        met += all(off[name] <= tolerance for name, tolerance in tolerances.items())
        worst = max(worst, *off.values())
    return GoldenCheck("python", met, runs, worst, next(iter(tolerances.values())))


def _read(place: Path, tensor: dict[str, Any], runs: int) -> np.ndarray[Any, Any]:
    dtype = np.dtype(tensor["dtype"]).newbyteorder("<")
    values = np.fromfile(place / "golden" / Path(tensor["file"]).name, dtype)
    return values.reshape(runs, *tensor["shape"]).astype(tensor["dtype"], copy=False)


def _in_program(folder: Path, command: list[str]) -> GoldenCheck | None:
    """Run a check program; None when it is not for this kind of machine."""
    try:
        done = subprocess.run(
            command,
            cwd=folder.absolute(),
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
    except OSError:
        return None
    except subprocess.TimeoutExpired as error:
        raise ToolkitError(f"'{' '.join(command)}' did not end within {_SECONDS} s.") from error
    line = _LINE.search(done.stdout)
    if line is None:
        reason = " ".join(done.stderr.split())[-200:] or f"exit {done.returncode}"
        raise ToolkitError(f"'{' '.join(command)}' in '{folder}' failed: {reason}")
    met, samples, worst, tolerance = line.groups()
    return GoldenCheck(" ".join(command), int(met), int(samples), float(worst), float(tolerance))
