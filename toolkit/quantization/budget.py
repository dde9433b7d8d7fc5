"""The accuracy budget: what a quantized model may lose on validation samples."""

import math
from dataclasses import dataclass

from toolkit.contract import Contract
from toolkit.errors import DataError, ModelError
from toolkit.quantization.checking import Comparison, has_classes
from toolkit.quantization.samples import Data


@dataclass(frozen=True)
class Budget:
    """Limits that a quantized model has to keep, all that are given.

    Attributes:
        max_drop: Points of top-1 that may be lost, 0 to 100. Needs labels.
        min_agreement: Percent of the samples to which float and quantized model give the same
            class, 0 to 100. Needs classes, but no labels.
        min_sqnr: Signal to quantization noise of the output in decibels. Needs neither.
    """

    max_drop: float | None = None
    min_agreement: float | None = None
    min_sqnr: float | None = None

    def __post_init__(self) -> None:
        """Check the limits.

        Raises:
            ValueError: One is out of range.
        """
        for name in ("max_drop", "min_agreement"):
            limit = getattr(self, name)
            if limit is not None and not 0 <= limit <= 100:  # NaN is refused, too
                raise ValueError(f"{name} is {limit}, it must be from 0 to 100")
        if self.min_sqnr is not None and not math.isfinite(self.min_sqnr):
            raise ValueError(f"min_sqnr is {self.min_sqnr}, it must be a finite number")

    def or_else(self, other: "Budget") -> "Budget":
        """Return these limits; where none is given, the other's."""
        chosen = (
            theirs if ours is None else ours
            for ours, theirs in zip(self._limits(), other._limits(), strict=True)
        )
        return Budget(*chosen)

    def __bool__(self) -> bool:
        return any(limit is not None for limit in self._limits())

    def __str__(self) -> str:
        words = (
            "at most {:g} points of top-1 lost",
            "at least {:g} % agreement",
            "at least {:g} dB",
        )
        given = zip(words, self._limits(), strict=True)
        return ", ".join(word.format(limit) for word, limit in given if limit is not None)

    def keeps(self, comparison: Comparison) -> bool:
        """Tell whether a comparison is within all limits; a figure that is missing is not."""
        pairs = zip(self._limits(), self._signed(comparison), (1, -1, -1), strict=True)
        return all(
            limit is None or (found is not None and found <= sign * limit)
            for limit, found, sign in pairs
        )

    def decides(self, comparison: Comparison) -> bool:
        """Tell whether a comparison has the figures that the limits speak of."""
        pairs = zip(self._limits(), self._signed(comparison), strict=True)
        return all(limit is None or found is not None for limit, found in pairs)

    def rank(self, comparison: Comparison) -> tuple[float, ...]:
        """Return what orders comparisons: the smaller, the nearer to the budget.

        The largest excess over a limit comes first, as a part of what can be lost at most; then
        the noise, so that among equal counts of right answers the finer model wins.
        """
        pairs = zip(self._limits(), self._signed(comparison), (1, -1, -1), strict=True)
        excess = [
            max(0.0, float("inf") if found is None else found - sign * limit)
            for limit, found, sign in pairs
            if limit is not None
        ]
        return (max(excess, default=0.0), -comparison.sqnr_db)

    def _limits(self) -> tuple[float | None, float | None, float | None]:
        return self.max_drop, self.min_agreement, self.min_sqnr

    @staticmethod
    def _signed(comparison: Comparison) -> tuple[float | None, float | None, float | None]:
        """Return the figures so that less is better."""
        # 299 of 300 in percent is 99.66666666666667 and not a bit less.
        agreement = comparison.agreement
        percent = None if agreement is None else -round(100 * agreement, 9)
        return comparison.drop, percent, -comparison.sqnr_db


def check_decidable(budget: Budget, source: str, contract: Contract) -> None:
    """Check that a model gives the classes that a budget counts.

    Raises:
        ModelError: It does not.
    """
    output = contract.outputs[0]
    if (budget.max_drop, budget.min_agreement) != (None, None) and not has_classes(output):
        raise ModelError(
            f"'{source}': an accuracy budget (--max-drop, --min-agreement) needs class scores, but "
            f"the output '{output.name}' {list(output.shape)} is of kind '{output.kind}'. Use "
            "--min-sqnr, the signal to noise ratio of the output in decibels."
        )


def check_data(budget: Budget, data: Data | None) -> None:
    """Check that there are the samples and labels that a budget is decided on.

    Raises:
        DataError: There are none.
    """
    if budget and data is None:
        raise DataError("An accuracy budget needs samples; name a dataset with --data.")
    if budget.max_drop is not None and data is not None and data.validation.labels is None:
        raise DataError(
            "An accuracy budget in points of top-1 (--max-drop) needs labelled data; give a "
            "dataset with labels with --data, or use --min-agreement, which needs none."
        )
