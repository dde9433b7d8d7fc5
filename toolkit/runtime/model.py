"""A loaded model: predictions from pixels, raw tensors, and what it promises."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from toolkit.contract import Contract, Dimension, InputSpec
from toolkit.errors import DataError, ModelError
from toolkit.runtime.feeding import to_batch
from toolkit.runtime.scores import to_probabilities
from toolkit.runtime.session import import_onnxruntime

Array = npt.NDArray[Any]

_CHUNK = 256  # samples of one run: the memory of a large batch stays bounded


class Prediction(NamedTuple):
    """The answer for one sample.

    Attributes:
        label: The class in words, or its index as text when the model carries no labels.
        index: The class as a number.
        confidence: The probability of that class, in [0, 1].
        probabilities: Those of all classes, float32 [classes].
    """

    label: str
    index: int  # type: ignore[assignment]  # the name that the design fixes hides tuple.index
    confidence: float
    probabilities: npt.NDArray[np.float32]


class Model:
    """A model ready to run, made by `toolkit.runtime.load`; many threads may call it at once.

    Attributes:
        path: The file.
        contract: What to feed and what comes back; ``contract.assumed`` tells that the file
            carries none and that this one was guessed.
        providers: The execution providers that onnxruntime really uses, first choice first.
        session: The ``onnxruntime.InferenceSession``.
    """

    def __init__(self, path: Path, session: Any, contract: Contract) -> None:
        self.path = path
        self.session = session
        self.contract = contract
        self.providers: tuple[str, ...] = tuple(session.get_providers())
        self._input: InputSpec = contract.inputs[0]
        self._output = contract.outputs[0]
        self._labels = self._output.labels
        self._gives_logits = self._output.kind == "logits"
        self._sample_shapes = _sample_shapes(self._input)
        self._dtype = np.dtype(self._input.dtype)
        self._refusal = self._why_no_predictions()
        self._fast = self._refusal is None and self._fits_a_lane()
        # Buffers that no thread is using; list.pop and list.append are atomic.
        self._idle: list[_Lane] = []
        if self._fast:
            self._idle.append(_Lane(self))

    @overload
    def predict(self, sample: str | os.PathLike[str]) -> Prediction: ...
    @overload
    def predict(self, sample: npt.ArrayLike) -> Any: ...
    def predict(self, sample: Any) -> Any:
        """Classify one sample, or a batch.

        Args:
            sample: One raw sample without the batch axis (for the MNIST CNN uint8 pixels [28, 28]
                or [28, 28, 1]), a batch of them, or the path of a picture, which is prepared as
                the contract says (`toolkit.runtime.images`; needs Pillow). Preprocessing that the
                contract leaves to the caller is done here (`toolkit.runtime.feeding`).

        Returns:
            A Prediction for one sample or path; a list of them for a batch.

        Raises:
            DataError: The shape or dtype does not fit, or the picture cannot be read.
            ModelError: The model does not classify (embedding, raw tensors, several inputs).
        """
        # The short way: an array that is ready goes through buffers that are already bound.
        # onnxruntime's own conversion of numpy feeds takes longer than all of this.
        if self._fast and type(sample) is np.ndarray and sample.dtype is self._dtype:
            try:
                lane = self._idle.pop()
            except IndexError:  # all are in use by other threads
                lane = _Lane(self)
            view = lane.views.get(sample.shape)
            if view is not None:
                view[...] = sample
                lane.run()
                probabilities = lane.answer.copy()
                self._idle.append(lane)
                if self._gives_logits:
                    probabilities = to_probabilities(probabilities[np.newaxis], "logits")[0]
                return self._prediction(probabilities)
            self._idle.append(lane)
        return self._predict_any(sample)

    def probabilities(self, samples: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the class probabilities, float32 [N, classes], of a batch of raw samples [N, ...].

        Preprocessing that the contract leaves to the caller is done here. Large batches run in
        pieces of 256; a model with a fixed batch size gets pieces of that size, the last one
        filled up.

        Raises:
            DataError: The shape or dtype does not fit.
            ModelError: The model does not classify.
        """
        if self._refusal is not None:
            raise ModelError(self._refusal)
        array = np.asarray(samples)
        fixed = self._input.shape[0] if self._input.shape else None
        size = fixed if isinstance(fixed, int) else _CHUNK
        pieces = []
        for start in range(0, len(array), size):
            batch = to_batch(array[start : start + size], self._input)
            count = len(batch)
            if isinstance(fixed, int) and count < fixed:
                batch = np.concatenate([batch, np.repeat(batch[-1:], fixed - count, axis=0)])
            scores = self.run({self._input.name: batch})[self._output.name][:count]
            pieces.append(to_probabilities(scores, self._output.kind))
        if not pieces:
            return np.zeros((0, len(self._labels or ())), np.float32)
        return np.concatenate(pieces)

    def run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """Run the graph on tensors that are ready, without any preprocessing.

        Args:
            feeds: One array per input, by name, of the dtype and shape in the contract.

        Returns:
            One array per output, by name.

        Raises:
            DataError: An input is missing, unknown, or of another dtype or shape.
        """
        names = [output.name for output in self.contract.outputs]
        try:
            return dict(zip(names, self.session.run(names, feeds), strict=True))
        # onnxruntime's exceptions share no base class below Exception.
        except Exception as error:
            self._explain_feeds(feeds)
            reason = " ".join(str(error).split())[:300]
            raise DataError(f"'{self.path}' could not run: {reason}") from error

    def _predict_any(self, sample: Any) -> Prediction | list[Prediction]:
        if self._refusal is not None:
            raise ModelError(self._refusal)
        if isinstance(sample, (str, os.PathLike)):
            from toolkit.runtime import images

            sample = images.read(sample, self._input).pixels
        array = np.asarray(sample)
        if any(fits(array.shape, shape) for shape in self._sample_shapes):
            return self._prediction(self.probabilities(array[np.newaxis])[0])
        if any(fits(array.shape[1:], shape) for shape in self._sample_shapes):
            return [self._prediction(row) for row in self.probabilities(array)]
        raise DataError(
            f"Input '{self._input.name}' takes samples of {shown(self._input.sample_shape)}, or a "
            f"batch {shown(self._input.shape)} of them; the array has {shown(array.shape)} "
            f"({array.dtype}). Give it the size that the model was trained on."
        )

    def _prediction(self, probabilities: npt.NDArray[np.float32]) -> Prediction:
        index = probabilities.argmax().item()
        label = str(index) if self._labels is None else self._labels[index]
        return Prediction(label, index, probabilities.item(index), probabilities)

    def _why_no_predictions(self) -> str | None:
        """Return why `predict` cannot work on this model, or None."""
        if len(self.contract.inputs) != 1:
            names = ", ".join(f"'{entry.name}'" for entry in self.contract.inputs)
            return f"'{self.path}' has the inputs {names}; predict() takes one. Use run()."
        if self._output.kind not in ("probabilities", "logits"):
            return (
                f"The output '{self._output.name}' of '{self.path}' is of kind "
                f"'{self._output.kind}', without classes to predict. Use run()."
            )
        return None

    def _fits_a_lane(self) -> bool:
        """Tell whether one sample has a known size, at the input and at the output."""
        sizes = (*self._input.sample_shape, *self._output.shape[1:])
        batches = (self._input.shape[:1], self._output.shape[:1])
        return (
            self._input.by_caller is None
            and self._output.dtype == "float32"
            and all(isinstance(size, int) for size in sizes)
            and all(batch and (batch[0] == 1 or isinstance(batch[0], str)) for batch in batches)
            and self._classes() > 1
        )

    def _classes(self) -> int:
        return int(np.prod([size for size in self._output.shape[1:] if isinstance(size, int)]))

    def _explain_feeds(self, feeds: dict[str, Array]) -> None:
        """Raise a DataError that names the input which does not fit, if one does not."""
        specs = {entry.name: entry for entry in self.contract.inputs}
        for name in feeds:
            if name not in specs:
                known = ", ".join(f"'{known}'" for known in specs)
                raise DataError(f"'{self.path}' has no input '{name}'; it has {known}.")
        for name, spec in specs.items():
            if name not in feeds:
                raise DataError(f"The input '{name}' of '{self.path}' is missing.")
            array = np.asarray(feeds[name])
            if array.dtype != spec.dtype or not fits(array.shape, spec.shape):
                raise DataError(
                    f"Input '{name}' takes {spec.dtype} {shown(spec.shape)}, it was given "
                    f"{array.dtype} {shown(array.shape)}."
                )


class _Lane:
    """Input and output buffers of one sample, bound to the session once; one thread at a time."""

    def __init__(self, model: Model) -> None:
        spec, output = model.contract.inputs[0], model.contract.outputs[0]
        shape = (1, *(int(size) for size in spec.sample_shape))
        self.buffer = np.zeros(shape, spec.dtype)
        answer = np.zeros((1, *(int(size) for size in output.shape[1:])), np.float32)
        self.answer = answer.reshape(-1)
        # One view per shape that a sample may come in, so that a copy is one assignment.
        self.views: dict[tuple[Dimension, ...], Array] = {
            known: self.buffer.reshape([int(size) for size in known])
            for known in _sample_shapes(spec)
            if _same_order(known, spec)
        }
        binding = model.session.io_binding()
        binding.bind_cpu_input(spec.name, self.buffer)
        binding.bind_output(
            output.name, "cpu", 0, np.float32, answer.shape, self.answer.ctypes.data
        )
        # run() computes ``answer`` from ``buffer``.
        self.run = _bound_run(model.session, binding)


def _bound_run(session: Any, binding: Any) -> Callable[[], object]:
    """Return what runs a session on bound buffers, by the shortest way that this version has.

    onnxruntime's Python wrapper looks for GPU graphs in every call, and makes new options when it
    is given none: 0.8 of 15 microseconds for the MNIST CNN. What it calls is asked directly, where
    it is found; both names are as old as bindings are, but private.
    """
    run = getattr(getattr(session, "_sess", None), "run_with_iobinding", None)
    bound = getattr(binding, "_iobinding", None)
    if run is not None and bound is not None:
        return functools.partial(run, bound, import_onnxruntime().RunOptions())
    return functools.partial(session.run_with_iobinding, binding)


def _sample_shapes(spec: InputSpec) -> list[tuple[Dimension, ...]]:
    """Return the shapes that one sample may come in; `to_batch` brings them into order."""
    shapes = [spec.sample_shape]
    if spec.image is not None and len(spec.sample_shape) == 3:
        if spec.image.layout == "NCHW":
            channels, height, width = spec.sample_shape
        else:
            height, width, channels = spec.sample_shape
        if spec.image.color == "grayscale":
            shapes.append((height, width))
        if spec.image.layout == "NCHW":
            shapes.append((height, width, channels))
    elif spec.image is not None and spec.image.layout == "NHW":
        shapes.append((*spec.sample_shape, 1))
    return list(dict.fromkeys(shapes))


def _same_order(shape: tuple[Dimension, ...], spec: InputSpec) -> bool:
    """Tell whether samples of a shape have their values in the input's order in memory."""
    return shape == spec.sample_shape or spec.image is None or spec.image.color == "grayscale"


def fits(shape: tuple[int, ...], wanted: tuple[Dimension, ...]) -> bool:
    """Tell whether a shape is the wanted one, whose symbolic sizes take any value."""
    return len(shape) == len(wanted) and all(
        isinstance(size, str) or size == actual for size, actual in zip(wanted, shape, strict=True)
    )


def shown(shape: tuple[Dimension, ...]) -> str:
    """Return a shape for a message: ``[batch, 28, 28, 1]``."""
    return f"[{', '.join(str(size) for size in shape)}]"
