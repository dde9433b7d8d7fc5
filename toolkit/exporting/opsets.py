"""Which opset and IR version a file gets, and how it gets an opset that tf2onnx does not write.

tf2onnx 1.17 writes opsets up to 18. A later one is made of 18 by ONNX's own converter, and the
comparison with the source decides about the result as about any other. What it brings: from 20 on
GELU is one operator of ONNX (`toolkit.graph.passes.fuse_gelu`). No other operator that Keras'
layers become gains anything after 17, so that stays the default, which every onnxruntime since
1.12 reads.
"""

import onnx
import onnx_ir as ir

from toolkit.errors import ModelError, RecipeError
from toolkit.exporting.runtimes import Runtime

OPSETS = range(11, 22)
OPSET, IR_VERSION = 17, 8
WRITTEN = 18  # the highest that tf2onnx writes


def choose_opset(opset: int | None, target: Runtime | None, own: int | None = None) -> int:
    """Return the opset to write: the one asked for, else the highest usual one that is read.

    Args:
        opset: The opset asked for, or None.
        target: The runtime that will read the file, or None.
        own: The opset that an ONNX source is in; without need it is not taken back from there.

    Raises:
        RecipeError: It cannot be written, or the runtime does not read it.
    """
    highest = max(OPSETS[-1], own or 0) if target is None else target.opset
    if opset is None:
        return min(max(OPSET, own or 0), highest)
    if opset not in OPSETS:
        raise RecipeError(
            f"--opset {opset} is not one of {OPSETS[0]} to {OPSETS[-1]}; leave it out for {OPSET}."
        )
    if target is not None and opset > highest:
        raise RecipeError(
            f"--opset {opset}: onnxruntime {target.version} reads up to {highest}; leave it out."
        )
    return opset


def raise_opset(model: ir.Model, opset: int, source: str) -> ir.Model:
    """Return the model in a later opset; the same one when it has it already.

    Raises:
        ModelError: ONNX has no conversion for one of its operators.
    """
    written = model.opset_imports.get("", opset)
    if written >= opset:
        return model
    try:
        return ir.from_proto(onnx.version_converter.convert_version(ir.to_proto(model), opset))
    # The converter's own exceptions share no base class below Exception.
    except Exception as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise ModelError(
            f"'{source}' cannot be converted from opset {written} to {opset} ({reason}). "
            "Leave --opset out."
        ) from error
