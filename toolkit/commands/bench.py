"""`toolkit bench`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from toolkit.commands.options import PATH, data_option

if TYPE_CHECKING:
    from toolkit.benchmark import BenchResult, Variant

Value = TypeVar("Value")


def _several(convert: Callable[[str], Value]) -> Callable[..., list[Value]]:
    """Return what reads an option's comma-separated values."""

    def read(_: click.Context, option: click.Parameter, text: str) -> list[Value]:
        try:
            return [convert(part.strip()) for part in text.split(",")]
        except ValueError as error:
            raise click.BadParameter(str(error), param=option) from error

    return read


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"'{text}' is no whole number of at least 1.")
    return int(text)


def _provider(text: str) -> str:
    known = ("auto", "cpu", "cuda", "tensorrt")
    if text not in known:
        raise ValueError(f"'{text}' is none of {', '.join(known)}.")
    return text


def _sizes(_: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> dict[str, int]:
    sizes = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        try:
            sizes[name] = _count(value)
        except ValueError as error:
            raise click.BadParameter(f"{error} Write NAME=SIZE.", param=option) from error
    return sizes


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@data_option()
@click.option(
    "--provider",
    default="cpu",
    show_default=True,
    callback=_several(_provider),
    metavar="NAME,...",
    help="Execution providers: cpu, cuda, tensorrt, auto.",
)
@click.option(
    "--threads",
    default="1",
    show_default=True,
    callback=_several(_count),
    metavar="N,...",
    help="Threads inside one operator.",
)
@click.option(
    "--batch",
    default="1",
    show_default=True,
    callback=_several(_count),
    metavar="N,...",
    help="Samples per call.",
)
@click.option(
    "--size",
    multiple=True,
    callback=_sizes,
    metavar="NAME=N",
    help="What a symbolic size other than the batch is to be.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=6),
    default=100,
    show_default=True,
    help="Interleaved rounds; each opens every model anew.",
)
@click.option(
    "--max-time",
    type=click.FloatRange(min=0, min_open=True),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="No further round starts after this.",
)
@click.option(
    "--until-certain",
    is_flag=True,
    help="Go on after --rounds, up to --max-time, until every verdict is faster or slower.",
)
@click.option("--seed", default=0, show_default=True, help="Of the order of the runs.")
@click.option(
    "--json",
    "json_file",
    type=PATH,
    metavar="FILE",
    help="Write the result as JSON; - prints it instead of the tables.",
)
@click.option(
    "--report", type=PATH, metavar="FILE", help="Write a self-contained HTML page with plots."
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
def bench(models: tuple[str, ...], json_file: Path | None, **options: Any) -> None:
    """Compare models: accuracy, latency, memory and size.

    MODEL is an ONNX file or a name of the zoo; the first is the baseline. Latency is measured in
    interleaved rounds in shuffled order; the ratio of each model to the baseline comes with a
    95 % interval, and without a verdict when that contains 1. Several values of --provider,
    --threads or --batch measure every combination.
    """
    from toolkit.benchmark import bench as compare
    from toolkit.commands.options import print_result

    on_stdout = json_file == Path("-")
    result = compare(models, json=None if on_stdout else json_file, **options)
    print_result(result, _show, as_json=on_stdout)
    for path in (json_file, options["report"]):
        if path is not None and not on_stdout:
            click.echo(f"Written: {path}")


def _show(result: "BenchResult") -> None:
    from toolkit.reporting.terminal import print_table

    measured = any(variant.top1 is not None for variant in result.variants)
    header = ["model", *(["top-1 %"] if measured else [])]
    header += ["p50 us", "p90 us", "p99 us", "per second", "load ms", "MiB", "size kB"]
    print_table([_row(variant, measured=measured) for variant in result.variants], header)
    if result.comparisons:
        click.echo()
        rows = [
            [
                entry.candidate,
                f"{entry.latency_ratio:.3f}",
                f"{entry.interval[0]:.3f} to {entry.interval[1]:.3f}",
                entry.verdict,
                *(
                    ["-", "-"]
                    if entry.drop_points is None or entry.flips is None
                    else [f"{-entry.drop_points:+.2f} (p {entry.mcnemar_p:.2f})", f"{entry.flips}"]
                ),
            ]
            for entry in result.comparisons
        ]
        against = f"against {result.comparisons[0].baseline}"
        several = len({entry.baseline for entry in result.comparisons}) > 1
        print_table(
            rows,
            [
                "against its baseline" if several else against,
                "time",
                "95 % interval",
                "verdict",
                "top-1 points",
                "other answers",
            ],
            left=(0, 3),
        )
    click.echo()
    from toolkit.benchmark.summary import footnotes

    for line in footnotes(result):
        click.echo(line)


def _row(variant: "Variant", *, measured: bool) -> list[str]:
    latency = variant.latency_us
    return [
        variant.name,
        *([] if not measured else ["-" if variant.top1 is None else f"{variant.top1:.2%}"[:-1]]),
        _figure(latency.p50),
        _figure(latency.p90),
        _figure(latency.p99),
        f"{variant.throughput_per_s:,.0f}",
        f"{variant.load_ms:.1f}",
        f"{variant.peak_rss_mib:.1f}",
        f"{variant.size_bytes / 1000:,.1f}",
    ]


def _figure(value: float) -> str:
    return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"
