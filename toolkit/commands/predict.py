"""`toolkit predict`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.commands.options import PATH, json_option, print_result

if TYPE_CHECKING:
    from toolkit.prediction import PredictResult


@click.command()
@click.argument("model")
@click.argument("files", type=PATH, nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many classes to name for each picture.",
)
@click.option("--raw", is_flag=True, help="Only convert and resize; prepare nothing else.")
@click.option(
    "--provider",
    type=click.Choice(["auto", "cpu", "cuda", "tensorrt"]),
    default="cpu",
    show_default=True,
    help="Where the model runs.",
)
@json_option
def predict(
    model: str, files: tuple[Path, ...], top: int, raw: bool, provider: Any, as_json: bool
) -> None:
    """Classify picture files with MODEL, an .onnx file or a zoo name.

    Pictures of any size and colour are prepared as the model's contract says. For MNIST: the
    digit is found, turned light on black, fitted into 20x20 pixels and centred by its mass. What
    was done stands beside each answer.
    """
    from toolkit.prediction import predict as run

    result = run(model, files, top=top, raw=raw, provider=provider)
    if result.predictions or as_json:
        print_result(result, _show, as_json=as_json)
    for failure in result.failures:
        click.echo(f"Error: {failure}", err=True)
    if result.failures:
        sys.exit(1)


def _show(result: "PredictResult") -> None:
    from toolkit.reporting.terminal import print_table

    rows = [
        [
            entry.file if index == 0 else "",
            candidate.label,
            f"{100 * candidate.confidence:.1f} %",
            "; ".join(entry.prepared) if index == 0 else "",
        ]
        for entry in result.predictions
        for index, candidate in enumerate(entry.top)
    ]
    print_table(rows, ["picture", "label", "confidence", "prepared"], left=(0, 1, 3))
