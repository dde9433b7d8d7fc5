"""`toolkit quantize`."""

import math
from pathlib import Path

import click

from toolkit.commands.options import data_option, json_option, output_option, print_result


def _number(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    """Refuse NaN, which is neither below nor above a bound, so that click lets it pass."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is no number.", context, option)
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
    help="Budget in points of top-1, decided on validation data; beyond it nothing is written.",
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
    force: bool,
    as_json: bool,
) -> None:
    """Quantize an ONNX model to int8 and measure what it costs.

    MODEL is a float .onnx file or a zoo name. Without --data the dataset that the model was
    trained on is used, as the model's contract tells.
    """
    from toolkit.quantization import QuantizeResult
    from toolkit.quantization import quantize as run

    def show(result: QuantizeResult) -> None:
        from toolkit.quantization.showing import show as print_tables

        print_tables(result)

    result = run(
        model,
        output,
        data=data,
        recipe=recipe,
        samples=samples,
        seed=seed,
        max_drop=max_drop,
        force=force,
    )
    print_result(result, show, as_json=as_json)
