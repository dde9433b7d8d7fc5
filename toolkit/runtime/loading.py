"""Opens a model file, and holds its contract against the tensors that the graph really has."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from toolkit import contract as contracts
from toolkit.contract import Contract, Dimension, InputSpec, OutputKind, OutputSpec
from toolkit.errors import ModelError
from toolkit.runtime.model import Model, shown
from toolkit.runtime.scores import guess_kind
from toolkit.runtime.session import Provider, create_session

Tensor = tuple[str, str, tuple[Dimension, ...]]  # name, numpy dtype name, shape

_DTYPES = {
    "float": "float32",
    "double": "float64",
    "float16": "float16",
    "bool": "bool",
    "string": "object",
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


def load(
    path: str | os.PathLike[str], *, provider: Provider = "auto", threads: int | None = None
) -> Model:
    """Load an ONNX model, check its contract, and start onnxruntime.

    A file without a contract gets a generic one, inferred from its tensors
    (``model.contract.assumed``); the kind of its output is guessed from one run on zeros.

    Args:
        path: The file.
        provider: "auto" takes a GPU when it really starts, else the CPU; "cpu", "cuda" and
            "tensorrt" are an error when they do not start. ``model.providers`` tells the outcome.
        threads: Threads inside one operator; None leaves it to onnxruntime. Small models are
            fastest with 1.

    Raises:
        ModelError: The file is missing, damaged or too new, or contradicts its own contract.
        ProviderError: The provider is not there.
        MissingPackageError: onnxruntime is not installed.
    """
    path = Path(path)
    session = create_session(path, provider=provider, threads=threads)
    inputs = [_described(tensor) for tensor in session.get_inputs()]
    outputs = [_described(tensor) for tensor in session.get_outputs()]
    if not inputs or not outputs:
        raise ModelError(f"'{path}' has no input or no output tensor.")
    try:
        contract = contracts.from_metadata(session.get_modelmeta().custom_metadata_map)
    except ModelError as error:
        raise ModelError(f"'{path}': {error}") from error
    if contract is None:
        contract = _guessed(contracts.infer(path.stem, inputs, outputs), session)
    else:
        _check(path, contract, inputs, outputs)
    return Model(path, session, contract)


def _described(tensor: Any) -> Tensor:
    """Return name, numpy dtype name and shape of a session's tensor; unknown sizes get a name."""
    kind = tensor.type.removeprefix("tensor(").removesuffix(")")
    sizes = [size if isinstance(size, int) else str(size or "?") for size in tensor.shape]
    if sizes and not isinstance(sizes[0], int):
        sizes[0] = "batch"
    return tensor.name, _DTYPES.get(kind, "object"), tuple(sizes)


def _guessed(contract: Contract, session: Any) -> Contract:
    """Complete an inferred contract by what one run on zeros shows of the output's kind."""
    spec, output = contract.inputs[0], contract.outputs[0]
    sizes = (*(size if isinstance(size, int) else 1 for size in spec.shape[:1]), *spec.shape[1:])
    if len(contract.inputs) != 1 or any(isinstance(size, str) for size in sizes):
        return contract
    feed = np.zeros([int(size) for size in sizes], spec.dtype)
    try:
        kind: OutputKind = guess_kind(session.run([output.name], {spec.name: feed})[0])
    except Exception:  # not every model takes zeros; its output stays raw
        return contract
    first = dataclasses.replace(output, kind=kind)
    return dataclasses.replace(contract, outputs=(first, *contract.outputs[1:]))


def _check(path: Path, contract: Contract, inputs: list[Tensor], outputs: list[Tensor]) -> None:
    """Check that a contract speaks of the tensors that the graph has."""
    reason = (
        _contradiction("input", contract.inputs, inputs)
        or _contradiction("output", contract.outputs, outputs)
        or _label_mismatch(contract.outputs)
    )
    if reason:
        raise ModelError(f"'{path}' contradicts its contract: {reason}. Export it again.")


def _contradiction(
    what: str, promised: tuple[InputSpec, ...] | tuple[OutputSpec, ...], real: list[Tensor]
) -> str | None:
    tensors = {name: (dtype, shape) for name, dtype, shape in real}
    for spec in promised:
        dtype, shape = tensors.pop(spec.name, ("nothing of that name", ()))
        agree = len(shape) == len(spec.shape) and all(
            a == b or isinstance(a, str) or isinstance(b, str)
            for a, b in zip(shape, spec.shape, strict=True)
        )
        if dtype != spec.dtype or not agree:
            return (
                f"the {what} '{spec.name}' should be {spec.dtype} {shown(spec.shape)}, "
                f"the graph has {dtype} {shown(shape) if shape else ''}".rstrip()
            )
    if not promised or (tensors and what == "input"):
        return f"it does not name the {what} '{next(iter(tensors))}'"
    return None


def _label_mismatch(outputs: tuple[OutputSpec, ...]) -> str | None:
    for spec in outputs:
        classes = spec.shape[-1] if spec.shape else None
        # One column is a binary classifier: two classes.
        if spec.labels and isinstance(classes, int) and len(spec.labels) != max(classes, 2):
            return f"{len(spec.labels)} labels for the {classes} classes of output '{spec.name}'"
    return None
