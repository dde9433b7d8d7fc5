"""`toolkit quantize`."""

import math
from pathlib import Path

import click

from toolkit.commands.options import data_option, json_option, output_option, print_result


def _number(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    """Refuse infinity and NaN, which is neither below nor above a bound: click lets it pass."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is no finite number.", context, option)
    return value


@click.command()
@click.argument("model")
@output_option("The int8 model to write.")
@click.option(
    "--recipe",
    default="int8",
    show_default=True,
    metavar="NAME|FILE.toml",
    help="How to quantize; quantize/README.md tells which recipe is for what.",
)
@data_option()
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    metavar="N",
    help="Calibration samples, drawn from the training data.  [default: as the recipe says]",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Draws the samples.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(min=0, max=100),
    callback=_number,
    metavar="P",
    help="Budget in points of top-1, decided on validation data. A model that misses it is "
    "repaired; if that fails, nothing is written.",
)
@click.option(
    "--min-agreement",
    type=click.FloatRange(min=0, max=100),
    callback=_number,
    metavar="P",
    help="Budget for data without labels: percent of equal classes in float and int8.",
)
@click.option(
    "--min-sqnr",
    type=float,
    callback=_number,
    metavar="DB",
    help="Budget for outputs without classes: signal to quantization noise in decibels.",
)
@click.option(
    "--portable/--no-portable",
    default=None,
    help="Place nodes by rules, without measuring on this machine.  [default: as the recipe says]",
)
@click.option("--allow-slower", is_flag=True, help="Write a model that is slower than float, too.")
@click.option(
    "--allow-session-options",
    is_flag=True,
    help="When an optimizer pass of onnxruntime changes the answer and nothing else helps, keep in "
    "the model's contract that it be left out.",
)
@click.option(
    "--search-time",
    type=click.FloatRange(min=0, min_open=True),
    callback=_number,
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the measurements may take.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads to measure with, kept in the model's contract.  [default: 1, not kept]",
)
@json_option
def quantize(
    model: str,
    output: Path,
    recipe: str,
    data: str | None,
    samples: int | None,
    seed: int,
    max_drop: float | None,
    min_agreement: float | None,
    min_sqnr: float | None,
    portable: bool | None,
    allow_slower: bool,
    allow_session_options: bool,
    search_time: float,
    threads: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Quantize an ONNX model to int8 and measure what it costs.

    MODEL is a float .onnx file or a zoo name. Without --data the dataset that the model was
    trained on is used, as the model's contract tells.
    """
    from toolkit.quantization import quantize as run
    from toolkit.quantization.repair import BudgetMissedError
    from toolkit.quantization.showing import show, show_attempts

    try:
        result = run(
            model,
            output,
            data=data,
            recipe=recipe,
            samples=samples,
            seed=seed,
            max_drop=max_drop,
            min_agreement=min_agreement,
            min_sqnr=min_sqnr,
            portable=portable,
            allow_slower=allow_slower,
            allow_session_options=allow_session_options,
            search_time=search_time,
            threads=threads,
            force=force,
        )
    except BudgetMissedError as error:
        if error.attempts and not as_json:
            show_attempts(error.attempts)
        raise
    print_result(result, show, as_json=as_json)
