"""Searches for the fastest placement: nodes change between float and int8, and it is measured.

The rules of `toolkit.quantization.placement` are the starting point. Profiles of the float and of
the int8 model give an estimate, which says what to try first: the placement that is best by
estimate, then single nodes and pairs of neighbours (what changes between float and int8 takes
conversions along, which a pair may share). A try is taken when it is faster than the best so far
by 2 % or more, measured side by side with an interval that leaves 1 out, and keeps the budget. Of
equals the one found first stays.
"""

import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import onnx_ir as ir

from toolkit.contract import KEY, Contract, Session
from toolkit.errors import ModelError
from toolkit.measuring.statistics import Ratio
from toolkit.quantization.building import Built, build
from toolkit.quantization.candidate import REWRITES, Candidate
from toolkit.quantization.node_costs import (
    Unit,
    best_placement,
    estimate,
    times_by_node,
    units,
)
from toolkit.quantization.placement import is_weight_layer
from toolkit.quantization.stopwatch import Stopwatch
from toolkit.quantization.trials import Trial, Trials
from toolkit.reporting.terminal import progress

Key = tuple[frozenset[str], tuple[str, ...]]
"""The nodes in float, and the rewrites."""

_TRY_SECONDS = 4.0  # one comparison may take this long, and no more than a quarter of what is left
_HOPELESS = 0.05  # a try whose estimate is slower than the best by more than this is left out
_CONVERSIONS = (1, 3)  # what they cost is estimated; a higher price asks for fewer of them
_WORTH = 0.98  # a smaller gain is not worth a node in float: the file grows, the next run differs
_UNCERTAIN_US = 4.0  # the estimate's own error: whole microseconds, of a few nodes


@dataclass(frozen=True)
class Try:
    """One placement that was measured.

    Attributes:
        what: The change, in words.
        ratio: Its time divided by that of the best before it.
        taken: Whether it became the best.
        reason: Why it was taken or not.
    """

    what: str
    ratio: Ratio
    taken: bool
    reason: str


@dataclass(frozen=True)
class Found:
    """What the search ended with.

    Attributes:
        best: The fastest trial.
        path: Its model file.
        tries: What was measured, in order.
        exhausted: False when time ran out first.
    """

    best: Trial
    path: Path
    tries: tuple[Try, ...]
    exhausted: bool


def search(
    trials: Trials, first: Trial, stopwatch: Stopwatch, folder: Path, seconds: float
) -> Found:
    """Look for a faster placement than the first trial's.

    Args:
        trials: Builds and judges candidates.
        first: Where to start; it keeps the budget.
        stopwatch: Measures.
        folder: For the candidates' files.
        seconds: No try starts later than this, the profiles not counted.

    Raises:
        ModelError: A model cannot be opened.
    """
    space = _Space(trials, first, stopwatch, folder)
    deadline = time.monotonic() + seconds
    best, path = first, _saved(first.built, folder, 0)
    seen = {space.key(first.built)}
    tries: list[Try] = []
    with progress("trying placements", None) as advance:
        while True:
            found = space.next(best.built, seen)
            left = deadline - time.monotonic()
            if found is None or left <= 0:
                return Found(best, path, tuple(tries), exhausted=found is None)
            what, key, candidate = found
            seen.add(key)
            try:
                built = build(trials.source, candidate)
            except ModelError:  # nothing would be left in int8
                continue
            if built.model.SerializeToString() == best.built.model.SerializeToString():
                continue
            file = _saved(built, folder, len(tries) + 1)
            ratio = stopwatch.compare(file, path, seconds=min(_TRY_SECONDS, max(left / 4, 1.0)))
            gains = ratio.verdict == "faster" and ratio.value <= _WORTH
            trial = trials.judge(built) if gains else None
            reason = ratio.verdict if trial is None else _objection(trials, trial)
            taken = trial is not None and not reason
            reason = reason or ratio.verdict
            tries.append(Try(what, ratio, taken, reason))
            if trial is not None and taken:
                best, path = trial, file
            advance()


def _objection(trials: Trials, trial: Trial) -> str:
    """Return why a faster trial cannot be taken, or nothing."""
    if not trials.keeps_budget(trial):
        return "misses the accuracy budget"
    return "" if trials.is_sound(trial) else "onnxruntime's optimizer changes its answer"


class _Space:
    """The placements near a given one, the most promising first.

    A placement is the set of the units (nodes that can work in either precision) in float.
    """

    def __init__(self, trials: Trials, first: Trial, stopwatch: Stopwatch, folder: Path) -> None:
        candidate = first.built.candidate
        graph = trials.source.of(candidate.recipe).copy()
        layers = {str(node.name) for node in graph.graph if is_weight_layer(node)}
        # All that has an int8 kernel in int8, so that both times of each node are known.
        everything = build(trials.source, candidate.allowing(layers - set(candidate.kept)))
        source = folder / "prepared.onnx"
        ir.save(graph, source)
        in_float = times_by_node(stopwatch.nodes(source), graph.graph)
        in_int8 = times_by_node(
            stopwatch.nodes(_saved(everything, folder, "everything")), graph.graph
        )
        self._known = bool(in_float and in_int8)
        if not self._known:
            in_float = in_int8 = dict.fromkeys(everything.int8_nodes, 0.0)
        self._units = units(graph.graph, everything.int8_nodes, in_float, in_int8)
        self._names = [unit.name for unit in self._units]
        self._reasons = {
            unit.name: first.built.reasons.get(unit.name) or _reason(unit, known=self._known)
            for unit in self._units
        }

    def key(self, built: Built) -> Key:
        """Return what tells one placement from another."""
        return frozenset(self._names) - set(built.int8_nodes), built.candidate.rewrites

    def next(self, best: Built, seen: set[Key]) -> tuple[str, Key, Candidate] | None:
        """Return the next placement to try: the change in words, its key, and how it is built."""
        for what, wanted, rewrites in self._neighbours(*self.key(best)):
            key = (wanted, rewrites)
            if key not in seen:
                return what, key, self._candidate(best.candidate, wanted, rewrites)
        return None

    def _neighbours(
        self, now: frozenset[str], rewrites: tuple[str, ...]
    ) -> Iterator[tuple[str, frozenset[str], tuple[str, ...]]]:
        if self._known:
            for factor in _CONVERSIONS:
                what = f"the best by the nodes' times, conversions counted {factor}-fold"
                yield what, best_placement(self._units, factor), rewrites
        for name in REWRITES:
            if name not in rewrites:
                yield f"with {name}", now, (*rewrites, name)
        changes = [frozenset({name}) for name in self._names]
        changes += [frozenset(pair) for pair in itertools.pairwise(self._names)]
        here = estimate(self._units, now)
        limit = here * _HOPELESS + _UNCERTAIN_US if self._known else math.inf
        promising = sorted(
            (estimate(self._units, now ^ change) - here, index)
            for index, change in enumerate(changes)
        )
        for cost, index in promising:
            if cost <= limit:
                wanted = now ^ changes[index]
                what = " and ".join(
                    f"'{name}' in {'float' if name in wanted else 'int8'}"
                    for name in self._names
                    if name in changes[index]
                )
                yield what, wanted, rewrites

    def _candidate(
        self, base: Candidate, wanted: frozenset[str], rewrites: tuple[str, ...]
    ) -> Candidate:
        fixed = {name: why for name, why in base.kept.items() if name not in self._reasons}
        chosen = {name: self._reasons[name] for name in self._names if name in wanted}
        allowed = frozenset(self._names) - wanted
        return replace(base, kept=fixed | chosen, allowed=allowed, rewrites=rewrites)


def _reason(unit: Unit, *, known: bool) -> str:
    if known and unit.float_us < unit.int8_us:
        return f"measured: {unit.float_us:.0f} us in float, {unit.int8_us:.0f} us in int8"
    return "measured: the model is faster with it in float"


def _saved(built: Built, folder: Path, name: int | str) -> Path:
    """Write a candidate with the contract that says how to open it."""
    path = folder / f"candidate-{name}.onnx"
    model = onnx.ModelProto()
    model.CopyFrom(built.model)
    session = Session(built.candidate.disabled_optimizers)
    contract = Contract("candidate", (), (), session=session)
    onnx.helper.set_model_props(model, {KEY: contract.to_json()})
    path.write_bytes(model.SerializeToString())
    return path
