"""Prepares a device once: the emulated CPUs, or a virtual environment on an ssh device."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from toolkit.devices import sysroot
from toolkit.devices.emulated import CPUS
from toolkit.errors import RecipeError
from toolkit.runtime.session import import_onnxruntime


@dataclass(frozen=True)
class SetupResult:
    """What `setup_device` did.

    Attributes:
        spec: The device.
        folder: Where it lies; on an ssh device, a folder there.
        onnxruntime: The version there.
        size_bytes: What it takes on this machine's disk; None for an ssh device.
        made: False when it was there already.
    """

    spec: str
    folder: str
    onnxruntime: str
    size_bytes: int | None
    made: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": "toolkit.device-setup/1",
            "spec": self.spec,
            "folder": self.folder,
            "onnxruntime": self.onnxruntime,
            "size_bytes": self.size_bytes,
            "made": self.made,
        }


def setup_device(
    spec: str, *, mirror: str | None = None, note: Callable[[str], object] = lambda text: None
) -> SetupResult:
    """Prepare a device; does nothing when it is ready.

    Args:
        spec: "emulated" for all emulated CPUs, or "ssh://...".
        mirror: A mirror of Debian for "emulated"; by default the one that apt here uses.
        note: Called with a few words before each step.

    Raises:
        RecipeError: The device needs no preparation, or is unknown.
        DeviceError: Debian's packages are not to be had, or the device cannot be reached.
        MissingPackageError: onnxruntime or pip is not installed here.
    """
    if spec == "emulated" or spec.removeprefix("emulated:") in CPUS:
        folder, made = sysroot.make(mirror=mirror, note=note)
        size = sum(path.lstat().st_size for path in folder.folder.rglob("*"))
        version = import_onnxruntime().__version__
        return SetupResult("emulated", str(folder.folder), version, size, made)
    if mirror is not None:
        raise RecipeError("--mirror is for `toolkit device setup emulated`.")
    if not spec.startswith("ssh:"):
        raise RecipeError(f"'{spec}' needs no setting up. Known: emulated, ssh://user@host.")
    from toolkit.devices.ssh import SshDevice

    with SshDevice(spec, install=True) as device:
        found = device.describe()
        return SetupResult(spec, device.folder, found.onnxruntime, None, device.installed)
