"""`toolkit predict`."""

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
    if not as_json:
        for prediction in result.predictions:
            if prediction.preparation:
                note(f"{prediction.file}: {', '.join(prediction.preparation)}")
    print_result(result, _show, as_json=as_json)
    for _, reason in result.failures:
        note(f"Error: {reason}")
    if result.failures:
        click.get_current_context().exit(1)


def _show(result: "PredictResult") -> None:
    from toolkit.reporting.terminal import print_table

    if not result.predictions:
        return
    rows = [
        [
            prediction.file,
            *(f"{label}  {100 * confidence:5.1f} %" for label, confidence in prediction.top),
        ]
        for prediction in result.predictions
    ]
    count = len(result.predictions[0].top)
    header = ["image", "answer", *(f"{place}." for place in range(2, count + 1))]
    print_table(rows, header, left=range(count + 1))
