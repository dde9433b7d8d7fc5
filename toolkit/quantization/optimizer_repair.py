"""What is done when onnxruntime's optimizer changes a quantized model's answer.

    a layer in float, so that the pass finds nothing to join wrongly
    -> the pass left out by a session option that the contract keeps, when the user allows it
    -> refused

A graph that is right with every option comes first: a bare onnxruntime knows no contract.
"""

from toolkit.errors import CheckFailedError, ModelError
from toolkit.quantization.optimizer_check import optimizers_at_fault
from toolkit.quantization.placement import is_weight_layer
from toolkit.quantization.trials import Trial, Trials
from toolkit.runtime.session import import_onnxruntime

_MOST = 64  # layers that are tried, one at a time


def make_sound(trials: Trials, trial: Trial, *, allow_session_options: bool) -> Trial:
    """Return a trial whose answer the optimizer does not change: this one, or a repaired one.

    Args:
        trials: Builds and judges candidates.
        trial: What was chosen so far.
        allow_session_options: Whether a pass may be left out by the contract.

    Raises:
        CheckFailedError: Nothing helps; the message names the optimizer.
    """
    check = trials.optimizer_check(trial.built)
    if check is None or check.passed:
        return trial
    assert trials.source.data is not None  # noqa: S101 - there was a check
    samples = trials.source.data.validation
    guilty = optimizers_at_fault(trial.built.model, trials.reference, samples)
    who = ", ".join(guilty) or "no single pass"
    base = trial.built.candidate
    graph = trials.source.of(base.recipe).copy().graph
    chosen = set(trial.built.int8_nodes)
    layers = [str(node.name) for node in graph if node.name in chosen and is_weight_layer(node)]
    candidates = [
        base.keeping([layer], f"onnxruntime's optimizer ({who}) changes its int8 answer")
        for layer in layers[:_MOST]
    ]
    if guilty and allow_session_options:
        candidates.append(base.leaving_out(guilty))
    for candidate in candidates:
        try:
            found = trials.run(candidate)
        except ModelError:  # nothing would be left in int8
            continue
        if trials.keeps_budget(found) and trials.is_sound(found):
            return found
    remedy = (
        "--allow-session-options keeps in the contract that it be left out"
        if guilty and not allow_session_options
        else "take the recipe int8-qoperator"
    )
    raise CheckFailedError(
        f"'{trials.source.path}': the quantized model gives other answers with onnxruntime "
        f"{import_onnxruntime().__version__}'s optimizations than without, by {check.steps:.1f} of "
        f"255 steps (optimizer at fault: {who}); nothing was written. Keep the layers around it in "
        f"float with a recipe's [nodes] exclude, or {remedy}."
    )
