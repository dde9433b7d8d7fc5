"""CPUs that qemu plays: ARM boards and servers, and x86 from before VNNI.

Real onnxruntime, built for that architecture, takes the kernels that the emulated CPU's features
call for and computes what the real one would, bit for bit in integers. Times mean nothing.
"""

import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.devices import sysroot
from toolkit.devices.device import Description
from toolkit.devices.local import LocalDevice
from toolkit.errors import DeviceError, RecipeError


@dataclass(frozen=True)
class Cpu:
    """A CPU to emulate.

    Attributes:
        machine: The architecture, as ``uname -m`` says it.
        model: qemu's name for it.
        known_from: Where it stands, for the list of devices.
        flags: The features that decide on kernels. For x86 they are all that /proc/cpuinfo
            says; for ARM qemu 10 writes that itself.
    """

    machine: str
    model: str
    known_from: str
    flags: str


_NEHALEM = "fpu cx8 cmov mmx fxsr sse sse2 pni ssse3 cx16 sse4_1 sse4_2 popcnt lm"
_HASWELL = f"{_NEHALEM} pclmulqdq fma movbe aes avx f16c rdrand abm bmi1 avx2 bmi2"

CPUS = {
    "cortex-a53": Cpu("aarch64", "cortex-a53", "Raspberry Pi 3, Zero 2 W", "asimd"),
    "cortex-a72": Cpu("aarch64", "cortex-a72", "Raspberry Pi 4", "asimd"),
    "neoverse-n1": Cpu("aarch64", "neoverse-n1", "Graviton 2, Ampere Altra", "asimd asimddp"),
    "neoverse-v1": Cpu("aarch64", "neoverse-v1", "Graviton 3", "asimd asimddp i8mm"),
    # The variant without transactional memory: qemu does not emulate that, and warns.
    "haswell": Cpu("x86_64", "Haswell-noTSX", "Intel from 2013, AMD before Zen 4", _HASWELL),
    "nehalem": Cpu("x86_64", "Nehalem", "Intel from 2008, no AVX", _NEHALEM),
}


class EmulatedDevice(LocalDevice):
    """Runs jobs under qemu's user mode emulation."""

    emulated = True

    def __init__(self, name: str) -> None:
        super().__init__(f"emulated:{name}")
        if name not in CPUS:
            from toolkit.recipes import closest

            raise RecipeError(
                f"'{name}' is no CPU that can be emulated.{closest(name, CPUS)} "
                f"Known: {', '.join(CPUS)}."
            )
        self._cpu = CPUS[name]
        # x86 runs the Python and the packages of this machine.
        if self._cpu.machine == "x86_64" and platform.machine() != "x86_64":
            raise DeviceError(f"'{self.spec}' can be emulated on x86-64 machines only.")
        self._sysroot = sysroot.find()

    def _described(self, found: Mapping[str, Any]) -> Description:
        # The heat and the clock are this machine's.
        unknown = dict.fromkeys(("temperature_c", "frequency_mhz", "throttled", "governor"))
        return super()._described({**found, **unknown, "cpu": self._cpu.model})

    def _command(self, folder: Path) -> list[str]:
        qemu = [str(self._sysroot.qemu(self._cpu.machine)), "-cpu", self._cpu.model, "-L"]
        if self._cpu.machine == "aarch64":
            return [*qemu, str(self._sysroot.root), str(self._sysroot.python)]
        # qemu looks up every absolute path below -L first: there, /proc/cpuinfo is the CPU's.
        # The interpreter itself is named, as qemu does not follow a script's first line.
        cpuinfo = folder / "proc" / "cpuinfo"
        cpuinfo.parent.mkdir()
        cpuinfo.write_text(_played(Path("/proc/cpuinfo").read_text(encoding="utf-8"), self._cpu))
        return [*qemu, str(folder), os.path.realpath(sys.executable)]

    def _environment(self, code: Path) -> dict[str, str]:
        # Little of this machine's environment: LD_PRELOAD and PYTHONHOME mean other files there.
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        packages = (
            [str(self._sysroot.packages)]
            if self._cpu.machine == "aarch64"
            else [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
        )
        search_path = os.pathsep.join([str(code), *packages])
        return {**kept, "PATH": os.defpath, "PYTHONPATH": search_path, "PYTHONSAFEPATH": "1"}

    def _remedy(self) -> str:
        return sysroot.SETUP


def _played(cpuinfo: str, cpu: Cpu) -> str:
    """Return this machine's /proc/cpuinfo with the name and flags of another x86 CPU."""
    named = re.sub(r"(?m)^(model name\s*:).*$", rf"\1 {cpu.model} (qemu)", cpuinfo)
    return re.sub(r"(?m)^(flags\s*:).*$", rf"\1 {cpu.flags}", named)
