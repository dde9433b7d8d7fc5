"""TensorFlow Lite files: float, with weights quantized, or integer throughout."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from toolkit.errors import ModelError
from toolkit.exporting import keras_contract
from toolkit.exporting.signature import Signature, Tensor
from toolkit.exporting.sources import naming
from toolkit.exporting.sources.model import (
    Array,
    SourceModel,
    fixed_batch,
    refusing,
    with_guessed_kinds,
)
from toolkit.exporting.sources.source import Source
from toolkit.quiet_tensorflow import import_tensorflow

_SECOND_BATCH = 2


def load(source: Source) -> SourceModel:
    """Load one signature of a TensorFlow Lite file.

    Raises:
        ModelError: It is damaged, or has several signatures and none is the usual one.
    """
    tf = import_tensorflow()
    import tf2onnx

    path = str(source.path)
    with refusing(path, "cannot be loaded by TensorFlow Lite", RuntimeError):
        interpreter = _interpreter(source.path)
        inputs, outputs, names = _tensors(source, interpreter)
        dynamic = all(_is_dynamic(entry) for entry in inputs) and _resizes(interpreter, inputs)

    def run(arrays: Sequence[Array]) -> list[Array]:
        with refusing(path, "cannot be run by TensorFlow Lite", RuntimeError):
            return _run(interpreter, inputs, outputs, arrays)

    def convert(opset: int, _: int | None) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it makes an interpreter too
            proto, _ = tf2onnx.convert.from_tflite(
                path,
                input_names=[entry["name"] for entry in inputs],
                output_names=list(dict.fromkeys(entry["name"] for entry in outputs)),
                opset=opset,
            )
        return _renamed(proto, inputs, outputs, names)

    signature = Signature(
        tuple(_tensor(name, entry, dynamic) for name, entry in zip(names, inputs, strict=False)),
        tuple(
            _tensor(name, entry, dynamic)
            for name, entry in zip(names[len(inputs) :], outputs, strict=True)
        ),
    )
    contract = keras_contract.fit(
        None,
        signature,
        name=source.path.stem,
        kinds=["raw"] * len(outputs),
        source=path,
    )
    model = SourceModel(
        computed_by="TensorFlow Lite",
        contract=contract,
        run=run,
        convert=convert,
        versions={"tensorflow": tf.__version__, "tf2onnx": tf2onnx.__version__},
        batch=fixed_batch(contract, path),
        arithmetic="approximate" if _is_quantized(interpreter) else "float",
    )
    return with_guessed_kinds(model)


def _interpreter(path: Path) -> Any:
    import tensorflow as tf

    # Its default kernels (XNNPACK) round as onnxruntime does; its others differ from them by up to
    # 6 of 255 codes in a small integer network.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its successor is another package
        interpreter = tf.lite.Interpreter(model_content=path.read_bytes())
    interpreter.allocate_tensors()
    return interpreter


def _tensors(source: Source, interpreter: Any) -> tuple[list[Any], list[Any], list[str]]:
    """Return the details of inputs and outputs, and the names of both."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if not inputs or not outputs:
        raise ModelError(f"'{source.path}' has no input or no output.")
    signatures = interpreter.get_signature_list()
    if not signatures:
        if source.signature is not None:
            raise ModelError(f"'{source.path}' has no signatures; leave --signature out.")
        return inputs, outputs, naming.cleaned([entry["name"] for entry in (*inputs, *outputs)])
    key = naming.choose_signature(str(source.path), source.signature, signatures)
    runner = interpreter.get_signature_runner(key)
    chosen = []
    for details, all_details in (
        (runner.get_input_details(), inputs),
        (runner.get_output_details(), outputs),
    ):
        places = {entry["index"]: entry for entry in all_details}
        if any(entry["index"] not in places for entry in details.values()):
            first = next(iter(signatures))
            raise ModelError(
                f"'{source.path}': the signature '{key}' is a graph of its own beside the main "
                f"one ('{first}'), which is not converted. Save it as a file of its own."
            )
        chosen.append({name: places[entry["index"]] for name, entry in details.items()})
    names = naming.cleaned([*chosen[0], *chosen[1]])
    return list(chosen[0].values()), list(chosen[1].values()), names


def _tensor(name: str, entry: Any, dynamic: bool) -> Tensor:
    sizes = [None if size < 0 else int(size) for size in entry["shape_signature"]]
    if not dynamic:
        sizes = [int(size) for size in entry["shape"]]
    return Tensor(name, np.dtype(entry["dtype"]).name, tuple(sizes))


def _is_dynamic(entry: Any) -> bool:
    signature = entry["shape_signature"]
    return len(signature) > 0 and signature[0] < 0


def _resizes(interpreter: Any, inputs: Sequence[Any]) -> bool:
    """Tell whether the graph really takes another batch size than one.

    The batch may be declared dynamic in front of a reshape to a size that is fixed.
    """
    try:
        zeros = [
            np.zeros([_SECOND_BATCH, *np.maximum(entry["shape"][1:], 1)], entry["dtype"])
            for entry in inputs
        ]
        found = _run(interpreter, inputs, interpreter.get_output_details(), zeros)
    except (RuntimeError, ValueError):
        return False
    return all(array.ndim > 0 and len(array) == _SECOND_BATCH for array in found)


def _run(
    interpreter: Any, inputs: Sequence[Any], outputs: Sequence[Any], arrays: Sequence[Array]
) -> list[Array]:
    for entry, array in zip(inputs, arrays, strict=True):
        interpreter.resize_tensor_input(entry["index"], array.shape)
    interpreter.allocate_tensors()
    for entry, array in zip(inputs, arrays, strict=True):
        interpreter.set_tensor(entry["index"], array)
    interpreter.invoke()
    return [np.array(interpreter.get_tensor(entry["index"])) for entry in outputs]


def _is_quantized(interpreter: Any) -> bool:
    """Tell whether any tensor is stored in eight bits or fewer with a scale."""
    return any(
        entry["quantization_parameters"]["scales"].size and np.dtype(entry["dtype"]).itemsize == 1
        for entry in interpreter.get_tensor_details()
    )


def _renamed(proto: Any, inputs: Sequence[Any], outputs: Sequence[Any], names: list[str]) -> Any:
    """Return the ONNX model with clean names, its inputs and outputs in the signature's order."""
    model = ir.from_proto(proto)
    given = {value.name: value for value in model.graph.inputs}
    results = {value.name: value for value in model.graph.outputs}
    model.graph.inputs[:] = [given[entry["name"]] for entry in inputs]
    model.graph.outputs[:] = [results[entry["name"]] for entry in outputs]
    naming.rename(model, names[: len(inputs)], names[len(inputs) :])
    return ir.to_proto(model)
