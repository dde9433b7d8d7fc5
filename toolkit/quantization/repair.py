"""Repairs a quantized model that misses its accuracy budget.

    other calibration methods  ->  bias correction  ->  equalization  ->  sensitive layers in float

Each step starts from the best that was found so far, and the first candidate within the budget
ends the search. All of it is decided on validation samples; the test samples take no part.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

from toolkit.errors import CheckFailedError, ModelError
from toolkit.quantization.candidate import Candidate
from toolkit.quantization.recipe import RangeMethod, Recipe
from toolkit.quantization.result import Attempt
from toolkit.quantization.sensitivity import measure_sensitivity
from toolkit.quantization.trials import Trial, Trials

# What clips least is tried last: a recipe most often starts with minmax, which clips nothing.
_METHODS: tuple[RangeMethod, ...] = ("mse", "percentile", "entropy", "moving_average", "minmax")
assert set(_METHODS) == set(get_args(RangeMethod))  # noqa: S101 - a method is not forgotten


class BudgetMissedError(CheckFailedError):
    """No candidate was within the budget.

    Attributes:
        attempts: What was tried, in its order.
    """

    def __init__(self, message: str, attempts: tuple[Attempt, ...]) -> None:
        super().__init__(message)
        self.attempts = attempts


def meet_budget(trials: Trials, first: Trial, recipe: str) -> tuple[Trial, tuple[Attempt, ...]]:
    """Return a trial that keeps the budget, and what was tried; without a budget, the first.

    Args:
        trials: Builds and judges candidates.
        first: The recipe as it stands.
        recipe: Its name, for the messages.

    Raises:
        BudgetMissedError: Nothing that was tried is within the budget, or it cannot be decided.
    """
    if first.validation is None:
        return first, ()
    if not trials.budget.decides(first.validation):
        raise BudgetMissedError(
            f"'{trials.source.path}' with the recipe '{recipe}': the figures that the budget "
            f"speaks of ({trials.budget}) did not come of the {first.validation.samples:,} "
            "validation samples, so that it cannot be decided; nothing was written. Leave out the "
            "budget.",
            (),
        )
    search = _Search(trials, first, f"recipe {recipe}")
    search.run()
    if search.found is None:
        raise BudgetMissedError(search.failure(recipe), tuple(search.attempts))
    return search.found, tuple(search.attempts)


class _Search:
    """The candidates that were tried, and the best of them."""

    def __init__(self, trials: Trials, first: Trial, what: str) -> None:
        self.trials = trials
        self.attempts: list[Attempt] = []
        self.found: Trial | None = None
        self.best = first
        self.best_what = what
        self._note(what, first)

    def run(self) -> None:
        """Try one candidate after the other until one is within the budget."""
        for step in (self._calibrations, self._corrections, self._float_layers):
            for what, candidate in step():
                if self.found is not None:
                    return
                try:
                    trial = self.trials.run(candidate)
                except ModelError:  # nothing is left to quantize
                    continue
                self._note(what, trial)
            if self.found is not None:
                return

    def failure(self, recipe: str) -> str:
        """Return the message that says how near the best candidate came."""
        validation = self.best.validation
        assert validation is not None  # noqa: S101 - there is a budget
        return (
            f"'{self.trials.source.path}' with the recipe '{recipe}' misses the budget "
            f"({self.trials.budget}) on {validation.samples:,} validation samples; nothing was "
            f"written. The best of {len(self.attempts)} attempts, {self.best_what}, has "
            f"{validation.figures}. Try more --samples, or allow more."
        )

    def _note(self, what: str, trial: Trial) -> None:
        assert trial.validation is not None  # noqa: S101 - there is a budget
        kept = self.trials.keeps_budget(trial)
        self.attempts.append(Attempt(what, trial.validation, kept))
        if kept:
            self.found = trial
        if self._rank(trial) < self._rank(self.best):
            self.best, self.best_what = trial, what

    def _rank(self, trial: Trial) -> tuple[float, ...]:
        assert trial.validation is not None  # noqa: S101 - there is a budget
        return self.trials.budget.rank(trial.validation)

    def _calibrations(self) -> Iterator[tuple[str, Candidate]]:
        base = self.best.built.candidate
        recipe = base.recipe
        if recipe.method != "static":
            return
        for method in _METHODS:
            if method != recipe.calibration.method:
                calibration = recipe.calibration.model_copy(update={"method": method})
                yield f"calibration {method}", _with(base, calibration=calibration)

    def _corrections(self) -> Iterator[tuple[str, Candidate]]:
        for name, what in (("bias_correction", "bias correction"), ("equalization",) * 2):
            base, before = self.best.built.candidate, self.best_what
            if base.recipe.method == "static" and not getattr(base.recipe, name):
                yield f"{what}, after {before}", _with(base, **{name: True})

    def _float_layers(self) -> Iterator[tuple[str, Candidate]]:
        """Leave one layer more in float each time, the most sensitive one first."""
        base, before = self.best.built.candidate, self.best_what
        for number, layer in enumerate(measure_sensitivity(self.trials, self.best.built), start=1):
            reason = f"sensitive: int8 in it alone leaves {layer.effect_db:.1f} dB of the output"
            base = base.keeping([layer.name], reason)
            sofar = f"{number} layers in float, up to" if number > 1 else "in float:"
            own = "" if layer.sqnr_db is None else f", {layer.sqnr_db:.1f} dB itself"
            what = f"{sofar} {layer.name} ({layer.effect_db:.1f} dB of the output{own})"
            yield f"{what}, after {before}", base


def _with(candidate: Candidate, **changes: Any) -> Candidate:
    recipe: Recipe = candidate.recipe.model_copy(update=changes)
    return replace(candidate, recipe=recipe)
