"""Checks that onnxruntime's optimizer does not change the quantized model's answer.

The same file runs with all optimizations and with none. Joining operators into int8 kernels may
round an activation the other way now and then, and in a deep network such roundings add up: they
stay within one step of the output, or well below what quantization itself cost. More than that is
an error of an optimizer pass (https://github.com/microsoft/onnxruntime/issues/27845 is one), and
another version of the runtime would give other answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from toolkit.exporting.bisection import guilty_optimizers
from toolkit.quantization.running import Runner
from toolkit.quantization.samples import Samples

_SAMPLES = 64
_STEPS = 255  # an output step: the output's range in 8-bit codes
_OF_NOISE = 0.5  # roundings may add this part of the quantization noise, as root mean square


@dataclass(frozen=True)
class OptimizerCheck:
    """How far the optimizer moves the answer.

    Attributes:
        samples: Samples that were run.
        steps: Largest difference, in steps of 1/255 of the output's range.
        of_noise: Root mean square of the difference, as a part of that of the quantization
            noise.
    """

    samples: int
    steps: float
    of_noise: float

    @property
    def passed(self) -> bool:
        """Whether the difference is one of rounding."""
        return self.steps <= 1 or self.of_noise <= _OF_NOISE


def check_optimizer(
    model: onnx.ModelProto,
    reference: Runner,
    samples: Samples,
    disabled_optimizers: Sequence[str] = (),
) -> OptimizerCheck:
    """Compare the quantized model with all optimizations and with none.

    Args:
        model: The quantized model.
        reference: The float model; its first output is compared.
        samples: What to run; the first 64.
        disabled_optimizers: Those that are left out of all.
    """
    few, output = samples.head(_SAMPLES), reference.outputs[0]
    exact, plain = _expected(model, reference, few)
    runner = Runner(model, [output], disabled_optimizers=disabled_optimizers)
    return _compare(exact, plain, runner.run_all(few)[0])


def optimizers_at_fault(
    model: onnx.ModelProto, reference: Runner, samples: Samples
) -> tuple[str, ...]:
    """Return a smallest set of optimizers without which a model passes the check.

    Args:
        model: A model that does not.
        reference: As for `check_optimizer`.
        samples: The same.

    Returns:
        Their names; nothing when leaving out all that are known does not help.
    """
    few, output = samples.head(_SAMPLES), reference.outputs[0]
    exact, plain = _expected(model, reference, few)
    runner = Runner(model, [output], optimize=False)
    feeds = list(few.feeds(runner.fixed_batch or _SAMPLES))

    def is_right(session: Any) -> bool:
        found = [session.run([output], feed)[0] for feed in feeds if _whole(feed, runner)]
        if not found:
            return False
        joined = np.concatenate(found)
        return _compare(exact[: len(joined)], plain[: len(joined)], joined).passed

    return guilty_optimizers(bytes(model.SerializeToString()), is_right)


def _expected(
    model: onnx.ModelProto, reference: Runner, samples: Samples
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the float model's answers, and the quantized model's without optimizations."""
    plain = Runner(model, reference.outputs[:1], optimize=False)
    return reference.run_all(samples)[0], plain.run_all(samples)[0]


def _compare(
    exact: npt.NDArray[Any], plain: npt.NDArray[Any], optimized: npt.NDArray[Any]
) -> OptimizerCheck:
    noise, moved = _rms(exact, plain), _rms(plain, optimized)
    of_noise = moved / noise if noise else float("inf") if moved else 0.0
    return OptimizerCheck(len(plain), difference_steps(plain, optimized), of_noise)


def _rms(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    difference = one.astype(np.float64) - other.astype(np.float64)
    return float(np.sqrt(np.mean(np.nan_to_num(difference, nan=np.inf) ** 2)))


def difference_steps(plain: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Return the largest difference in steps of 1/255 of the range of ``plain``."""
    expected = plain.astype(np.float64)
    width = float(np.ptp(expected)) or 1.0
    difference = np.abs(expected - other.astype(np.float64))
    # NaN on one side alone is as wrong as it gets.
    return float(np.max(np.nan_to_num(difference, nan=np.inf))) / width * _STEPS


def _whole(feed: dict[str, npt.NDArray[Any]], runner: Runner) -> bool:
    """Tell whether a batch has the size that the model insists on."""
    return runner.fixed_batch in (None, len(next(iter(feed.values()))))
