"""`toolkit explain`."""

from typing import TYPE_CHECKING

import click

from toolkit.commands.options import json_option, print_result

if TYPE_CHECKING:
    from toolkit.explanation import Explanation


def _sizes(
    context: click.Context, option: click.Parameter, texts: tuple[str, ...]
) -> dict[str, int]:
    sizes = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        if not name or not value.isdigit() or int(value) < 1:
            raise click.BadParameter(f"'{text}' is not of the form NAME=N.", context, option)
        sizes[name] = int(value)
    return sizes


@click.command()
@click.argument("model", metavar="FLOAT")
@click.argument("quantized", metavar="INT8")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Threads inside one operator.",
)
@click.option(
    "--size",
    multiple=True,
    callback=_sizes,
    metavar="NAME=N",
    help="What a symbolic size other than the batch is to be.",
)
@click.option(
    "--max-time",
    type=click.FloatRange(min=0, min_open=True, max=3600),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the comparison of whole calls may take.",
)
@json_option
def explain(
    model: str,
    quantized: str,
    threads: int,
    size: dict[str, int],
    max_time: float,
    as_json: bool,
) -> None:
    """Show node by node why an int8 model is faster than its float original, or slower.

    FLOAT and INT8 are .onnx files; INT8 may come from any quantizer. Operations carry the
    precision that was kept and the reason; conversions stand below them. Times of nodes come from
    onnxruntime's profiler and are coarse; the ratio of whole calls is measured without it.
    """
    from toolkit.explanation import explain as run

    result = run(model, quantized, threads=threads, size=size, max_time=max_time)
    print_result(result, _show, as_json=as_json)


def _show(result: "Explanation") -> None:
    from toolkit.reporting.terminal import print_table

    rows = [
        [row.operator, row.node, _us(row.float_us), _us(row.int8_us), row.precision, row.reason]
        for row in result.rows
        if not row.conversion
    ]
    print_table(
        [*rows, ["sum", "", *map(_us, result.total_us(conversions=False)), "", ""]],
        ["operation", "node", "float us", "int8 us", "works in", "reason"],
        left=(0, 1, 4, 5),
    )
    click.echo()
    rows = [
        [row.operator, row.node, _us(row.float_us), _us(row.int8_us)]
        for row in result.rows
        if row.conversion
    ]
    print_table(
        [*rows, ["sum", "", *map(_us, result.total_us(conversions=True))]],
        ["conversion", "node", "float us", "int8 us"],
        left=(0, 1),
    )
    click.echo()
    for sentence in result.sentences:
        click.echo(sentence)


def _us(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"
