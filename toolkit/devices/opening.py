"""From what stands behind ``--device`` to a device."""

from toolkit.devices.device import Device
from toolkit.devices.emulated import CPUS, EmulatedDevice
from toolkit.devices.local import LocalDevice
from toolkit.errors import RecipeError

SPECS = ("local", *(f"emulated:{name}" for name in CPUS), "ssh://user@host[:port][/folder]")


def open_device(spec: str = "local", *, install: bool = False) -> Device:
    """Return a device.

    Args:
        spec: "local", "emulated:CPU" with a name of `toolkit.devices.emulated.CPUS`, or
            "ssh://user@host[:port][/folder]". The folder on the device holds what travels;
            "?python=/path" behind it names another Python than ``python3``.
        install: Whether numpy and onnxruntime may be installed on an ssh device, into a virtual
            environment of their own in that folder.

    Raises:
        RecipeError: There is no such kind of device, or no such CPU.
        DeviceError: The emulated CPUs are not set up.
    """
    if spec == "local":
        return LocalDevice(spec)
    kind, separator, name = spec.partition(":")
    if separator and kind == "emulated":
        return EmulatedDevice(name)
    if separator and kind == "ssh":
        from toolkit.devices.ssh import SshDevice

        return SshDevice(spec, install=install)
    raise RecipeError(f"'{spec}' is no device. Known: {', '.join(SPECS)}.")
