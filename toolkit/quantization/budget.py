"""The accuracy budget: what a quantized model may lose on validation samples."""

from toolkit.contract import Contract
from toolkit.errors import CheckFailedError, DataError, ModelError
from toolkit.quantization.checking import has_classes
from toolkit.quantization.samples import Data
from toolkit.quantization.trials import Trial, Trials


def check_decidable(source: str, contract: Contract) -> None:
    """Check that a model gives the classes that a budget counts.

    Raises:
        ModelError: It does not.
    """
    output = contract.outputs[0]
    if not has_classes(output):
        raise ModelError(
            f"'{source}': an accuracy budget (--max-drop, or max_drop in the recipe) needs class "
            f"scores, but the output '{output.name}' {list(output.shape)} is of kind "
            f"'{output.kind}'. Leave out the budget; the output's signal to noise ratio is "
            "reported in any case."
        )


def check_labels(data: Data | None) -> None:
    """Check that there are labels to count right answers with.

    Raises:
        DataError: There are none.
    """
    if data is None or data.validation.labels is None:
        raise DataError(
            "An accuracy budget (--max-drop) needs labelled data; give a dataset with labels "
            "with --data."
        )


def meet_budget(trials: Trials, first: Trial, recipe: str) -> Trial:
    """Return a trial that keeps the budget.

    Args:
        trials: Builds and judges candidates.
        first: The recipe as it stands.
        recipe: Its name, for the message.

    Raises:
        CheckFailedError: The budget is exceeded, or cannot be decided.
    """
    if trials.keeps_budget(first):
        return first
    validation, source = first.validation, trials.source.path
    if validation is None or validation.drop is None:
        count = 0 if validation is None else validation.samples
        raise CheckFailedError(
            f"'{source}' with the recipe '{recipe}': no accuracy came of the {count:,} validation "
            "samples, so that the budget cannot be decided; nothing was written. Leave out "
            "--max-drop."
        )
    raise CheckFailedError(
        f"'{source}' with the recipe '{recipe}' loses {validation.drop:.4g} points of top-1 on "
        f"{validation.samples:,} validation samples, the budget is {trials.budget:g}; nothing was "
        "written. Try more --samples, a recipe with another calibration method, or keep "
        "layers in float with [nodes] exclude."
    )
