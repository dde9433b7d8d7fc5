"""The part of the toolkit that travels to a device: what runs models there, as one zip archive.

Python imports straight from the archive; its name carries the hash of its content, so that it is
sent once.
"""

import functools
import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

# They import numpy and onnxruntime alone; a test runs them where nothing else is installed.
TRAVELS = (
    "__init__.py",
    "contract.py",
    "errors.py",
    "runtime",
    "measuring",
    "devices/messages.py",
    "devices/runner.py",
    "devices/sensors.py",
    "devices/work.py",
)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date of a zip archive: equal code, equal hash


@dataclass(frozen=True)
class Archive:
    """A zip archive for ``PYTHONPATH``, and the name that tells its content."""

    name: str
    content: bytes


@functools.cache
def archive() -> Archive:
    """Return the archive of the code as it is on this machine."""
    package = Path(__file__).resolve().parents[1]
    files = sorted(
        path
        for part in TRAVELS
        for path in ((package / part).rglob("*.py") if "." not in part else [package / part])
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for path in files:
            name = f"toolkit/{path.relative_to(package).as_posix()}"
            target.writestr(zipfile.ZipInfo(name, _EPOCH), path.read_bytes(), zipfile.ZIP_DEFLATED)
        # The package on this machine opens devices; there it only holds the modules above.
        target.writestr(zipfile.ZipInfo("toolkit/devices/__init__.py", _EPOCH), "")
    content = buffer.getvalue()
    return Archive(f"toolkit-{hashlib.sha256(content).hexdigest()[:16]}.zip", content)
