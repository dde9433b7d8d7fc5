"""`inspect`: what a model file holds and what it promises, without running anything of it."""

import importlib.util
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from toolkit import keras_files
from toolkit.contract import Contract, Dimension, from_metadata, infer
from toolkit.errors import ModelError
from toolkit.recipes import find_model

Kind = Literal["onnx", "keras", "h5", "tflite", "saved_model"]
Tensor = tuple[str, str, tuple[Dimension, ...]]  # name, dtype, shape

_HDF5 = b"\x89HDF\r\n\x1a\n"
_QUANTIZED = ("QuantizeLinear", "QLinear", "ConvInteger", "MatMulInteger", "MatMulNBits", "QGemm")


@dataclass(frozen=True)
class InspectResult:
    """What a model file holds.

    Attributes:
        path: The file.
        kind: What it is.
        opset: ONNX opset of the default domain, or None for another kind.
        ir_version: ONNX IR version, or None for another kind.
        size_bytes: Size of the file.
        inputs: Name, dtype and shape of each input, as far as the file tells.
        outputs: The same of each output.
        operators: How often each operator (ONNX) or layer (Keras) occurs.
        parameters: Numbers in weights, or None when the file does not tell.
        quantized: Whether it computes with quantized numbers.
        contract: What it promises, or None when it carries no contract.
        made_by: What wrote the file.
    """

    path: Path
    kind: Kind
    opset: int | None
    ir_version: int | None
    size_bytes: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    operators: dict[str, int]
    parameters: int | None
    quantized: bool
    contract: Contract | None
    made_by: str

    @property
    def assumed(self) -> Contract:
        """The contract, or the one that other commands infer when there is none."""
        return self.contract or infer(self.path.stem, self.inputs, self.outputs)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": "toolkit.inspect/1",
            "path": str(self.path),
            "kind": self.kind,
            "opset": self.opset,
            "ir_version": self.ir_version,
            "size_bytes": self.size_bytes,
            "inputs": [_tensor(entry) for entry in self.inputs],
            "outputs": [_tensor(entry) for entry in self.outputs],
            "operators": self.operators,
            "parameters": self.parameters,
            "quantized": self.quantized,
            "made_by": self.made_by,
            "contract": None if self.contract is None else self.contract.to_dict(),
        }


def inspect(model: str | Path) -> InspectResult:
    """Read what a model file holds. Nothing of the file is executed.

    Args:
        model: An .onnx, .keras, .h5 or .tflite file, a SavedModel folder, or a zoo name.

    Raises:
        ModelError: The file is missing, damaged, or none of these.
    """
    path = find_model(str(model), ".onnx", ".keras")
    if path.is_dir():
        if (path / "saved_model.pb").exists():
            return _bare(path, "saved_model", "TensorFlow; `toolkit export` looks inside")
        raise ModelError(f"'{path}' is a directory without a SavedModel; name a model.")
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise ModelError(f"'{path}' cannot be read: {error.strerror}.") from error
    if not head:
        raise ModelError(f"'{path}' is empty.")
    if head[:4] == b"PK\x03\x04":
        return _keras(path)
    if head == _HDF5:
        return _h5(path)
    if head[4:] == b"TFL3":
        return _bare(path, "tflite", "TensorFlow Lite; `toolkit export` looks inside")
    return _onnx(path)


def _onnx(path: Path) -> InspectResult:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ModelError(
            f"'{path}' is no model file that can be read: expected .onnx, .keras, .h5 or .tflite."
        ) from error
    graph = model.graph
    if not graph.node and not graph.output:
        raise ModelError(
            f"'{path}' is no model file that can be read: expected .onnx, .keras, .h5 or .tflite."
        )
    weights = {tensor.name for tensor in graph.initializer}
    operators = Counter(_operators(graph.node))
    contract = from_metadata({entry.key: entry.value for entry in model.metadata_props})
    return InspectResult(
        path=path,
        kind="onnx",
        opset=next((i.version for i in model.opset_import if i.domain in ("", "ai.onnx")), None),
        ir_version=model.ir_version,
        size_bytes=path.stat().st_size,
        inputs=tuple(_value(value) for value in graph.input if value.name not in weights),
        outputs=tuple(_value(value) for value in graph.output),
        operators=dict(operators.most_common()),
        parameters=sum(
            int(np.prod(tensor.dims))
            for tensor in graph.initializer
            # Shapes of Reshape and single factors are no weights.
            if tensor.dims and tensor.data_type != onnx.TensorProto.INT64
        ),
        quantized=any(name.startswith(_QUANTIZED) for name in operators),
        contract=contract,
        made_by=f"{model.producer_name} {model.producer_version}".strip(),
    )


def _operators(nodes: Iterable[Any]) -> Iterable[str]:
    """Yield the operator of each node, those of loop and branch bodies included."""
    for node in nodes:
        yield node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                yield from _operators(body.node)


def _value(value: Any) -> Tensor:
    import onnx

    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        return value.name, str(value.type.WhichOneof("value")), ()
    try:
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    except KeyError:
        dtype = "unknown"
    shape = tuple(
        size.dim_value if size.HasField("dim_value") else size.dim_param or "?"
        for size in tensor.shape.dim
    )
    return value.name, dtype, shape


def _keras(path: Path) -> InspectResult:
    config = keras_files.read_config(path)
    metadata = keras_files.read_metadata(path)
    contract = keras_files.read_contract(path)
    inputs, outputs = (
        (tuple((spec.name, spec.dtype, spec.shape) for spec in specs))
        for specs in ((contract.inputs, contract.outputs) if contract else ((), ()))
    )
    return _layers(path, "keras", config, f"Keras {metadata.get('keras_version', '?')}",
                   contract, inputs, outputs)  # fmt: skip


def _h5(path: Path) -> InspectResult:
    """Read the layers of a Keras HDF5 file; h5py comes with TensorFlow."""
    import json

    if importlib.util.find_spec("h5py") is None:
        return _layers(path, "h5", {}, "Keras, HDF5 (install h5py to see its layers)", None, (), ())
    import h5py

    try:
        with h5py.File(path, "r") as file:
            config = json.loads(file.attrs.get("model_config", "{}"))
            version = str(file.attrs.get("keras_version", "?"))
    except (OSError, ValueError) as error:
        raise ModelError(f"'{path}' is a damaged HDF5 file: {error}.") from error
    if not config:
        raise ModelError(f"'{path}' is an HDF5 file without a Keras model (weights alone?).")
    return _layers(path, "h5", config, f"Keras {version}", None, (), ())


def _layers(
    path: Path,
    kind: Kind,
    config: Mapping[str, Any],
    made_by: str,
    contract: Contract | None,
    inputs: tuple[Tensor, ...],
    outputs: tuple[Tensor, ...],
) -> InspectResult:
    layers = list(_layer_configs(config))
    if not inputs:
        inputs = tuple(_input_layer(layer) for layer in layers if _class(layer) == "InputLayer")
    names = Counter(_class(layer) for layer in layers if _class(layer) != "InputLayer")
    return InspectResult(
        path=path,
        kind=kind,
        opset=None,
        ir_version=None,
        size_bytes=path.stat().st_size,
        inputs=inputs,
        outputs=outputs,
        operators=dict(names.most_common()),
        parameters=None,
        quantized=False,
        contract=contract,
        made_by=made_by,
    )


def _layer_configs(config: Any) -> Iterable[Mapping[str, Any]]:
    """Yield the config of every layer; a model among the layers gives its own layers."""
    inner = config.get("config") if isinstance(config, dict) else None
    layers = inner.get("layers") if isinstance(inner, dict) else None
    for layer in layers if isinstance(layers, list) else []:
        nested = layer.get("config") if isinstance(layer, dict) else None
        if isinstance(nested, dict) and isinstance(nested.get("layers"), list):
            yield from _layer_configs(layer)
        elif isinstance(layer, dict):
            yield layer


def _class(layer: Mapping[str, Any]) -> str:
    return str(layer.get("class_name", "?"))


def _input_layer(layer: Mapping[str, Any]) -> Tensor:
    config = layer.get("config")
    config = config if isinstance(config, dict) else {}
    shape = config.get("batch_shape") or config.get("batch_input_shape") or []
    sizes = ("batch" if index == 0 else "?" for index in range(len(shape)))
    return (
        str(config.get("name", "?")),
        str(config.get("dtype", "float32")),
        tuple(
            size if isinstance(size, int) else name for size, name in zip(shape, sizes, strict=True)
        ),
    )


def _bare(path: Path, kind: Kind, made_by: str) -> InspectResult:
    """Only what the file's signature tells; reading more needs TensorFlow."""
    files = path.rglob("*") if path.is_dir() else (path,)
    return InspectResult(
        path=path,
        kind=kind,
        opset=None,
        ir_version=None,
        size_bytes=sum(file.stat().st_size for file in files if file.is_file()),
        inputs=(),
        outputs=(),
        operators={},
        parameters=None,
        quantized=False,
        contract=None,
        made_by=made_by,
    )


def _tensor(entry: Tensor) -> dict[str, Any]:
    name, dtype, shape = entry
    return {"name": name, "dtype": dtype, "shape": list(shape)}
