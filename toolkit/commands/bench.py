"""`toolkit bench`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from toolkit.commands.options import PATH

if TYPE_CHECKING:
    from toolkit.benchmark import BenchResult, Comparison, Variant
    from toolkit.measuring.nodes import ProfileRow

Value = TypeVar("Value")


def _several(
    convert: Callable[[str], Value],
) -> Callable[[click.Context, click.Parameter, str | None], list[Value] | None]:
    """Return what reads an option's comma-separated values; None when it is not given."""

    def read(_: click.Context, option: click.Parameter, text: str | None) -> list[Value] | None:
        if text is None:
            return None
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


def _sizes(
    context: click.Context, option: click.Parameter, texts: tuple[str, ...]
) -> dict[str, list[int]] | None:
    sizes = {}
    for text in texts:
        name, _, values = text.rpartition("=")
        if not name:
            raise click.BadParameter(f"'{text}' is not of the form NAME=N,...", param=option)
        sizes[name] = _several(_count)(context, option, values) or []
    return sizes or None


def _cores(context: click.Context, option: click.Parameter, text: str | None) -> list[int] | None:
    import os

    if text is None:
        return None
    cores = _several(_core)(context, option, text)
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    missing = sorted(set(cores or ()) - allowed)
    if missing:
        known = ", ".join(map(str, sorted(allowed))) or "none: this system cannot pin"
        raise click.BadParameter(f"no core {missing[0]}; there are {known}.", param=option)
    return cores


def _finite(_: click.Context, option: click.Parameter, value: float | None) -> float | None:
    if value is not None and not abs(value) < float("inf"):
        raise click.BadParameter(f"{value} is no number to compare with.", param=option)
    return value


def _core(text: str) -> int:
    if not text.isdigit():
        raise ValueError(f"'{text}' is no core's number.")
    return int(text)


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...|SUITE")
@click.option(
    "--data",
    metavar="NAME|PATH",
    help="As evaluate takes it, by default the data that the models were trained on; 'random' for "
    "random inputs.",
)
@click.option(
    "--provider",
    show_default="cpu",
    callback=_several(_provider),
    metavar="NAME,...",
    help="Execution providers: cpu, cuda, tensorrt, auto.",
)
@click.option(
    "--threads",
    show_default="1",
    callback=_several(_count),
    metavar="N,...",
    help="Threads inside one operator.",
)
@click.option(
    "--batch",
    show_default="1",
    callback=_several(_count),
    metavar="N,...",
    help="Samples per call.",
)
@click.option(
    "--size",
    multiple=True,
    callback=_sizes,
    metavar="NAME=N,...",
    help="What a symbolic size other than the batch is to be.",
)
@click.option(
    "--spinning/--no-spinning",
    default=None,
    help="Idle threads wait in a busy loop, by default.",
)
@click.option(
    "--arena/--no-arena",
    default=None,
    help="Memory is kept from call to call, by default.",
)
@click.option(
    "--optimization",
    type=click.Choice(["all", "extended", "basic", "none"]),
    show_default="all",
    help="How far onnxruntime rewrites the graph.",
)
@click.option(
    "--cpus", callback=_cores, metavar="N,...", help="Cores that the measurement may use."
)
@click.option("--profile", is_flag=True, default=None, help="Show the time of each node as well.")
@click.option(
    "--rounds",
    type=click.IntRange(min=6),
    show_default="100",
    help="Interleaved rounds; each opens every model anew.",
)
@click.option(
    "--max-time",
    type=click.FloatRange(min=0, min_open=True),
    show_default="60",
    metavar="SECONDS",
    help="No further round starts after this.",
)
@click.option(
    "--until-certain",
    is_flag=True,
    default=None,
    help="Go on after --rounds, up to --max-time, until every verdict is faster or slower.",
)
@click.option("--seed", type=int, show_default="0", help="Of the order of the runs.")
@click.option(
    "--against", type=PATH, metavar="FILE", help="Compare with an earlier bench's --json file."
)
@click.option(
    "--fail-if-slower",
    type=click.FloatRange(min=0, min_open=True),
    callback=_finite,
    metavar="RATIO",
    help="Exit with 3 when a variant takes this many times as long as in the earlier bench; "
    "without --against, as the baseline.",
)
@click.option(
    "--fail-if-drop",
    type=click.FloatRange(min=0, max=100),
    callback=_finite,
    metavar="POINTS",
    help="Exit with 3 when a variant loses this many percentage points of top-1.",
)
@click.option(
    "--any-machine", is_flag=True, help="Compare with an earlier bench of another machine."
)
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
@click.option("--markdown", type=PATH, metavar="FILE", help="Write tables for a pull request.")
@click.option("--csv", type=PATH, metavar="FILE", help="Write one line per variant.")
@click.option(
    "--keep",
    type=PATH,
    metavar="FOLDER",
    help="Where the models that a suite makes stay; else they are removed at the end.",
)
@click.option("--attach", is_flag=True, help="Write the figures into the models' contracts.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
def bench(models: tuple[str, ...], json_file: Path | None, **options: Any) -> None:
    """Compare models: accuracy, latency, memory and size.

    MODEL is an ONNX file or a name of the zoo; the first is the baseline. Latency is measured in
    interleaved rounds in shuffled order; the ratio of each model to the baseline comes with a
    95 % interval, and without a verdict when that contains 1. Several values of --provider,
    --threads or --batch measure every combination.

    SUITE is a .toml file, or the name of a built-in one, that says all of this; options go before
    what it says. With --against or a limit, a change counts when it is beyond the limit and its
    interval leaves "no change" out.
    """
    from toolkit.benchmark import bench as compare
    from toolkit.commands.options import print_result

    on_stdout = json_file == Path("-")
    result = compare(models, json=None if on_stdout else json_file, **options)
    print_result(result, _show, as_json=on_stdout)
    if not on_stdout:
        for path in (json_file, options["report"], options["markdown"], options["csv"]):
            if path is not None:
                click.echo(f"Written: {path}")
    if not result.passed:
        sys.exit(3)


def _show(result: "BenchResult") -> None:
    from toolkit.benchmark.summary import footnotes
    from toolkit.reporting.terminal import print_table

    measured = any(variant.top1 is not None for variant in result.variants)
    header = ["model", *(["top-1 %"] if measured else [])]
    header += ["p50 us", "p90 us", "p99 us", "per second", "load ms", "MiB", "size kB"]
    print_table([_row(variant, measured=measured) for variant in result.variants], header)
    if result.comparisons:
        click.echo()
        answered = any(entry.flips is not None for entry in result.comparisons)
        several = len({entry.baseline for entry in result.comparisons}) > 1
        header = ["against" if several else f"against {result.comparisons[0].baseline}"]
        header += ["time", "95 % interval", "verdict"]
        header += ["top-1 points", "other answers"] if answered else []
        rows = [
            [_pair(entry) if several else entry.candidate, *_comparison(entry, answered=answered)]
            for entry in result.comparisons
        ]
        print_table(rows, header, left=(0, 3))
    if result.profile:
        click.echo()
        names = [variant.name for variant in result.variants]
        print_table(
            [
                [row.operator, row.name, *(_node(row, name) for name in names)]
                for row in result.profile
            ],
            ["operation, us", "node", *names],
            left=(0, 1),
        )
    click.echo()
    for line in footnotes(result):
        click.echo(line)
    if result.checks:
        _show_checks(result)


def _show_checks(result: "BenchResult") -> None:
    """Print every check, or where some failed those alone."""
    from toolkit.benchmark.tables import check_cells
    from toolkit.reporting.terminal import print_table

    failed = [check for check in result.checks if not check.passed]
    count = len(result.checks)
    title = f"{len(failed)} of {count} checks failed" if failed else f"{count} checks passed"
    click.echo()
    print_table(
        [check_cells(check) for check in failed or result.checks],
        ["variant", "against", "figure", "value", "95 % interval", "limit", ""],
        title=title,
        left=(0, 1, 2, 6),
    )


def _pair(entry: "Comparison") -> str:
    return f"{entry.candidate} / {entry.baseline}"


def _comparison(entry: "Comparison", *, answered: bool) -> list[str]:
    low, high = entry.interval
    cells = [f"{entry.latency_ratio:.3f}", f"{low:.3f} to {high:.3f}", entry.verdict]
    if not answered:
        return cells
    points = "-" if entry.drop_points is None else f"{0 - entry.drop_points:+.2f}"
    chance = "" if entry.mcnemar_p is None else f" (p {entry.mcnemar_p:.2g})"
    return [*cells, points + chance, "-" if entry.flips is None else f"{entry.flips:,}"]


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


def _node(row: "ProfileRow", variant: str) -> str:
    node = row.nodes.get(variant)
    if node is None:
        return ""
    provider = "" if node.provider.startswith("CPU") else f" {node.provider[:4].lower()}"
    return f"{node.us:,.1f}{provider}"


def _figure(value: float) -> str:
    return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"
