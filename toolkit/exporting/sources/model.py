"""What `export` needs of a model that is loaded, whatever it came from.

Every kind of source has a module here with a function ``load(source) -> SourceModel``. It runs in
the child process.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from toolkit.contract import Contract
from toolkit.errors import ModelError
from toolkit.runtime.scores import guess_kind

Array = npt.NDArray[Any]
Arithmetic = Literal["float", "integer", "approximate"]


_USUAL: tuple[type[Exception], ...] = (
    ArithmeticError, AssertionError, AttributeError, LookupError, NotImplementedError, OSError,
    RecursionError, TypeError, ValueError,
)  # fmt: skip


def _nothing() -> None:
    """Refuse nothing."""


@dataclass(frozen=True)
class SourceModel:
    """A loaded model.

    Attributes:
        computed_by: What `run` asks, for messages: "Keras", "TensorFlow Lite".
        contract: What the source takes and gives, in its own order.
        run: Computes the outputs for one batch of inputs, both in the contract's order.
        convert: Takes the opset and a fixed batch size or None, returns the ONNX ModelProto with
            the contract's names. What has no ONNX form stays in the graph under its own name.
        versions: The packages that had a part in it.
        refuse: Raises ModelError for what is known to have no ONNX form, or a wrong one.
        batch: The batch size that the source has fixed, or None.
        layers: Class of each layer by its name, to say where an operator comes from.
        categories: How many values an integer input may have.
        takes_pixels: Whether it scales its inputs down itself, as models that take 0 to 255 do.
        arithmetic: "float"; "integer" where rounding may tip a value into the next code;
            "approximate" where the source's own kernels differ by more than that.
    """

    computed_by: str
    contract: Contract
    run: Callable[[Sequence[Array]], list[Array]]
    convert: Callable[[int, int | None], Any]
    versions: Mapping[str, str]
    refuse: Callable[[], None] = _nothing
    batch: int | None = None
    layers: Mapping[str, str] = field(default_factory=dict)
    categories: int = 10
    takes_pixels: bool = False
    arithmetic: Arithmetic = "float"


@contextmanager
def refusing(source: str, what: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn what a library raises about a bad model into one line.

    Args:
        source: What to call the file.
        what: What could not be done: "cannot be loaded by Keras 3.15.1".
        errors: Classes beyond those that Python's own operations raise.
    """
    try:
        yield
    except (*_USUAL, *errors, *_tensorflow_errors()) as error:
        if type(error).__name__ == "ResourceExhaustedError":  # a lack of memory, not a bad model
            raise
        raise ModelError(f"'{source}' {what}: {first_line(error)}") from error


def _tensorflow_errors() -> tuple[type[Exception], ...]:
    tensorflow = sys.modules.get("tensorflow")
    return () if tensorflow is None else (tensorflow.errors.OpError,)


def first_line(error: BaseException) -> str:
    """Return the first sentence of a message; Keras' go on with the whole configuration.

    While a model is traced, the message is a stack of calls that ends in the sentence.
    """
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    text = " ".join(lines[-1 if lines[0].startswith("in user code:") else 0].split())
    for tail in (" Full object config", "\n\nconfig=", " Make sure custom classes"):
        text = text.split(tail)[0]
    return text if len(text) <= 300 else f"{text[:300]}..."


def fixed_batch(contract: Contract, source: str) -> int | None:
    """Return the batch size that all inputs of a contract fix, or None.

    Args:
        contract: Of a source whose shapes are kept.
        source: What to call it.

    Raises:
        ModelError: The inputs fix different ones, or one has no axis for the batch.
    """
    for spec in contract.inputs:
        if not spec.shape:
            raise ModelError(
                f"'{source}': the input '{spec.name}' is a single number; models whose "
                "inputs have no axis for samples are not exported."
            )
    sizes = {spec.shape[0] for spec in contract.inputs if isinstance(spec.shape[0], int)}
    if len(sizes) > 1:
        raise ModelError(
            f"'{source}': the inputs have different sizes in their first axis "
            f"({sorted(sizes)}), which should be that of the samples."
        )
    return sizes.pop() if sizes else None


def with_guessed_kinds(model: SourceModel) -> SourceModel:
    """Return a model whose outputs are said to be what one run on zeros shows.

    For sources that do not tell: whether an output is probabilities or logits.
    """
    zeros = [
        np.zeros([1 if isinstance(size, str) else size for size in spec.shape], spec.dtype)
        for spec in model.contract.inputs
        if spec.dtype != "object"
    ]
    try:
        found = model.run(zeros)
    except ModelError:  # not every model takes zeros
        return model
    outputs = tuple(
        dataclasses.replace(spec, kind=guess_kind(array) if array.ndim == 2 else "raw")
        for spec, array in zip(model.contract.outputs, found, strict=True)
    )
    return dataclasses.replace(model, contract=dataclasses.replace(model.contract, outputs=outputs))
