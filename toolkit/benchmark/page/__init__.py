"""The HTML page of a bench: one file that needs no network.

Each section has a module, which turns the result into what its template draws. Shapes are drawn
as SVG, words stand in HTML beside them: so they keep their size on a phone, can be read out and
copied, and follow the reader's light or dark theme. Everything is escaped by jinja2; names of
models and classes come from files that anyone may have made.
"""

from pathlib import Path

from toolkit.benchmark.page import (
    confusion,
    flips,
    latency,
    nodes,
    ratios,
    tiles,
    tradeoff,
)
from toolkit.benchmark.page.axes import microseconds
from toolkit.benchmark.result import BenchResult
from toolkit.benchmark.samples import Samples
from toolkit.benchmark.summary import headline, percent, sentences
from toolkit.benchmark.tables import check_cells
from toolkit.reporting.text import printable

_TEMPLATES = Path(__file__).parent / "templates"
_COLORS = 8
_COLUMNS = 5  # variants side by side in the table of figures: more would not fit on paper


def render(result: BenchResult, samples: Samples | None = None) -> str:
    """Return the page as text.

    Args:
        result: What to show.
        samples: What it was measured on, to show the pictures that are answered differently.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=_visible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["microseconds"] = microseconds
    environment.filters["percent"] = percent
    colors = {variant.name: index % _COLORS for index, variant in enumerate(result.variants)}
    return environment.get_template("page.html.jinja").render(
        result=result,
        colors=colors,
        headline=headline(result),
        sentences=sentences(result),
        tiles=tiles.tiles(result),
        checks=[(check, check_cells(check)) for check in result.checks],
        columns=[
            result.variants[start : start + _COLUMNS]
            for start in range(0, len(result.variants), _COLUMNS)
        ],
        ratios=ratios.section(result, colors),
        latency=latency.section(result, colors),
        tradeoff=tradeoff.section(result, colors),
        nodes=nodes.section(result, colors),
        confusion=confusion.section(result),
        flips=flips.section(result, samples),
    )


def _visible(value: object) -> object:
    """Replace control characters in text that comes from a file; markup stays as it is."""
    return printable(value) if type(value) is str else value
