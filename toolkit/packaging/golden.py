"""Golden samples: inputs with the outputs that the model gives here, to be compared elsewhere.

A package carries them as raw little-endian tensors, which every language reads in a line or two:

    golden/golden.json            what the files hold, and how far another machine may be off
    golden/input-0.bin            the first input: one tensor after the other, one per run
    golden/output-0.bin           the first output of model.onnx
    golden/beside-output-0.bin    the same of the model beside it, if there is one
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.contract import Contract
from toolkit.errors import DataError, ModelError
from toolkit.packaging.application import Tensor
from toolkit.runtime.feeding import to_batch
from toolkit.runtime.session import create_session

RUNS = 8
SCHEMA = "toolkit.golden/1"

Array = npt.NDArray[Any]

# Operators that move values, or that IEEE 754 rounds in one way only; and those whose int8 kernels
# are exact integer arithmetic. A model of these alone is equal bit for bit everywhere.
_MOVING = {"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Concat", "Identity", "Slice"}
_ROUNDED = {"QuantizeLinear", "DequantizeLinear", "Cast", "Mul", "MaxPool", "Relu", "Clip", "Pad"}
_INTEGER = {"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"}
_PRODUCTS = {"Conv", "Gemm", "MatMul"}  # exact between dequantized inputs: they run in int8


@dataclass(frozen=True)
class Answers:
    """The outputs of one model for the golden inputs.

    Attributes:
        outputs: One array [runs, *shape of one run] per output.
        tolerances: How far each output may be off elsewhere, absolute; 0 means bit for bit.
    """

    outputs: tuple[Array, ...]
    tolerances: tuple[float, ...]


def golden_inputs(
    tensors: tuple[Tensor, ...], contract: Contract, data: str | None, seed: int = 0
) -> tuple[Array, ...]:
    """Return one array [runs, *shape of one run] per input.

    With ``data``, the samples are one of each class of the data's test part; without, they are
    random: pixels and integers over the range of bytes, floats of the normal distribution.

    Raises:
        DataError: The data does not fit the input, or the model has several inputs.
    """
    if data is None:
        generator = np.random.default_rng(seed)
        return tuple(_random(tensor, generator) for tensor in tensors)
    if len(tensors) != 1:
        raise DataError(
            f"The data '{data}' has one array of samples, the model has {len(tensors)} inputs. "
            "Leave out --data: the golden samples are random then."
        )
    from toolkit.datasets import evaluation_split, load_dataset

    split, _ = evaluation_split(load_dataset(data, contract), contract)
    if split.labels is None:
        picked = np.arange(min(RUNS, len(split)))
    else:
        picked = np.unique(split.labels, return_index=True)[1][:10]
    tensor = tensors[0]
    runs = -(-len(picked) // tensor.batch)
    batch = to_batch(split.images[np.resize(picked, runs * tensor.batch)], contract.inputs[0])
    return (np.ascontiguousarray(batch).reshape(runs, *tensor.shape),)


def golden_answers(
    path: Path, contract: Contract, inputs: tuple[Array, ...], graph: Any
) -> Answers:
    """Run a model on the golden inputs.

    The session computes int8 products exactly on every CPU, also on those that would saturate
    (x86 with AVX2 and without VNNI), so that the answers do not depend on this machine.

    Args:
        path: The model file.
        contract: Its contract.
        inputs: What `golden_inputs` returned.
        graph: The model's ``onnx.GraphProto``, which decides about the tolerances.

    Raises:
        ModelError: The model does not run on these inputs.
    """
    session = create_session(path, provider="cpu", threads=1, configure=_compute_exactly)
    names = [spec.name for spec in contract.outputs]
    runs: list[list[Array]] = []
    try:
        for number in range(len(inputs[0])):
            feeds = {
                spec.name: array[number]
                for spec, array in zip(contract.inputs, inputs, strict=True)
            }
            runs.append(session.run(names, feeds))
    # onnxruntime's exceptions share no base class below Exception.
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"'{path}' does not run on its golden samples: {reason}") from error
    outputs = tuple(np.stack(list(column)) for column in zip(*runs, strict=True))
    tolerances = (_tolerance(graph, values) for values in outputs)
    return Answers(outputs, tuple(tolerances))


def _compute_exactly(session_options: Any) -> None:
    session_options.add_session_config_entry("session.x64quantprecision", "1")


def write_golden(
    folder: Path,
    contract: Contract,
    inputs: tuple[Array, ...],
    answers: dict[str, Answers],
) -> None:
    """Write golden.json and its tensors; ``answers`` are by the model's file name."""
    folder.mkdir()
    document: dict[str, Any] = {"schema": SCHEMA, "runs": len(inputs[0]), "inputs": []}
    for number, (tensor, array) in enumerate(zip(contract.inputs, inputs, strict=True)):
        file = f"input-{number}.bin"
        document["inputs"].append(_written(folder / file, tensor.name, array))
    document["models"] = []
    for file, answer in answers.items():
        prefix = "" if file == next(iter(answers)) else "beside-"
        entries = []
        for number, (spec, array) in enumerate(zip(contract.outputs, answer.outputs, strict=True)):
            entry = _written(folder / f"{prefix}output-{number}.bin", spec.name, array)
            entries.append({**entry, "tolerance": answer.tolerances[number]})
        document["models"].append({"file": file, "outputs": entries})
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (folder / "golden.json").write_text(text + "\n", encoding="utf-8")


def _written(path: Path, name: str, array: Array) -> dict[str, Any]:
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    path.write_bytes(little.tobytes())
    return {"file": path.name, "name": name, "dtype": str(array.dtype), "shape": array.shape[1:]}


def _random(tensor: Tensor, generator: np.random.Generator) -> Array:
    shape = (RUNS, *tensor.shape)
    if tensor.dtype.startswith("float") and tensor.picture is None:
        return generator.standard_normal(shape).astype(tensor.dtype)
    pixels = generator.integers(0, 128 if tensor.dtype == "int8" else 256, shape)
    if tensor.picture is None or tensor.picture.scale is None:
        return pixels.astype(tensor.dtype)
    axes = (-1, 1, 1) if tensor.picture.layout == "NCHW" else (-1,)
    scale, offset = (
        np.asarray(values, np.float32).reshape(axes)
        for values in (tensor.picture.scale, tensor.picture.offset)
    )
    return (pixels.astype(np.float32) * scale + offset).astype(tensor.dtype)


def _tolerance(graph: Any, values: Array) -> float:
    """Return how far an output may be off on another CPU.

    A float model: 1e-4 of the largest value, far above what the order of additions changes. A
    quantized one: nothing when every operator is exact, else one step of 255 over the range of
    the values: where a float operator stands before a rounding, the rounding may fall otherwise.
    """
    numbers = values.astype(np.float64)
    nodes = list(graph.node)
    quantized = any("QuantizeLinear" in n.op_type or "Integer" in n.op_type for n in nodes)
    if not quantized:
        return 1e-4 * max(1.0, float(np.abs(numbers).max(initial=0)))
    if _is_exact(nodes):
        return 0.0
    return float(np.ptp(numbers)) / 255 if numbers.size else 0.0


def _is_exact(nodes: list[Any]) -> bool:
    dequantized = {n.output[0] for n in nodes if n.op_type == "DequantizeLinear"}
    return all(
        node.op_type in _MOVING | _ROUNDED | _INTEGER
        or (node.op_type in _PRODUCTS and dequantized.issuperset(node.input))
        for node in nodes
    )
