"""What a measurement ran on: CPU, its int8 features, cores, load, versions."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

# The features that decide how int8 kernels compute, as /proc/cpuinfo names them.
FEATURES = frozenset(
    {
        "sse4_1", "avx", "avx2", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni",
        "amx_int8", "avx512_fp16", "f16c",
        "asimd", "neon", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2",
    }
)  # fmt: skip
_MACOS_FEATURES = {
    "hw.optional.avx2_0": "avx2",
    "hw.optional.avx512f": "avx512f",
    "hw.optional.avx512vnni": "avx512_vnni",
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.AdvSIMD": "asimd",
}


def cpu_features() -> frozenset[str]:
    """Return those of `FEATURES` that this CPU has; empty when the system does not tell."""
    text = _cpuinfo()
    if text:
        words = {
            word
            for line in text.splitlines()
            if line.partition(":")[0].strip().lower() in ("flags", "features")
            for word in line.partition(":")[2].split()
        }
        return frozenset(words & FEATURES)
    if platform.system() == "Darwin":
        return frozenset(feature for key, feature in _MACOS_FEATURES.items() if _sysctl(key) == "1")
    return frozenset()


def cpu_model() -> str:
    """Return the CPU's name, or the architecture when the system does not tell."""
    values: dict[str, str] = {}
    for line in _cpuinfo().splitlines():
        key, _, value = line.partition(":")
        values.setdefault(key.strip(), value.strip())
    # x86 has "model name" (its "model" is a number); ARM boards have "Model" or "Hardware".
    for key in ("model name", "Model", "Hardware"):
        if values.get(key):
            return values[key]
    name = _sysctl("machdep.cpu.brand_string") if platform.system() == "Darwin" else ""
    return name or platform.processor() or platform.machine()


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe() -> dict[str, Any]:
    """Return what stands beside every measurement as a JSON object.

    ``load_average`` is that of the last minute; ``governor`` the frequency governor of core 0.
    Either is None where the system does not tell.
    """
    import onnxruntime

    return {
        "cpu": cpu_model(),
        "cpu_features": sorted(cpu_features()),
        "cores": usable_cores(),
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": onnxruntime.__version__,
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
    }


def _cpuinfo() -> str:
    return _read("/proc/cpuinfo")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _sysctl(key: str) -> str:
    try:
        done = subprocess.run(
            ["sysctl", "-n", key], capture_output=True, text=True, check=False, timeout=5
        )
    except OSError:
        return ""
    return done.stdout.strip()
