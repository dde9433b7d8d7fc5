"""Trials: candidates built and compared with the float model on the validation samples.

The test samples take no part: every choice between candidates is made here.
"""

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from toolkit.contract import OutputSpec
from toolkit.quantization.budget import Budget
from toolkit.quantization.building import Built, build
from toolkit.quantization.candidate import Candidate
from toolkit.quantization.checking import Comparison, answers, compare
from toolkit.quantization.float_model import FloatModel
from toolkit.quantization.optimizer_check import OptimizerCheck, check_optimizer
from toolkit.quantization.running import Runner


@dataclass(frozen=True)
class Trial:
    """A candidate that was built.

    Attributes:
        built: The quantized graph; ``built.candidate`` tells how it was made.
        validation: Both models on the validation samples, or None when there is no budget.
    """

    built: Built
    validation: Comparison | None


class Trials:
    """Builds candidates of one float model and judges them.

    Attributes:
        source: The float model, with its data.
        reference: Runs the float model.
        output: The output that is compared, the first.
        budget: What may be lost on validation samples; it may be empty.
    """

    def __init__(
        self, source: FloatModel, reference: Runner, output: OutputSpec, budget: Budget
    ) -> None:
        self.source = source
        self.reference = reference
        self.output = output
        self.budget = budget
        self._expected: npt.NDArray[Any] | None = None

    def run(self, candidate: Candidate) -> Trial:
        """Build a candidate and, when there is a budget, compare it with the float model.

        Raises:
            ModelError: There is nothing to quantize.
            DataError: The samples do not fit.
        """
        return self.judge(build(self.source, candidate))

    def judge(self, built: Built) -> Trial:
        """Compare what was built with the float model, when there is a budget."""
        return Trial(built, self.validate(built) if self.budget else None)

    def validate(self, built: Built) -> Comparison:
        """Compare a built candidate with the float model on the validation samples.

        Raises:
            ValueError: There are no samples.
        """
        if self.source.data is None:
            raise ValueError("a comparison needs samples")
        samples = self.source.data.validation
        if self._expected is None:
            self._expected = answers(self.reference, samples, "running the float model")
        disabled = built.candidate.disabled_optimizers
        runner = Runner(built.model, [self.output.name], disabled_optimizers=disabled)
        found = answers(runner, samples, "checking the budget")
        return compare(self._expected, found, samples, self.output)

    def keeps_budget(self, trial: Trial) -> bool:
        """Tell whether a trial is within the budget; without a budget each is."""
        return not self.budget or (
            trial.validation is not None and self.budget.keeps(trial.validation)
        )

    def optimizer_check(self, built: Built) -> OptimizerCheck | None:
        """Tell how far onnxruntime's optimizer moves a candidate's answer; None without data."""
        if self.source.data is None:
            return None
        samples, disabled = self.source.data.validation, built.candidate.disabled_optimizers
        return check_optimizer(built.model, self.reference, samples, disabled)

    def is_sound(self, trial: Trial) -> bool:
        """Tell whether the optimizer leaves a trial's answer as it is; without data each does."""
        check = self.optimizer_check(trial.built)
        return check is None or check.passed
