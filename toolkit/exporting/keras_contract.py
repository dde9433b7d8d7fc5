"""The contract of a source model: its own, checked against the model, or one read off it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from toolkit import contract as contracts
from toolkit.contract import Affine, Contract, Dimension, InputSpec, OutputKind
from toolkit.errors import ModelError, RecipeError
from toolkit.exporting.signature import Signature, Tensor
from toolkit.recipes import closest

InputDtype = Literal["uint8", "float32"]
InputDtypes = InputDtype | Mapping[str, InputDtype]

_KINDS: dict[str, OutputKind] = {"softmax": "probabilities", "sigmoid": "probabilities"}


def fit(
    known: Contract | None,
    signature: Signature,
    *,
    name: str,
    kinds: Sequence[OutputKind],
    source: str,
) -> Contract:
    """Return the contract of a loaded source model.

    A contract that the file carries is kept, under the tensor names of the model. Without one the
    inputs that look like pictures are taken for such, and labels are unknown.

    Args:
        known: The contract in the file, or None.
        signature: Of the model.
        name: What to call the model.
        kinds: What each output is, as far as the model itself tells.
        source: What to call the file.

    Raises:
        ModelError: The file's contract is that of another model.
    """
    inferred = contracts.infer(
        name,
        [(tensor.name, tensor.dtype, _shape(tensor)) for tensor in signature.inputs],
        [(tensor.name, tensor.dtype, _shape(tensor)) for tensor in signature.outputs],
    )
    if known is None:
        outputs = zip(inferred.outputs, kinds, strict=True)
        return dataclasses.replace(
            inferred,
            outputs=tuple(dataclasses.replace(spec, kind=kind) for spec, kind in outputs),
        )
    if len(known.inputs) != len(inferred.inputs) or len(known.outputs) != len(inferred.outputs):
        raise ModelError(
            f"'{source}': the contract in it has {len(known.inputs)} inputs and "
            f"{len(known.outputs)} outputs, the model {len(inferred.inputs)} and "
            f"{len(inferred.outputs)}. Save the model again."
        )
    for ours, theirs in zip(inferred.outputs, known.outputs, strict=True):
        classes = ours.shape[-1] if ours.shape else 1
        if theirs.labels is not None and isinstance(classes, int) and classes != len(theirs.labels):
            raise ModelError(
                f"'{source}': the contract in it names {len(theirs.labels)} labels, but the "
                f"output '{ours.name}' has the shape {list(ours.shape)}. Save the model again."
            )
    return dataclasses.replace(
        known,
        inputs=tuple(
            dataclasses.replace(theirs, name=ours.name, dtype=ours.dtype, shape=ours.shape)
            for ours, theirs in zip(inferred.inputs, known.inputs, strict=True)
        ),
        outputs=tuple(
            dataclasses.replace(theirs, name=ours.name, dtype=ours.dtype, shape=ours.shape)
            for ours, theirs in zip(inferred.outputs, known.outputs, strict=True)
        ),
    )


def with_own_preprocessing(contract: Contract, own: Sequence[Affine | None]) -> Contract:
    """Return the contract with what the model itself does to its pictures noted.

    Args:
        contract: Of the source.
        own: For each input, the preprocessing that the model begins with, or None.
    """
    return dataclasses.replace(
        contract,
        inputs=tuple(
            spec
            if affine is None or spec.image is None or spec.in_graph is not None
            else dataclasses.replace(spec, in_graph=affine)
            for spec, affine in zip(contract.inputs, own, strict=True)
        ),
    )


def exported_inputs(
    inputs: tuple[InputSpec, ...], dtype: InputDtypes | None
) -> tuple[InputSpec, ...]:
    """Return the inputs that the ONNX model has, given those of the source.

    An image input becomes uint8, its preprocessing moves from ``by_caller`` to ``in_graph``.
    With ``dtype`` None that is done where the preprocessing is known: by the contract, or because
    the model does it itself. With "uint8" it is done for every image, with "float32" nowhere; a
    mapping says it for single inputs.

    Raises:
        RecipeError: "uint8" is asked for, but no input is a floating point image; or a name is
            unknown.
    """
    names = [spec.name for spec in inputs]
    single = dtype if isinstance(dtype, Mapping) else dict.fromkeys(names, dtype)
    for name in single:
        if name not in names:
            raise RecipeError(
                f"--input: the model has no input '{name}'.{closest(name, names)} "
                f"It has {', '.join(names)}."
            )
    changed = tuple(_exported(spec, single.get(spec.name)) for spec in inputs)
    asked = [name for name, wanted in single.items() if wanted == "uint8"]
    served = {spec.name for spec in changed if spec.dtype == "uint8"}
    if asked and ((isinstance(dtype, Mapping) and set(asked) - served) or not served):
        taken = ", ".join(f"'{spec.name}' {spec.dtype} {list(spec.shape)}" for spec in inputs)
        raise RecipeError(
            f"--input uint8 needs an image input; this model takes {taken}. Leave --input out."
        )
    return changed


def _exported(spec: InputSpec, dtype: InputDtype | None) -> InputSpec:
    known = spec.by_caller is not None or spec.in_graph is not None
    if spec.image is None or not spec.dtype.startswith("float") or dtype == "float32":
        return spec
    if not known and dtype is None:
        return spec
    in_graph = spec.in_graph
    if spec.by_caller is not None:
        in_graph = spec.by_caller if in_graph is None else spec.by_caller.then(in_graph)
    return dataclasses.replace(spec, dtype="uint8", in_graph=in_graph, by_caller=None)


def _shape(tensor: Tensor) -> tuple[Dimension, ...]:
    """Name the dynamic sizes: the first is the batch, others say which axis they are."""
    return tuple(
        size if size is not None else "batch" if axis == 0 else f"{tensor.name}_{axis}"
        for axis, size in enumerate(tensor.shape)
    )


def output_kind(tensor: Any) -> OutputKind:
    """Tell what a symbolic Keras output is, by the layer that gives it.

    Behind softmax or sigmoid: probabilities. Other rows [N, classes] of two or more numbers that
    no activation bounds are logits, as `toolkit.runtime.scores.guess_kind` has it; the rest is
    raw.
    """
    history = tensor._keras_history  # of Keras 3, or of Keras 2
    layer = history.operation if hasattr(history, "operation") else history.layer
    activation = getattr(layer, "activation", None)
    name = getattr(activation, "__name__", type(layer).__name__).lower()
    if name in _KINDS:
        return _KINDS[name]
    columns = tensor.shape[1] if len(tensor.shape) == 2 else None
    return "logits" if name == "linear" and columns and columns > 1 else "raw"
