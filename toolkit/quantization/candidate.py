"""A candidate: one way to quantize a float model, of which any number can be built and judged."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from toolkit.graph.passes.flatten_channels_last import flatten_channels_last
from toolkit.graph.passes.relu_after_pool import relu_after_pool
from toolkit.quantization.recipe import Recipe

Rewrite = Callable[[ir.Model, set[str]], int]
"""Changes a float model in place, given the names of the nodes that become int8; it adds to them
the names of its own nodes that do."""

# A rewrite returns how often it applied. A tensor that keeps its name keeps its values, in any
# order, and a new one that an int8 node touches holds the values of another, moved: so ranges that
# were measured before the rewrite hold behind it.
REWRITES: dict[str, Rewrite] = {
    "relu_after_pool": relu_after_pool,
    "flatten_channels_last": flatten_channels_last,
}


@dataclass(frozen=True)
class Candidate:
    """What decides how a quantized graph comes out.

    Attributes:
        recipe: How to quantize.
        kept: Nodes that stay in float whatever the recipe says, with the reason in words.
        allowed: Nodes that may become int8 though a rule of thumb says that float is faster.
        rewrites: Names in `REWRITES`, in the order in which they run.
        disabled_optimizers: Graph optimizers that onnxruntime must leave out when it opens the
            model; see `toolkit.contract.Session`.
        widened: By how much the range of weights grows, for each output channel, by their name:
            their codes shrink by as much.
    """

    recipe: Recipe
    kept: Mapping[str, str] = field(default_factory=dict)
    allowed: frozenset[str] = frozenset()
    rewrites: tuple[str, ...] = tuple(REWRITES)
    disabled_optimizers: tuple[str, ...] = ()
    widened: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def keeping(self, names: Collection[str], reason: str) -> "Candidate":
        """Return this candidate with more nodes in float; earlier reasons stay."""
        return replace(self, kept={**dict.fromkeys(names, reason), **self.kept})

    def allowing(self, names: Collection[str]) -> "Candidate":
        """Return this candidate with nodes back in int8 that it kept in float, or a rule did."""
        kept = {name: reason for name, reason in self.kept.items() if name not in names}
        return replace(self, kept=kept, allowed=self.allowed | set(names))

    def leaving_out(self, optimizers: Collection[str]) -> "Candidate":
        """Return this candidate with more of onnxruntime's optimizers disabled."""
        names = dict.fromkeys((*self.disabled_optimizers, *optimizers))
        return replace(self, disabled_optimizers=tuple(names))

    def widening(self, ranges: Mapping[str, tuple[float, ...]]) -> "Candidate":
        """Return this candidate with wider ranges of weights; earlier factors are multiplied."""
        before = self.widened
        factors = {
            name: tuple(
                old * new
                for old, new in zip(before.get(name, (1.0,) * len(wider)), wider, strict=True)
            )
            for name, wider in ranges.items()
        }
        return replace(self, widened={**before, **factors})
