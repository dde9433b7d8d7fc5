"""`toolkit evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.commands.options import PATH, data_option, json_option, print_result

if TYPE_CHECKING:
    from toolkit.evaluation import EvaluateResult


@click.command()
@click.argument("model")
@data_option()
@click.option(
    "--errors",
    type=PATH,
    metavar="PNG",
    help="Draw the wrongly classified pictures, most confident mistakes first.",
)
@click.option(
    "--provider",
    type=click.Choice(["auto", "cpu", "cuda", "tensorrt"]),
    default="cpu",
    show_default=True,
    help="Where an ONNX model runs.",
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
@json_option
def evaluate(
    model: str, data: str | None, errors: Path | None, provider: Any, force: bool, as_json: bool
) -> None:
    """Measure the accuracy of MODEL: an .onnx, .keras or .h5 file, or a zoo name.

    Prints top-1 with its 95 % Wilson interval, the loss, the accuracy of each class, and the
    confusion matrix. The data is by default what the model was trained on; its test set is used.
    """
    from toolkit.evaluation import evaluate as run

    result = run(model, data=data, errors=errors, provider=provider, force=force)
    print_result(result, _show, as_json=as_json)


def _show(result: "EvaluateResult") -> None:
    from toolkit.reporting.terminal import print_pairs, print_table

    low, high = result.top1_interval
    parts = {"test": "test samples", "all": "samples, all of it", "held out": "held out samples"}
    print_pairs(
        [
            ("model", str(result.path)),
            ("data", f"{result.data}, {result.samples:,} {parts[result.part]}"),
            ("top-1", f"{100 * result.top1:.2f} %  [{100 * low:.2f}, {100 * high:.2f}]"),
            ("loss", f"{result.loss:.4f}"),
        ]
    )
    if len(result.labels) <= _WIDEST:
        # The columns are numbered like the rows: names would not fit side by side.
        rows = [
            [
                _numbered(index, entry.label),
                f"{entry.samples:,}",
                "-" if entry.accuracy is None else f"{100 * entry.accuracy:.1f} %",
                *(f"{count:,}" if count else "·" for count in row),
            ]
            for index, (entry, row) in enumerate(
                zip(result.per_class, result.confusion, strict=True)
            )
        ]
        click.echo()
        print_table(rows, ["label", "count", "right", *map(str, range(len(result.labels)))])
    else:
        ranked = sorted(
            (entry for entry in result.per_class if entry.accuracy is not None),
            key=lambda entry: entry.accuracy or 0.0,
        )
        click.echo()
        print_table(
            [
                [entry.label, f"{entry.samples:,}", f"{100 * (entry.accuracy or 0):.1f} %"]
                for entry in ranked[:_WIDEST]
            ],
            ["weakest classes", "count", "right"],
        )
    if result.errors:
        click.echo(f"\nmistakes drawn in {result.errors}")


def _numbered(index: int, label: str) -> str:
    return label if label == str(index) else f"{index} {label}"


_WIDEST = 20  # classes for which a confusion matrix fits into a terminal
