"""Which passes clean a graph, and in what order."""

from collections.abc import Callable

import onnx_ir as ir

from toolkit.graph.passes import (
    cancel_transposes,
    fold_batch_norm,
    fold_pad,
    fold_scale,
    fold_shapes,
    fold_transpose,
    fuse_gelu,
    fuse_gemm,
    fuse_layer_norm,
    guard_pad_maxpool,
    remove_duplicates,
    remove_unused,
    trim_borders,
    unwrap_dense,
)

# In the order in which they help each other.
PASSES: dict[str, Callable[[ir.Model], int]] = {
    "remove_duplicates": remove_duplicates.remove_duplicates,
    "fold_shapes": fold_shapes.fold_shapes,
    "unwrap_dense": unwrap_dense.unwrap_dense,
    "fuse_layer_norm": fuse_layer_norm.fuse_layer_norm,
    "fuse_gelu": fuse_gelu.fuse_gelu,
    "cancel_transposes": cancel_transposes.cancel_transposes,
    "fold_transpose": fold_transpose.fold_transpose,
    "fold_batch_norm": fold_batch_norm.fold_batch_norm,
    "fuse_gemm": fuse_gemm.fuse_gemm,
    "fold_pad": fold_pad.fold_pad,
    "guard_pad_maxpool": guard_pad_maxpool.guard_pad_maxpool,
    "trim_borders": trim_borders.trim_borders,
    "fold_scale": fold_scale.fold_scale,
    "remove_unused": remove_unused.remove_unused,
}


def clean(model: ir.Model) -> dict[str, int]:
    """Run all passes on a model, in place; return how often each rule applied."""
    return {name: apply(model) for name, apply in PASSES.items()}
