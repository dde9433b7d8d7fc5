"""Loads a float model and brings it into the form that the quantizer needs.

What old or unusual files have, and what is done about it:

    opset below 13                      converted to 13 (scales per channel need it)
    IR version 3                        raised to 4 (weights need not be inputs); later ones stay
    initializers among the inputs       removed from the inputs (IR version 3 demanded them)
    nodes in any order                  sorted
    weights in Constant nodes           made initializers
    reshaped, transposed, cast weights  computed once
    nodes without names                 named
    functions                           inlined
    float16 weights and activations     computed in float32, inputs and outputs stay float16
    batch normalization                 folded into the weights before it
    what toolkit.graph.clean rewrites   MatMul -> Add to Gemm, chains of shapes to constants, ...
"""

from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx_ir.passes import common

from toolkit.errors import ModelError
from toolkit.graph import clean
from toolkit.graph.editing import add_initializer, constant, infer_shapes
from toolkit.graph.matching import unused_name
from toolkit.graph.passes.fold_batch_norm import fold_batch_norm
from toolkit.graph.passes.fold_constants import fold_constants
from toolkit.graph.passes.widen_float16 import widen_float16

OPSET = 13  # the first in which QuantizeLinear has an axis
_IR_VERSION = 4  # the first in which weights are not among the inputs

_QUANTIZED = (
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger",
    "MatMulNBits", "QGemm", "DynamicQuantizeMatMul", "MatMulIntegerToFloat",
)  # fmt: skip

# What onnxruntime's quantizer appends to the name of a tensor.
_RESERVED = ("_scale", "_zero_point", "_quantized", "_scale_mul", "_output_quantized")


@dataclass(frozen=True)
class Prepared:
    """A float model that the quantizer can work on.

    Attributes:
        model: The model; its own copy.
        repairs: What had to be done first, in words.
    """

    model: ir.Model
    repairs: tuple[str, ...]


def prepare(path: Path) -> Prepared:
    """Load a float model and repair what the quantizer cannot work with.

    Raises:
        ModelError: The file is no ONNX model, is quantized already, or its opset cannot be
            converted.
    """
    proto = _read(path)
    _refuse_quantized(path, proto)
    repairs: list[str] = []
    proto = _upgraded(path, proto, repairs)
    model = ir.from_proto(proto)
    if model.functions:
        common.InlinePass()(model)
        repairs.append("functions inlined")
    names = {value.name for value in model.graph.inputs}
    if names & set(model.graph.initializers):
        common.RemoveInitializersFromInputsPass()(model)
        repairs.append("weights removed from the inputs")
    if not _is_sorted(model.graph):
        common.TopologicalSortPass()(model)
        repairs.append("nodes sorted")
    if any(node.op_type == "Constant" and node.domain == "" for node in model.graph):
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    _name_nodes(model.graph)
    fold_constants(model)
    infer_shapes(model)
    if widen_float16(model):
        repairs.append("float16 computed as float32")
    folded = fold_batch_norm(model)
    if folded:
        repairs.append(f"{folded} factors or summands per channel folded into weights")
    clean(model)
    _flatten_biases(model.graph)
    _rename_reserved(model.graph)
    _name_nodes(model.graph)
    infer_shapes(model)
    return Prepared(model, tuple(repairs))


def _read(path: Path) -> onnx.ModelProto:
    try:
        proto = onnx.load(path)
    except (DecodeError, ValueError) as error:
        raise ModelError(f"'{path}' is no ONNX model, or it is damaged.") from error
    except (OSError, onnx.checker.ValidationError) as error:
        raise ModelError(f"'{path}' or its external data cannot be read: {error}.") from error
    if not proto.graph.node:
        raise ModelError(f"'{path}' is no ONNX model, or it holds no nodes.")
    if proto.ByteSize() >= 2**31:
        raise ModelError(f"'{path}' is larger than 2 GB, which this quantizer does not handle.")
    return proto


def _refuse_quantized(path: Path, proto: onnx.ModelProto) -> None:
    for node in proto.graph.node:
        if node.op_type in _QUANTIZED or node.op_type.startswith("QLinear"):
            raise ModelError(
                f"'{path}' is quantized already (node '{node.name or node.output[0]}' is a "
                f"{node.op_type}). Quantize the float model that it was made from."
            )


def _upgraded(path: Path, proto: onnx.ModelProto, repairs: list[str]) -> onnx.ModelProto:
    opset = next(
        (entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), 1
    )
    if opset >= OPSET:
        if proto.ir_version < _IR_VERSION:
            repairs.append(f"IR version {proto.ir_version} raised to {_IR_VERSION}")
            proto.ir_version = _IR_VERSION
        return proto
    try:
        converted = onnx.version_converter.convert_version(proto, OPSET)
    # The converter's own exceptions share no base class below Exception.
    except Exception as error:
        raise ModelError(
            f"'{path}' has opset {opset} and cannot be converted to {OPSET}: "
            f"{' '.join(str(error).split())[:200]}. Export it again with --opset 17."
        ) from error
    # The converter drops these.
    del converted.metadata_props[:]
    converted.metadata_props.extend(proto.metadata_props)
    converted.ir_version = max(proto.ir_version, 7)  # the IR version of opset 13's time
    repairs.append(f"opset {opset} converted to {OPSET}")
    return converted


def _is_sorted(graph: ir.Graph) -> bool:
    seen: set[ir.Node] = set()
    for node in graph:
        for value in node.inputs:
            producer = value.producer() if value is not None else None
            if producer is not None and producer.graph is graph and producer not in seen:
                return False
        seen.add(node)
    return True


def _flatten_biases(graph: ir.Graph) -> None:
    """Give dense layers their bias as [M]; the quantizer cannot scale [1, M] per channel."""
    for node in graph:
        if node.op_type == "Gemm" and node.domain == "" and len(node.inputs) == 3:
            bias = node.inputs[2]
            array = constant(bias)
            if bias is not None and array is not None and array.ndim == 2 and len(array) == 1:
                flat = add_initializer(graph, f"{bias.name}_flat", array.reshape(-1))
                node.replace_input_with(2, flat)


def _name_nodes(graph: ir.Graph) -> None:
    """Give every node a name of its own: the quantizer selects nodes by name."""
    taken: set[str] = set()
    for node in graph:
        base = node.name or f"{node.op_type}_{node.outputs[0].name}"
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        node.name = name
        taken.add(name)


def _rename_reserved(graph: ir.Graph) -> None:
    """Rename tensors that are called what the quantizer would call a scale of another's.

    The scale of a layer normalization that is named after its output is one such.
    """
    for value in (
        *graph.initializers.values(),
        *(value for node in graph for value in node.outputs),
    ):
        ends = value.is_graph_input() or value.is_graph_output()
        if value.name and value.name.endswith(_RESERVED) and not ends:
            value.name = unused_name(graph, f"{value.name}_of_float")
