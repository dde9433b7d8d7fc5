"""Passes over ONNX graphs: each one rewrite rule in its own file, each keeps the outputs.

A pass is a function that changes a model in place and returns how often its rule applied. Running
it a second time changes nothing.
"""

from collections.abc import Callable

import onnx_ir as ir

from toolkit.graph import (
    cancel_transposes,
    constant_reshape,
    flatten_dense,
    fold_batch_norm,
    fold_scale,
    fold_transpose,
    fuse_gelu,
    fuse_layer_norm,
    gemm,
    guard_pad_maxpool,
    remove_duplicates,
    remove_unused,
    trim_borders,
)

__all__ = ["PASSES", "clean"]

# In the order in which they help each other.
PASSES: dict[str, Callable[[ir.Model], int]] = {
    "remove_duplicates": remove_duplicates.remove_duplicates,
    "constant_reshape": constant_reshape.constant_reshape,
    "flatten_dense": flatten_dense.flatten_dense,
    "fuse_layer_norm": fuse_layer_norm.fuse_layer_norm,
    "fuse_gelu": fuse_gelu.fuse_gelu,
    "cancel_transposes": cancel_transposes.cancel_transposes,
    "fold_transpose": fold_transpose.fold_transpose,
    "fold_batch_norm": fold_batch_norm.fold_batch_norm,
    "gemm": gemm.gemm,
    "guard_pad_maxpool": guard_pad_maxpool.guard_pad_maxpool,
    "trim_borders": trim_borders.trim_borders,
    "fold_scale": fold_scale.fold_scale,
    "remove_unused": remove_unused.remove_unused,
}


def clean(model: ir.Model) -> dict[str, int]:
    """Run all passes on a model, in place; return how often each rule applied."""
    return {name: apply(model) for name, apply in PASSES.items()}
