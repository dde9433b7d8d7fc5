"""`toolkit predict`."""

import shutil
import sys
from typing import TYPE_CHECKING, Any

import click

from toolkit.commands.options import json_option, print_result

if TYPE_CHECKING:
    from toolkit.prediction import PredictResult


@click.command()
@click.argument("model")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Name this many classes for each image.",
)
@click.option(
    "--raw",
    is_flag=True,
    help="Only convert to the model's colours and size: no inverting, cropping or centring.",
)
@click.option(
    "--provider",
    type=click.Choice(["auto", "cpu", "cuda", "tensorrt"]),
    default="auto",
    show_default=True,
    help="Where the model runs.",
)
@json_option
def predict(
    model: str, images: tuple[str, ...], top: int, raw: bool, provider: Any, as_json: bool
) -> None:
    """Classify image files with MODEL: an .onnx file, or a zoo name.

    An image is prepared as the model's contract says; for a digit that is what the makers of
    MNIST did, whatever its size, colours and background. What was done is said on stderr. When
    an image cannot be read, the others are answered and the exit status is 1.
    """
    from toolkit.prediction import predict as run
    from toolkit.reporting.terminal import note

    result = run(model, images, top=top, raw=raw, provider=provider)
    if result.assumed:
        note(result.assumed)
    print_result(result, _show, as_json=as_json)
    if not as_json:
        for line in _preparations(result):
            note(line)
    for _, reason in result.failures:
        note(f"Error: {reason}")
    if result.failures:
        click.get_current_context().exit(1)


def _show(result: "PredictResult") -> None:
    from toolkit.reporting.terminal import print_table

    if not result.predictions:
        return
    shares = [
        [(label, f"{100 * confidence:.1f} %") for label, confidence in prediction.top]
        for prediction in result.predictions
    ]
    labels = ["answer", *(label for share in shares for label, _ in share)]
    taken = max(map(len, labels)) + len("  confidence  ")
    room = max(_NAME, shutil.get_terminal_size().columns - taken) if sys.stdout.isatty() else None
    # One line for each candidate: the picture is named on the first.
    rows = [
        ["" if place else _ending(prediction.file, room), *answer]
        for prediction, share in zip(result.predictions, shares, strict=True)
        for place, answer in enumerate(share)
    ]
    print_table(rows, ["image", "answer", "confidence"], left=(0, 1))


def _ending(name: str, room: int | None) -> str:
    """Return a file name, or the end of one that a terminal has no room for: the end tells."""
    return name if room is None or len(name) <= room else f"…{name[1 - room :]}"


_NAME = 16  # characters of a file name that are always shown


def _preparations(result: "PredictResult") -> list[str]:
    """Say once what was done to the pictures, or one line for each kind of preparation."""
    files: dict[tuple[str, ...], list[str]] = {}
    for prediction in result.predictions:
        if prediction.preparation:
            files.setdefault(prediction.preparation, []).append(prediction.file)
    lines = []
    for steps, names in files.items():
        if len(names) == len(result.predictions):
            whose = ""
        else:
            whose = (
                f"{names[0]}: " if len(names) == 1 else f"{names[0]} and {len(names) - 1} more: "
            )
        lines.append(f"{whose}{', '.join(steps)}")
    return lines
