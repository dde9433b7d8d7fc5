"""Tells when the data does not look like what the model expects.

The usual mistakes are pixels that were not divided by 255 (or twice), swapped colour channels,
and data of another kind altogether. They all show in the float model's own answers.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.contract import Contract, InputSpec
from toolkit.measuring.accuracy import top1
from toolkit.quantization.checking import Comparison
from toolkit.quantization.running import Runner
from toolkit.quantization.samples import Data, Feed, Samples

_LOST = 0.1  # a float model that is so little better than chance does not know this data
_PROBED = 256

Change = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


def warnings_about(
    test: Comparison, data: Data, contract: Contract, reference: Runner
) -> list[str]:
    """Return what is odd about the data, each in a sentence.

    Args:
        test: The comparison on test samples; with labels, the float model's answers show
            whether it knows this data.
        data: The samples.
        contract: The model's contract.
        reference: Runs the float model.
    """
    probe = data.calibration.head(_PROBED)
    feed = probe.feed(slice(0, _PROBED))
    found = [text for spec in contract.inputs for text in _about_values(spec, feed[spec.name])]
    if test.top1_float is None:
        return found + [
            text for spec in contract.inputs for text in _about_scale(spec, feed[spec.name])
        ]
    classes = contract.outputs[0].shape[-1]
    if isinstance(classes, int) and classes > 1 and _is_lost(test.top1_float, classes):
        found.append(_explain(test.top1_float, data, contract, reference))
    return found


def _about_scale(spec: InputSpec, values: npt.NDArray[Any]) -> list[str]:
    """Without labels, nothing but the values tells that pixels were not divided."""
    if spec.dtype != "float32" or spec.image is None or values.min() < 0 or values.max() <= 32:
        return []
    text = (
        f"'{spec.name}' was fed values up to {float(values.max()):g} as they are; if the model was "
        "trained on pixels/255, divide them, or export it with preprocessing."
    )
    return [text]


def _about_values(spec: InputSpec, values: npt.NDArray[Any]) -> list[str]:
    low, high = float(values.min()), float(values.max())
    if low == high:
        return [f"Every calibration sample of '{spec.name}' is the constant {low:g}."]
    if len(values) > 1 and not np.any(values != values[:1]):
        return [f"All calibration samples of '{spec.name}' are equal."]
    if spec.dtype == "uint8" and high <= 1:
        return [f"The pixels of '{spec.name}' are 0 and 1 alone; the model takes 0 to 255."]
    return []


def _is_lost(top1_float: float, classes: int) -> bool:
    chance = 1 / classes
    return top1_float <= chance + _LOST * (1 - chance)


def _explain(found: float, data: Data, contract: Contract, reference: Runner) -> str:
    """Try the usual mistakes on a few samples; name the one that would help."""
    head = (
        f"The float model itself is right on only {100 * found:.1f} % of '{data.name}'; this data "
        "does not look like what it expects"
    )
    spec = contract.inputs[0]
    # Not the test samples: they are for the reported figure alone.
    samples = data.validation.head(_PROBED)
    remedies: Mapping[str, Change] = {
        "divided by 255": lambda values: values / np.float32(255),
        "multiplied by 255": lambda values: values * np.float32(255),
        "scaled to -1 to 1": lambda values: values / np.float32(127.5) - np.float32(1),
        "with the colour channels in reverse order": lambda values: _reversed(values, spec),
        "inverted": lambda values: values.max() - values,
    }
    for remedy, change in remedies.items():
        right = _top1(samples, spec, change, reference)
        if right > (1 + found) / 2:  # at least half of the errors would vanish
            return f"{head}: {remedy}, {100 * right:.0f} % of {len(samples)} samples are right."
    return f"{head}."


def _reversed(values: npt.NDArray[Any], spec: InputSpec) -> npt.NDArray[Any]:
    if spec.image is None or spec.image.color != "rgb":
        return values
    return np.flip(values, axis=1 if spec.image.layout == "NCHW" else -1)


def _top1(samples: Samples, spec: InputSpec, change: Change, reference: Runner) -> float:
    scores, labels = [], samples.labels
    assert labels is not None  # noqa: S101 - the caller knows an accuracy
    for feed in samples.feeds(reference.fixed_batch or _PROBED):
        changed: Feed = {
            spec.name: np.ascontiguousarray(change(feed[spec.name])).astype(spec.dtype)
        }
        scores.append(reference.run(changed)[0])
    joined = np.concatenate(scores)
    return top1(joined.reshape(len(joined), -1), labels)
