"""Checks that onnxruntime's optimizer does not change the quantized model's answer.

The same file runs with all optimizations and with none. Joining operators into int8 kernels may
round an activation the other way now and then; more than that is an error of an optimizer pass
(https://github.com/microsoft/onnxruntime/issues/27845 is one), and another runtime or another
version would give other answers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from toolkit.errors import CheckFailedError
from toolkit.exporting.bisection import guilty_optimizers
from toolkit.quantization.running import Runner
from toolkit.quantization.samples import Samples
from toolkit.runtime.session import import_onnxruntime

_SAMPLES = 64
_STEPS = 255  # an output step: the output's range in 8-bit codes


@dataclass(frozen=True)
class OptimizerCheck:
    """How far the optimizer moves the answer.

    Attributes:
        samples: Samples that were run.
        steps: Largest difference, in steps of 1/255 of the output's range.
    """

    samples: int
    steps: float


def check_optimizer(
    model: onnx.ModelProto, samples: Samples, output: str, source: str
) -> OptimizerCheck:
    """Compare the model with all optimizations and with none.

    Args:
        model: The quantized model.
        samples: What to run; the first 64.
        output: Name of the output to compare.
        source: The float model's name, for the message.

    Raises:
        CheckFailedError: They differ by more than one step; the message names the optimizer.
    """
    few = samples.head(_SAMPLES)
    plain = Runner(model, [output], optimize=False).run_all(few)[0]
    optimized = Runner(model, [output]).run_all(few)[0]
    steps = difference_steps(plain, optimized)
    if steps > 1:
        _fail(model, few, output, source, plain, steps)
    return OptimizerCheck(len(few), steps)


def difference_steps(plain: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Return the largest difference in steps of 1/255 of the range of ``plain``."""
    expected = plain.astype(np.float64)
    width = float(np.ptp(expected)) or 1.0
    difference = np.abs(expected - other.astype(np.float64))
    # NaN on one side alone is as wrong as it gets.
    return float(np.max(np.nan_to_num(difference, nan=np.inf))) / width * _STEPS


def _fail(
    model: onnx.ModelProto,
    samples: Samples,
    output: str,
    source: str,
    plain: npt.NDArray[Any],
    steps: float,
) -> None:
    runner = Runner(model, [output], optimize=False)
    feeds = list(samples.feeds(runner.fixed_batch or _SAMPLES))

    def is_right(session: Any) -> bool:
        found = [session.run([output], feed)[0] for feed in feeds if _whole(feed, runner)]
        joined = np.concatenate(found) if found else plain[:0]
        return difference_steps(plain[: len(joined)], joined) <= 1

    guilty = guilty_optimizers(bytes(model.SerializeToString()), is_right)
    who = ", ".join(guilty) or "no single pass"
    raise CheckFailedError(
        f"'{source}': the quantized model gives other answers with onnxruntime "
        f"{import_onnxruntime().__version__}'s optimizations than without, by {steps:.1f} of 255 "
        f"steps (optimizer at fault: {who}); nothing was written. Keep the layers around it in "
        "float with a recipe's [nodes] exclude, or take the recipe int8-qoperator."
    )


def _whole(feed: dict[str, npt.NDArray[Any]], runner: Runner) -> bool:
    """Tell whether a batch has the size that the model insists on."""
    return runner.fixed_batch in (None, len(next(iter(feed.values()))))
