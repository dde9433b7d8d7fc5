"""What the kernel tells of a device's memory, heat and clock. Travels to the device."""

import os
from pathlib import Path
from typing import Any

_CPU = Path("/sys/devices/system/cpu")
_THERMAL = Path("/sys/class/thermal")
_BOARD = Path("/proc/device-tree/model")
# Bits 0 to 3 of the Raspberry Pi firmware's word: happening now; 16 to 19: since it started.
_PI_THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
_PI_REASONS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft heat limit"}


def read() -> dict[str, Any]:
    """Return heat, clock and throttling now; None for each that the kernel does not tell.

    ``temperature_c`` is that of the hottest sensor, ``frequency_mhz`` that of the fastest core,
    ``throttled`` the reasons for which the CPU is slowed down or was since it started.
    """
    return {
        "temperature_c": _highest(_THERMAL.glob("thermal_zone*/temp"), 1000),
        "frequency_mhz": _highest(_CPU.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"), 1000),
        "throttled": _throttled(),
    }


def memory_mib() -> int | None:
    """Return the device's memory, or None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    except (AttributeError, OSError, ValueError):
        return None


def board() -> str | None:
    """Return the name of a single-board computer, or None on other machines."""
    return _text(_BOARD).rstrip("\0") or None


def _highest(paths: Any, unit: int) -> float | None:
    values = [int(text) / unit for text in map(_text, paths) if text.lstrip("-").isdigit()]
    return max(values, default=None)


def _throttled() -> list[str] | None:
    word = _text(_PI_THROTTLED)
    if word:
        bits = int(word, 16)
        return [
            reason + ("" if bits >> bit & 1 else " earlier")
            for bit, reason in _PI_REASONS.items()
            if (bits | bits >> 16) >> bit & 1
        ]
    counts = [_text(path) for path in _CPU.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
    if not counts:
        return None
    total = sum(int(count) for count in counts if count.isdigit())
    return [f"{total} times for heat earlier"] if total else []


def _text(path: Path) -> str:
    # Sensors of a core that sleeps fail to read.
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
