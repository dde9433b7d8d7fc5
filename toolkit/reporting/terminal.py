"""Tables on stdout, progress on stderr."""

import contextlib
import textwrap
from collections.abc import Callable, Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from toolkit.reporting.text import printable

Advance = Callable[..., None]

_PIPED = 200  # columns when the reader is no terminal
_GAP = 2  # blanks between two columns
_WORD = 12  # columns that words keep, however narrow the terminal is


def print_table(
    rows: Sequence[Sequence[str]],
    header: Sequence[str] | None = None,
    *,
    title: str | None = None,
    left: Sequence[int] = (0,),
) -> None:
    """Print rows as a table on stdout; the columns in ``left`` are aligned left, others right.

    Where the terminal is too narrow, the columns aligned left are folded, never the numbers.
    Cells are taken as they are: brackets in a file name are no markup.
    """
    # Piped output is not cut to a terminal's width.
    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPED)
    count = max(map(len, rows), default=len(header or ()))
    names = list(header) if header else [""] * count
    cells = [max((cell_len(row[at]) for row in rows if at < len(row)), default=0)
             for at in range(count)]  # fmt: skip
    widest = [max(cell, cell_len(name)) for cell, name in zip(cells, names, strict=True)]
    if sum(widest) + _GAP * (count - 1) > console.width:
        for at in set(range(count)) - set(left):
            widest[at] = max(cells[at], *map(cell_len, names[at].split() or [""]))
            names[at] = "\n".join(textwrap.wrap(names[at], widest[at]))
        # A terminal that is too narrow for the numbers alone breaks the lines; none is cut.
        least = [min(width, _WORD) if at in left else width for at, width in enumerate(widest)]
        console = Console(
            highlight=False, width=max(console.width, sum(least) + _GAP * (count - 1))
        )
    table = Table(box=None, show_header=header is not None, pad_edge=False)
    for at, name in enumerate(names):
        words = at in left
        table.add_column(
            Text(name), justify="left" if words else "right", overflow="fold", no_wrap=not words
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    if title:
        console.print(Text(title, style="bold"))
    console.print(table)


def print_pairs(pairs: Sequence[tuple[str, str]], *, title: str | None = None) -> None:
    """Print names and values, one pair a line, on stdout."""
    print_table([list(pair) for pair in pairs], title=title, left=(0, 1))


def note(message: str) -> None:
    """Print one line for the person at the terminal on stderr."""
    Console(stderr=True, highlight=False).print(Text(printable(message)), soft_wrap=True)


@contextlib.contextmanager
def progress(description: str, total: int | None) -> Iterator[Advance]:
    """Show a progress bar on stderr while the block runs; it disappears at the end.

    Yields a function ``advance(count=1, note=None)``; ``note`` stands at the end of the bar.
    Nothing is drawn when stderr is no terminal.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %" if total else ""),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(description, total=total, note="")

        def advance(count: int = 1, note: str | None = None) -> None:
            bar.advance(task, count)
            if note is not None:
                bar.update(task, note=note)

        yield advance
