"""ONNX files of any origin, brought to the opset that is wanted. Needs no TensorFlow."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner

from toolkit.contract import Contract, from_metadata
from toolkit.errors import ModelError
from toolkit.exporting import keras_contract
from toolkit.exporting.signature import Signature, Tensor
from toolkit.exporting.sources.model import (
    Array,
    SourceModel,
    first_line,
    fixed_batch,
    with_guessed_kinds,
)
from toolkit.exporting.sources.source import Source
from toolkit.runtime.session import create_session

_QUANTIZED = ("QuantizeLinear", "QLinear", "ConvInteger", "MatMulInteger", "DynamicQuantize")


def check(source: Source) -> None:
    """Check that a file is an ONNX model."""
    read(source.path)


def read(path: Path, *, weights: bool = False) -> onnx.ModelProto:
    """Return a model, with the weights that stand in files beside it or without.

    Raises:
        ModelError: It is damaged or no ONNX model.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(path, load_external_data=weights)
    except DecodeError as error:
        raise ModelError(f"'{path}' is damaged or no ONNX file.") from error
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"'{path}' cannot be read: {first_line(error)}") from error
    if not model.graph.output or not model.opset_import:
        raise ModelError(f"'{path}' is no ONNX model: it has no outputs or no opset.")
    return model


def read_contract(path: Path) -> Contract | None:
    """Return the contract of an ONNX file, or None."""
    try:
        return from_metadata({entry.key: entry.value for entry in read(path).metadata_props})
    except ModelError as error:
        raise ModelError(f"'{path}': {error}") from error


def opset_of(path: Path) -> int:
    """Return the opset of ONNX' own operators in a file."""
    return _opset(read(path), path)


def load(source: Source) -> SourceModel:
    """Load an ONNX file; the reference is what onnxruntime computes without optimizing it.

    Raises:
        ModelError: It is damaged, or onnxruntime does not load it.
    """
    path = str(source.path)
    model = read(source.path, weights=True)
    weights = {tensor.name for tensor in model.graph.initializer}
    # Before IR 4 every weight was listed among the inputs as well.
    inputs = [value for value in model.graph.input if value.name not in weights]
    if not inputs:
        raise ModelError(f"'{path}' has no inputs, so that it always computes the same.")
    session = create_session(source.path, provider="cpu", optimize=False)

    def run(arrays: Sequence[Array]) -> list[Array]:
        feed = {value.name: array for value, array in zip(inputs, arrays, strict=True)}
        try:
            return list(session.run([value.name for value in model.graph.output], feed))
        except Exception as error:  # onnxruntime's exceptions share no other base class
            raise ModelError(
                f"'{path}' cannot be run by onnxruntime on random samples: {first_line(error)}"
            ) from error

    signature = Signature(
        tuple(_tensor(path, value) for value in inputs),
        tuple(_tensor(path, value) for value in model.graph.output),
    )
    contract = keras_contract.fit(
        source.contract,
        signature,
        name=source.path.stem,
        kinds=["raw"] * len(signature.outputs),
        source=path,
    )
    loaded = SourceModel(
        computed_by="the original",
        contract=contract,
        run=run,
        convert=lambda opset, _: _converted(model, inputs, opset, path),
        versions={"onnx": onnx.__version__},
        batch=fixed_batch(contract, path),
        arithmetic="integer" if _is_quantized(model) else "float",
    )
    return loaded if source.contract is not None else with_guessed_kinds(loaded)


def _converted(model: onnx.ModelProto, inputs: Sequence[Any], opset: int, path: str) -> Any:
    """Return the model in another opset, without functions and inputs that are weights."""
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.input[:]
    changed.graph.input.extend(inputs)
    # Weights need not be inputs since IR 4.
    changed.ir_version = max(model.ir_version, 4)
    own = _opset(changed, Path(path))
    if own != opset:
        try:
            changed = onnx.version_converter.convert_version(changed, opset)
        except (RuntimeError, onnx.version_converter.ConvertError) as error:
            # "/onnx/x.h:23: adapt: Assertion `false` failed: No Previous Version of Gelu exists"
            reason = first_line(error).rpartition(" failed: ")[2]
            raise ModelError(
                f"'{path}' cannot be brought from opset {own} to {opset}: {reason}. Choose another "
                "--opset or --runtime."
            ) from error
    needed = onnx.helper.find_min_ir_version_for(list(changed.opset_import), True)
    changed.ir_version = max(needed, 4)
    return changed


def _is_quantized(model: onnx.ModelProto) -> bool:
    return any(node.op_type.startswith(_QUANTIZED) for node in model.graph.node)


def _opset(model: onnx.ModelProto, path: Path) -> int:
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            return int(entry.version)
    raise ModelError(f"'{path}' uses none of ONNX' own operators; it is not exported.")


def _tensor(path: str, value: Any) -> Tensor:
    if not value.type.HasField("tensor_type"):
        kind = value.type.WhichOneof("value")
        raise ModelError(f"'{path}': '{value.name}' is a {kind}, not a tensor; it is not exported.")
    tensor = value.type.tensor_type
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
    except (KeyError, TypeError) as error:
        raise ModelError(f"'{path}': '{value.name}' has no element type.") from error
    shape = [
        size.dim_value if size.HasField("dim_value") else size.dim_param or None
        for size in tensor.shape.dim
    ]
    return Tensor(value.name, dtype, tuple(shape))
