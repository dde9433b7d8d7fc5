"""The result of `quantize` for a person at the terminal."""

from collections.abc import Sequence

from toolkit.quantization.result import Attempt, QuantizeResult
from toolkit.quantization.saturation import describe, effect
from toolkit.quantization.speed import shown
from toolkit.reporting.terminal import note, print_pairs, print_table


def show(result: QuantizeResult) -> None:
    """Print the result as a short table, and its warnings on stderr."""
    before, after = result.source_size_bytes, result.size_bytes
    size = f"{before / 1000:,.1f} kB to {after / 1000:,.1f} kB  ({100 * after / before:.1f} %)"
    written = f"{result.path}  (recipe {result.recipe}, {result.seconds:.1f} s)"
    pairs = [("written", written), ("size", size), *_accuracy(result)]
    pairs.extend(_speed(result))
    if result.optimizer is not None:
        moved = f"onnxruntime's moves the answer by {result.optimizer.steps:.2g} of 255 steps"
        pairs.append(("optimizer", moved))
    if result.saturation is not None and result.saturation.layers:
        pairs.append(("without VNNI", describe(result.saturation)))
        if result.saturation.clipped:
            pairs.append(("", effect(result.saturation, result.recipe)))
    if result.ranges_grew is not None:
        grew = f"{100 * result.ranges_grew:.1f} %"
        settled = f"ranges changed by {grew} at most over the last quarter"
        pairs.append(("calibration", f"{result.samples:,} training samples; {settled}"))
    counts = f"{len(result.int8_nodes)} in {result.precision}, {len(result.float_nodes)} in float"
    pairs.append(("nodes", counts))
    pairs.extend(("in float", f"{name}: {reason}") for name, reason in result.reasons.items())
    pairs.extend(("repaired", repair) for repair in result.repairs)
    print_pairs(pairs)
    if len(result.attempts) > 1:
        show_attempts(result.attempts)
    for warning in result.warnings:
        note(f"Warning: {warning}")


def _speed(result: QuantizeResult) -> list[tuple[str, str]]:
    speed = result.speed
    if speed is None:
        return [("speed", "not measured (portable): placed by rules")]
    threads = speed.machine["threads"]
    where = f"{threads} thread{'s' if threads > 1 else ''} of this machine, one sample"
    faster = "" if speed.ratio.verdict != "no verdict" else "; that is no difference"
    pairs = [("speed", f"{shown(speed.ratio)} of float's time{faster}  ({where})")]
    taken = [entry for entry in speed.tries if entry.taken]
    end = "" if speed.exhausted else "; time ran out first, see --search-time"
    counted = f"{len(speed.tries)} other placements measured, {len(taken)} faster{end}"
    return [
        *pairs,
        ("search", f"{counted}  ({speed.seconds:.0f} s)"),
        *(("faster", f"{entry.what}: {shown(entry.ratio)}") for entry in taken),
    ]


def _accuracy(result: QuantizeResult) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    test, checked = result.test, result.validation
    if test is None:
        return pairs
    where = f"{test.samples:,} test samples of {result.data}"
    if test.drop is not None and test.top1_float is not None and test.top1_int8 is not None:
        change = f"{100 * test.top1_float:.2f} % to {100 * test.top1_int8:.2f} %"
        pairs.append(("top-1", f"{change}  (drop {test.drop:.2f} points; {where})"))
    if test.agreement is not None:
        pairs.append(("agreement", f"{100 * test.agreement:.2f} %  (same class as in float)"))
    noise = f"{test.sqnr_db:.1f} dB signal to quantization noise"
    pairs.append(("output", noise if test.drop is not None else f"{noise}  ({where})"))
    if checked is not None:
        kept = f"kept with {checked.figures} on {checked.samples:,} validation samples"
        tried = len(result.attempts)
        pairs.append(("budget", kept if tried == 1 else f"{kept}, at attempt {tried}"))
    return pairs


def show_attempts(attempts: Sequence[Attempt]) -> None:
    """Print what was tried to keep the accuracy budget and what it brought, as a table."""
    rows = []
    for attempt in attempts:
        found = attempt.validation
        agreement = "" if found.agreement is None else f"{100 * found.agreement:.2f} %"
        drop = "" if found.drop is None else f"{found.drop:.2f}"
        kept = "kept" if attempt.kept else "missed"
        rows.append([attempt.what, drop, agreement, f"{found.sqnr_db:.1f} dB", kept])
    print_table(
        rows, ["tried, on validation samples", "drop, points", "agreement", "output", "budget"]
    )
