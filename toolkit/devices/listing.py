"""The devices that need no address."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from toolkit.devices import sysroot
from toolkit.devices.emulated import CPUS
from toolkit.devices.kernels import int8_kernels
from toolkit.measuring.environment import cpu_features, cpu_model


@dataclass(frozen=True)
class Listed:
    """One device.

    Attributes:
        spec: What to give to --device.
        int8: Its int8 kernels.
        note: What it stands for.
        ready: Whether it can be used now.
    """

    spec: str
    int8: str
    note: str
    ready: bool


@dataclass(frozen=True)
class ListResult:
    """The devices, and what makes those ready that are not; empty when all are."""

    devices: tuple[Listed, ...]
    remedy: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": "toolkit.device-list/1",
            "devices": [dataclasses.asdict(device) for device in self.devices],
            "remedy": self.remedy,
        }


def list_devices() -> ListResult:
    """List this machine and the emulated CPUs."""
    ready = sysroot.is_made()
    here = Listed("local", int8_kernels(cpu_features()).name, f"this machine: {cpu_model()}", True)
    emulated = [
        Listed(f"emulated:{name}", int8_kernels(cpu.flags.split()).name, cpu.known_from, ready)
        for name, cpu in CPUS.items()
    ]
    remedy = "" if ready else f"Set up the emulated ones once: {sysroot.SETUP}"
    return ListResult((here, *emulated), remedy)
