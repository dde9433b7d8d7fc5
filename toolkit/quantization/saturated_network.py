"""Runs a quantized network as an x86 CPU with AVX2 and without VNNI would.

The layers that can saturate are cut out of the optimized graph and computed here; onnxruntime
runs what lies between them, each piece in a session of its own. Layers inside of loops and
branches are not seen.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy.typing as npt
import onnx
from onnx import helper

from toolkit.devices.kernels import int8_kernels
from toolkit.measuring.environment import cpu_features
from toolkit.quantization.optimized_graph import optimized
from toolkit.quantization.saturating_layers import Computed, Layer, saturating_layers
from toolkit.runtime.session import create_session

Array = npt.NDArray[Any]


class SaturatedNetwork:
    """A quantized model whose sums saturate at 16 bits.

    Attributes:
        layers: All layers with kernels that can saturate.
        exposed: Those of them whose weights are large enough for it; only they are cut out.
        dynamic: Whether ranges of activations are measured at every run, over the whole batch.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        outputs: Sequence[str],
        *,
        disabled_optimizers: Sequence[str] = (),
    ) -> None:
        """Optimize the graph as onnxruntime would.

        Args:
            model: A quantized model in any form; left unchanged.
            outputs: Names of its outputs that `run` returns.
            disabled_optimizers: Graph optimizers that onnxruntime leaves out.

        Raises:
            ModelError: onnxruntime cannot load the model.
        """
        self._model = optimized(model, layouts=True, disabled_optimizers=disabled_optimizers)
        self.dynamic = _open_dynamic_products(self._model)
        self._outputs = tuple(outputs)
        graph = self._model.graph
        self._constants = {each.name: each for each in graph.initializer}
        arrays = {name: onnx.numpy_helper.to_array(each) for name, each in self._constants.items()}
        self.layers = saturating_layers(graph, arrays)
        self.exposed = [layer for layer in self.layers if layer.exposed]
        self._makers = {name: node for node in graph.node for name in node.output}
        self._pieces: dict[tuple[frozenset[str], tuple[str, ...]], Any] = {}
        self._saturates_here = not int8_kernels(cpu_features()).exact

    def run(self, feed: Mapping[str, Array]) -> tuple[list[Array], list[Computed]]:
        """Return the model's outputs for one batch, and what each exposed layer computed."""
        values = dict(feed)
        computed = []
        for layer in self.exposed:
            computed.append(self._compute(layer, values))
            values[layer.output] = computed[-1].saturated
        self._provide(self._outputs, values)
        return [values[name] for name in self._outputs], computed

    def run_exactly(self, feed: Mapping[str, Array]) -> list[Array]:
        """Return the model's outputs for one batch on CPUs that do not saturate."""
        values = dict(feed)
        # onnxruntime's own option for it (session.x64quantprecision) refuses layers that share
        # their weights, as of 1.31.
        if self._saturates_here:
            for layer in self.exposed:
                values[layer.output] = self._compute(layer, values).exact
        self._provide(self._outputs, values)
        return [values[name] for name in self._outputs]

    def _compute(self, layer: Layer, values: dict[str, Array]) -> Computed:
        self._provide((*layer.reads, layer.output), values)
        return layer.compute(values, len(next(iter(values.values()))))

    def _provide(self, names: tuple[str, ...], values: dict[str, Array]) -> None:
        """Compute tensors from those that are known, and add them to these."""
        wanted = tuple(name for name in names if name not in values)
        if not wanted:
            return
        key = frozenset(values), wanted
        if key not in self._pieces:
            piece = self._piece(wanted, values).SerializeToString()
            self._pieces[key] = create_session(piece, provider="cpu", optimize=False)
        session = self._pieces[key]
        feed = {each.name: values[each.name] for each in session.get_inputs()}
        values.update(zip(wanted, session.run(list(wanted), feed), strict=True))

    def _piece(self, wanted: tuple[str, ...], known: Mapping[str, Array]) -> onnx.ModelProto:
        """Return the part of the graph that computes tensors from known ones."""
        needed: set[str] = set()
        inputs: dict[str, None] = {}
        constants: dict[str, None] = {}
        pending = list(wanted)
        while pending:
            name = pending.pop()
            if name in known:
                inputs[name] = None
            elif name in self._constants:
                constants[name] = None
            elif name and self._makers[name].output[0] not in needed:
                node = self._makers[name]
                needed.add(node.output[0])
                pending.extend([*node.input, *_captured(node)])
        graph = helper.make_graph(
            [node for node in self._model.graph.node if node.output[0] in needed],
            "piece",
            [_value(name, known[name]) for name in inputs],
            [onnx.ValueInfoProto(name=name) for name in wanted],
            [self._constants[name] for name in constants],
        )
        return helper.make_model(
            graph, opset_imports=self._model.opset_import, ir_version=self._model.ir_version
        )


def _value(name: str, array: Array) -> onnx.ValueInfoProto:
    """Return an input of any length."""
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, kind, [None] * array.ndim)


def _captured(node: onnx.NodeProto) -> Collection[str]:
    """Return what the graphs inside a node (If, Loop, Scan) read from outside of them."""
    found: set[str] = set()
    for attribute in node.attribute:
        for graph in [attribute.g, *attribute.graphs]:
            made = {name for inner in graph.node for name in inner.output}
            made |= {each.name for each in (*graph.input, *graph.initializer)}
            read = {name for inner in graph.node for name in (*inner.input, *_captured(inner))}
            found |= {name for name in read | {o.name for o in graph.output} if name} - made
    return found


def _open_dynamic_products(model: onnx.ModelProto) -> bool:
    """Divide DynamicQuantizeMatMul, so that its quantized activations can be seen.

    Returns whether the graph measures ranges while it runs.
    """
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        if node.op_type != "DynamicQuantizeMatMul":
            model.graph.node.append(node)
            continue
        activations, weights, scale, zero_point, bias = (*node.input, "", "")[:5]
        name = node.output[0]
        parts = [f"{name}_{part}" for part in ("codes", "scale", "zero_point")]
        inputs = [parts[0], weights, parts[1], scale, parts[2], zero_point, bias]
        model.graph.node.extend(
            [
                helper.make_node("DynamicQuantizeLinear", [activations], parts),
                helper.make_node(
                    "MatMulIntegerToFloat", inputs, [name], node.name, domain="com.microsoft"
                ),
            ]
        )
    return any(node.op_type == "DynamicQuantizeLinear" for node in model.graph.node)
