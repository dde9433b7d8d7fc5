"""Notices what disturbs a measurement: rival programs, a changing clock, too few samples."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from toolkit.measuring.latency import Block, Timings

_RIVAL_CORES = 0.2
_STOLEN = 0.02
_DRIFT = 0.10
_SPREAD = 0.15
_P99_CALLS = 500  # five calls beyond the percentile
_CPU = Path("/sys/devices/system/cpu")


@dataclass(frozen=True)
class Snapshot:
    """Counters of the machine and of this process; None where the system has none.

    Attributes:
        wall_s: Clock.
        busy_s: CPU time of all programs on all cores.
        stolen_s: Time that a virtual machine's host gave to others.
        own_s: CPU time of this process and the children it waited for.
        throttled: How often a core was slowed for its heat.
    """

    wall_s: float
    busy_s: float | None
    stolen_s: float | None
    own_s: float
    throttled: int | None


def snapshot() -> Snapshot:
    """Read the counters now."""
    times = os.times()
    busy, stolen = _machine_times()
    return Snapshot(
        wall_s=time.perf_counter(),
        busy_s=busy,
        stolen_s=stolen,
        own_s=times.user + times.system + times.children_user + times.children_system,
        throttled=_throttle_count(),
    )


def machine_notices(before: Snapshot, after: Snapshot, cores: int) -> list[str]:
    """Return one sentence for each disturbance of the machine between two snapshots."""
    notices: list[str] = []
    wall = max(after.wall_s - before.wall_s, 1e-9)
    if before.busy_s is not None and after.busy_s is not None:
        rival = (after.busy_s - before.busy_s - (after.own_s - before.own_s)) / wall
        if rival > _RIVAL_CORES:
            notices.append(
                f"Other programs used {rival:.1f} of {cores} cores meanwhile: quote the ratios, "
                "not the times."
            )
    if before.stolen_s is not None and after.stolen_s is not None:
        stolen = (after.stolen_s - before.stolen_s) / wall / cores
        if stolen > _STOLEN:
            notices.append(f"The host of this virtual machine took {stolen:.0%} of its time away.")
    if before.throttled is not None and after.throttled is not None:
        count = after.throttled - before.throttled
        if count > 0:
            notices.append(f"The CPU slowed itself down for its heat {count} times.")
    if _governor() == "powersave":
        notices.append("The CPU's frequency governor is 'powersave'; 'performance' is steadier.")
    return notices


def timing_notices(timings: Timings, yardstick: Sequence[Block] = ()) -> list[str]:
    """Return one sentence for each model whose times drift, spread, or are too few.

    Args:
        timings: Those of the models.
        yardstick: Work that never changes, timed in the same rounds: when it drifts, the machine
            does, and the models are not blamed one by one.
    """
    notices: list[str] = []
    drift = _drift(np.array([block.median_ns for block in yardstick]))
    if drift:
        notices.append(
            f"The machine became {_change(drift)} during the measurement: its clock or its load "
            "changed. Quote the ratios, not the times."
        )
    for name in timings.blocks:
        medians = timings.medians_ns(name)
        own = 0.0 if drift else _drift(medians)
        if own:
            notices.append(
                f"'{name}' became {_change(own)} during the measurement: "
                "the clock or the load of the machine changed."
            )
        low, middle, high = np.quantile(medians, [0.25, 0.5, 0.75])
        if (high - low) / middle > _SPREAD:
            notices.append(
                f"The median latency of '{name}' varied by {(high - low) / middle:.0%} between "
                "rounds (interquartile range)."
            )
        calls = sum(len(block.latencies_ns) for block in timings.blocks[name])
        if calls < _P99_CALLS:
            notices.append(f"The p99 of '{name}' rests on {calls} calls; run more --rounds.")
    return notices


def _drift(medians: npt.NDArray[np.float64]) -> float:
    """Return how much longer the last third of the rounds took than the first; 0 when even."""
    third = len(medians) // 3
    if third < 2:
        return 0.0
    drift = float(np.median(medians[-third:]) / np.median(medians[:third])) - 1
    return drift if abs(drift) > _DRIFT else 0.0


def _change(drift: float) -> str:
    return f"{abs(drift):.0%} {'slower' if drift > 0 else 'faster'}"


def _machine_times() -> tuple[float | None, float | None]:
    """Return busy and stolen seconds since boot, summed over the cores."""
    try:
        line = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
        ticks = [int(field) for field in line.split()[1:]]
        user, nice, system, _, _, irq, softirq, steal = ticks[:8]
    except (OSError, ValueError):
        return None, None
    per_second = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / per_second, steal / per_second


def _throttle_count() -> int | None:
    counts = [
        int(path.read_text(encoding="ascii"))
        for path in _CPU.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
    ]
    return sum(counts) if counts else None


def _governor() -> str | None:
    path = _CPU / "cpu0/cpufreq/scaling_governor"
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return None
