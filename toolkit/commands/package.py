"""`toolkit package`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.commands.options import PATH, data_option, json_option, print_result

if TYPE_CHECKING:
    from toolkit.packaging import PackageResult, Target


@click.command()
@click.argument("model")
@click.option(
    "--for",
    "target",
    type=click.Choice(["python", "c", "cpp", "node", "web"]),
    required=True,
    help="The language of the application.",
)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="FOLDER",
    help="The folder to write; it must not exist.  [default: the model's name and the target]",
)
@click.option(
    "--beside",
    metavar="MODEL",
    help="web: a second model to show side by side.  [default: the float original, if at hand]",
)
@data_option()
@json_option
def package(
    model: str,
    target: "Target",
    output: Path | None,
    beside: str | None,
    data: str | None,
    as_json: bool,
) -> None:
    """Write a small application that runs MODEL: an ONNX file, or a name of the zoo.

    The folder holds the model, its contract, golden samples with their answers (from --data, or
    the data that the model was made with, else random), the code, a README with the commands
    that run it, and SHA256SUMS.
    """
    from toolkit.packaging import package as write

    if beside is not None and target != "web":
        raise click.UsageError("--beside is for --for web.")

    def show(result: "PackageResult") -> None:
        from toolkit.reporting.terminal import print_pairs

        exactness = "bit for bit" if result.tolerance == 0 else f"within {result.tolerance:.3g}"
        print_pairs(
            [
                ("folder", str(result.path)),
                ("application", result.target),
                ("files", str(len(result.files))),
                (
                    "golden samples",
                    f"{result.golden} of {result.data or 'noise'}, to be met {exactness}",
                ),
                ("next", f"read {result.path / 'README.md'}"),
            ]
        )

    print_result(write(model, target, output, beside=beside, data=data), show, as_json=as_json)
