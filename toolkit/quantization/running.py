"""Runs models on samples, in batches of whatever size the model takes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from toolkit.errors import DataError
from toolkit.quantization.samples import Feed, Samples
from toolkit.reporting.terminal import Advance
from toolkit.runtime.session import create_session

Array = npt.NDArray[Any]

_FLOATS: dict[str, npt.DTypeLike] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_MAX_BATCH = 256
_BATCH_ELEMENTS = 2**19  # of the inputs; the activations of large pictures fill memory fast


class Runner:
    """A model on the CPU that is fed batches of any size.

    Attributes:
        outputs: Names of what `run` returns.
        fixed_batch: The batch size that the model insists on, or None.
    """

    def __init__(
        self,
        model: onnx.ModelProto | Path,
        outputs: list[str],
        *,
        optimize: bool = True,
        disabled_optimizers: Sequence[str] = (),
    ) -> None:
        content = model if isinstance(model, Path) else bytes(model.SerializeToString())
        self._session = create_session(
            content, provider="cpu", optimize=optimize, disabled_optimizers=disabled_optimizers
        )
        self.outputs = outputs
        sizes = {tensor.shape[0] for tensor in self._session.get_inputs() if tensor.shape}
        self._floats = {
            tensor.name: _FLOATS[tensor.type]
            for tensor in self._session.get_inputs()
            if tensor.type in _FLOATS
        }
        fixed = [size for size in sizes if isinstance(size, int)]
        self.fixed_batch: int | None = fixed[0] if fixed else None

    def run(self, feed: Feed) -> list[Array]:
        """Return the outputs for one batch.

        Floating point numbers get the width that the model takes: a float16 model is fed what its
        float32 original is.
        A batch that is smaller than the model insists on is filled up with its last sample; the
        outputs of those copies are dropped again.

        Raises:
            DataError: onnxruntime refuses the batch.
        """
        count = len(next(iter(feed.values())))
        feed = {
            name: tensor.astype(self._floats.get(name, tensor.dtype), copy=False)
            for name, tensor in feed.items()
        }
        if self.fixed_batch and count < self.fixed_batch:
            feed = filled(feed, self.fixed_batch)
        try:
            results = self._session.run(self.outputs, feed)
        # onnxruntime's exceptions share no base class below Exception.
        except Exception as error:
            raise DataError(
                f"The model cannot run these samples: {' '.join(str(error).split())[:300]}"
            ) from error
        if self.fixed_batch and count < self.fixed_batch:
            return [
                array[:count] if array.ndim and len(array) == self.fixed_batch else array
                for array in results
            ]
        return list(results)

    def run_all(self, samples: Samples, advance: Advance | None = None) -> list[Array]:
        """Return the outputs for all samples, each joined along axis 0."""
        first = samples.feed(slice(0, 1))
        elements = sum(tensor.size for tensor in first.values())
        size = self.fixed_batch or max(1, min(_MAX_BATCH, _BATCH_ELEMENTS // elements))
        parts: list[list[Array]] = []
        for feed in samples.feeds(size):
            parts.append(self.run(feed))
            if advance is not None:
                advance(len(next(iter(feed.values()))))
        return [
            np.concatenate([np.atleast_1d(part) for part in arrays])
            for arrays in zip(*parts, strict=True)
        ]


def filled(feed: Feed, size: int) -> Feed:
    """Return a batch filled up to a size with its last sample."""
    missing = {name: size - len(tensor) for name, tensor in feed.items()}
    return {
        name: np.concatenate([tensor, np.repeat(tensor[-1:], missing[name], axis=0)])
        if missing[name]
        else tensor
        for name, tensor in feed.items()
    }
