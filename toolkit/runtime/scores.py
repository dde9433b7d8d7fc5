"""From a model's output tensor to class probabilities."""

from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.contract import OutputKind


def to_probabilities(scores: npt.NDArray[Any], kind: OutputKind) -> npt.NDArray[np.float32]:
    """Return probabilities [N, classes], float32, of scores [N, ..., classes].

    Logits go through softmax, exp(s - max) / sum; "probabilities" stay as they are. A single
    column is the output of a binary classifier: p of class 1 becomes [1 - p, p], after a sigmoid
    for a logit.

    Raises:
        ValueError: ``kind`` has no classes ("embedding" or "raw").
    """
    if kind not in ("probabilities", "logits"):
        raise ValueError(f"an output of kind {kind!r} has no classes")
    rows = scores.reshape(len(scores), -1).astype(np.float32, copy=False)
    if rows.shape[1] == 1:
        if kind == "probabilities":
            return np.concatenate([1 - rows, rows], axis=1)
        # softmax of [0, s] is [1 - sigmoid(s), sigmoid(s)], without overflow for large s
        rows = np.concatenate([np.zeros_like(rows), rows], axis=1)
    if kind == "logits":
        powers = np.exp(rows - rows.max(axis=1, keepdims=True))
        rows = powers / powers.sum(axis=1, keepdims=True)
    return rows


def guess_kind(scores: npt.NDArray[Any]) -> OutputKind:
    """Guess what the scores [N, classes] of a model without a contract are.

    Rows in [0, 1] that sum to 1 are probabilities, other floating-point rows of two or more are
    logits; anything else is raw.
    """
    if scores.ndim < 2 or scores.dtype.kind != "f" or scores.size < 2 * len(scores):
        return "raw"
    rows = scores.reshape(len(scores), -1).astype(np.float64)
    whole = np.allclose(rows.sum(axis=1), 1, atol=0.02)  # int8 outputs are as coarse as 1/256
    return "probabilities" if whole and rows.min() >= 0 and rows.max() <= 1.01 else "logits"
