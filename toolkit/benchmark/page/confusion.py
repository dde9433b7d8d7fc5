"""Which classes are confused, and what of that changed from the baseline to the others."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from toolkit.benchmark.result import BenchResult

Counts = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Cell:
    """A cell: its text, its tone ("right", "wrong" or none), its shade in percent."""

    text: str
    tone: str
    shade: int


@dataclass(frozen=True)
class Matrix:
    """A table with a row per true class and a column per answer."""

    title: str
    labels: list[str]
    rows: list[list[Cell]]


@dataclass(frozen=True)
class Confusion:
    """One matrix per model, and one per model that differs from its baseline."""

    matrices: list[Matrix]
    differences: list[Matrix]


def section(result: BenchResult) -> Confusion | None:
    """Return the section, or None without labels."""
    counts: dict[str, tuple[Counts, list[str]]] = {}
    for variant in result.variants:  # threads, batch and provider hardly change the answers
        if variant.accuracy is not None and variant.accuracy.confusion is not None:
            table = variant.accuracy.confusion
            labels = variant.labels or [str(index) for index in range(len(table))]
            counts.setdefault(variant.model, (table, labels))
    if not counts:
        return None
    pairs = dict.fromkeys(
        (result.variant(entry.baseline).model, result.variant(entry.candidate).model)
        for entry in result.comparisons
    )
    return Confusion(
        matrices=[_matrix(name, labels, table) for name, (table, labels) in counts.items()],
        differences=_differences(pairs, counts),
    )


def _matrix(title: str, labels: list[str], counts: Counts) -> Matrix:
    rows = [
        [
            Cell(str(count or ""), _tone(at == column) if count else "", _shade(count, sum(row)))
            for column, count in enumerate(row)
        ]
        for at, row in enumerate(counts)
    ]
    return Matrix(title, labels, rows)


def _differences(
    pairs: Iterable[tuple[str, str]], counts: dict[str, tuple[Counts, list[str]]]
) -> list[Matrix]:
    matrices = []
    for baseline, candidate in pairs:
        if baseline == candidate or baseline not in counts or candidate not in counts:
            continue
        before, labels = counts[baseline]
        after, _ = counts[candidate]
        changes = [
            [new - old for new, old in zip(*rows, strict=True)]
            for rows in zip(after, before, strict=True)
        ]
        if any(map(any, changes)):
            largest = max(abs(change) for row in changes for change in row)
            rows = [
                [_change(change, at == column, largest) for column, change in enumerate(row)]
                for at, row in enumerate(changes)
            ]
            matrices.append(Matrix(f"{candidate} minus {baseline}", labels, rows))
    return matrices


def _change(change: int, diagonal: bool, largest: int) -> Cell:
    """Return the cell of a change: more right answers and fewer mistakes are good."""
    if not change:
        return Cell("", "", 0)
    text = f"{change:+d}".replace("-", "−")
    return Cell(text, _tone(diagonal == (change > 0)), _shade(abs(change), largest))


def _tone(good: bool) -> str:
    return "right" if good else "wrong"


def _shade(count: int, whole: int) -> int:
    """Return the shade of a cell in percent; the root keeps the few mistakes visible."""
    return 0 if not count else max(8, round(100 * (count / whole) ** 0.5))
