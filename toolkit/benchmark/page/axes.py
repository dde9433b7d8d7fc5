"""Axes of plots: where values stand, and the round numbers to write beside them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_WIDE = 5.0  # high / low from which 1, 2, 5, 10, 20, ... are ticks enough


@dataclass(frozen=True)
class Tick:
    """A round number on an axis: where it stands in percent, and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Axis:
    """An axis from ``low`` to ``high``, even or logarithmic."""

    low: float
    high: float
    logarithmic: bool = False

    def percent(self, value: float) -> float:
        """Return where a value stands, in percent of the axis; values outside are clipped."""
        if self.logarithmic:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(part, 0.0), 1.0), 3)

    def ticks(self, count: int = 5) -> list[float]:
        """Return about ``count`` round numbers on the axis."""
        if self.logarithmic and self.high / self.low >= _WIDE:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for digits, stride in (((1, 2, 5), 1), ((1,), 1), ((1,), 2), ((1,), 3)):
                found = [digit * 10.0**power for power in powers[::stride] for digit in digits]
                found = [value for value in found if self.low <= value <= self.high]
                if len(found) <= count + 2:
                    break
            return found
        step = _round_step((self.high - self.low) / count)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]


def ticks(
    axis: Axis, text: Callable[[float], str], count: int = 5, *, apart: float = 17.0
) -> list[Tick]:
    """Return about ``count`` round numbers on an axis, where they stand and as text.

    Args:
        axis: The axis.
        text: From a number to its text.
        count: About how many.
        apart: Room that a text takes, in percent of the axis: on a phone it is a sixth of it.
    """
    found: list[Tick] = []
    for value in axis.ticks(count):
        at = axis.percent(value)
        if not found or at - found[-1].at >= apart:
            found.append(Tick(at, text(value)))
    return found


def around(values: Sequence[float], *, margin: float = 0.08, floor: float = 0.0) -> Axis:
    """Return an even axis that holds the values with a margin on both sides.

    Args:
        values: What to hold.
        margin: In parts of the span.
        floor: The smallest span: values that are all but equal do not fill the axis.
    """
    low, high = min(values), max(values)
    missing = max(floor - (high - low), 0.0) / 2
    low, high = low - missing, high + missing
    extra = (high - low or abs(low) or 1.0) * margin
    return Axis(low - extra, high + extra)


def microseconds(value: float) -> str:
    """Return a time as text with three digits in the unit that suits it: "65.8 µs", "1.24 ms"."""
    number, unit = _in_unit(value)
    digits = 0 if number >= 100 else 1 if number >= 10 else 2
    return f"{number:.{digits}f} {unit}"


def round_microseconds(value: float) -> str:
    """Return a round time as text without empty decimals: "60 µs", "1.5 ms"."""
    number, unit = _in_unit(value)
    return f"{number:.4g} {unit}"


def _in_unit(value: float) -> tuple[float, str]:
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if value >= size:
            return value / size, unit
    return value, "µs"


def _round_step(step: float) -> float:
    """Return the nearest of 1, 2, 5 and 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    digit = min((1, 2, 5, 10), key=lambda digit: abs(math.log(digit * power / step)))
    return digit * power
