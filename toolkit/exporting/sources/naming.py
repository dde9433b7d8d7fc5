"""Names of tensors and signatures, as people would give them."""

from collections.abc import Iterable, Sequence

import onnx_ir as ir

from toolkit.errors import ModelError
from toolkit.exporting.signature import unique
from toolkit.recipes import closest

_USUAL = "serving_default"


def choose_signature(path: str, wanted: str | None, known: Iterable[str]) -> str:
    """Return the signature to export: the one asked for, the usual one, or the only one.

    Raises:
        ModelError: There is none, none of that name, or there are several and none is the usual.
    """
    names = sorted(known)
    listed = ", ".join(f"'{name}'" for name in names)
    if not names:
        raise ModelError(
            f"'{path}' has no signature, so that nothing in it can be called from outside. Save it "
            "with model.export(), or with signatures=..."
        )
    if wanted is not None:
        if wanted not in names:
            raise ModelError(
                f"'{path}' has no signature '{wanted}'.{closest(wanted, names)} It has: {listed}."
            )
        return wanted
    if _USUAL in names:
        return _USUAL
    if len(names) > 1:
        raise ModelError(
            f"'{path}' has several signatures and none is '{_USUAL}': {listed}. Choose one with "
            "--signature."
        )
    return names[0]


def cleaned(names: Sequence[str]) -> list[str]:
    """Return names without what TensorFlow put around them: ``serving_default_image:0``."""
    taken: set[str] = set()
    return [
        unique(name.removeprefix(f"{_USUAL}_").removesuffix(":0") or "tensor", taken)
        for name in names
    ]


def rename(model: ir.Model, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Give the inputs and outputs of an ONNX graph other names, in place and in their order.

    An output that is an input, or the same value as another output, gets an Identity.
    """
    graph = model.graph
    names = {*inputs, *outputs}
    for value in {id(value): value for node in graph for value in node.outputs}.values():
        if value.name in names:
            value.name = f"{value.name}/inner"
    for value, name in zip(graph.inputs, inputs, strict=True):
        value.name = name
    seen: set[int] = {id(value) for value in graph.inputs}
    for index, (value, name) in enumerate(zip(list(graph.outputs), outputs, strict=True)):
        if id(value) in seen:
            node = ir.node("Identity", [value])
            node.outputs[0].type, node.outputs[0].shape = value.type, value.shape
            graph.append(node)
            graph.outputs[index] = value = node.outputs[0]
        value.name = name
        seen.add(id(value))
