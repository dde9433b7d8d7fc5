"""Which passes clean a graph, in what order, and which of them are left out.

"-trim_borders,-fold_scale"    all but these
"fuse_gemm,remove_unused"      these alone, in the order of the table
"none"                         none
"""

import sys
from collections.abc import Callable, Iterable, Sequence

import onnx_ir as ir

from toolkit.errors import RecipeError
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
from toolkit.recipes import closest

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


def clean(model: ir.Model, passes: Iterable[str] = PASSES) -> dict[str, int]:
    """Run passes on a model, in place; return how often each rule applied.

    Args:
        model: The model.
        passes: Names from `PASSES`; they run in that table's order.
    """
    chosen = set(passes)
    return {name: apply(model) for name, apply in PASSES.items() if name in chosen}


def choose_passes(wanted: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the passes to run, in order.

    Args:
        wanted: Names joined by commas, or a sequence of them: those to run, or, each behind a
            minus sign, those to leave out. "none" runs none, None all.

    Raises:
        RecipeError: A name is unknown, or some have a minus sign and some have not.
    """
    if wanted is None:
        return tuple(PASSES)
    entries = wanted.split(",") if isinstance(wanted, str) else list(wanted)
    names = [entry.strip() for entry in entries]
    if names == ["none"]:
        return ()
    left_out = {name.removeprefix("-") for name in names if name.startswith("-")}
    kept = {name for name in names if not name.startswith("-")}
    for name in sorted(left_out | kept):
        if name not in PASSES:
            raise RecipeError(
                f"--passes: there is no graph pass '{name}'.{closest(name, PASSES)} "
                "--passes list shows them."
            )
    if left_out and kept:
        raise RecipeError(
            f"--passes: '{min(kept)}' says what to run and '-{min(left_out)}' what to leave out; "
            "give one or the other."
        )
    return tuple(name for name in PASSES if name in kept or (left_out and name not in left_out))


def describe_passes() -> dict[str, str]:
    """Return for each pass what it does: the first line of its module's docstring."""
    modules = {name: sys.modules[apply.__module__] for name, apply in PASSES.items()}
    return {name: (module.__doc__ or "").split("\n")[0] for name, module in modules.items()}
