"""Draws wrongly classified pictures, most confident mistakes first."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from toolkit.datasets import Split
from toolkit.errors import DataError
from toolkit.files import whole_file
from toolkit.measuring.accuracy import predicted_classes
from toolkit.reporting.pictures import is_picture, to_picture

SHOWN = 60
_COLUMNS = 10
_TILE = 112
_CAPTION = 66
_GAP = 12
_HEAD = 92
_INK, _FAINT, _WRONG, _PAPER = "#1b1f24", "#656d76", "#b3261e", "#ffffff"
_FRAME = "#c4c9cf"  # shows where a white picture ends


def draw_mistakes(
    split: Split,
    probabilities: npt.NDArray[np.float32],
    labels: tuple[str, ...],
    path: Path,
    *,
    model: str,
    data: str,
) -> int:
    """Write a PNG of the samples that are classified wrongly; return how many are shown.

    Args:
        split: Labelled pictures, uint8 [N, H, W], [N, H, W, 1] or [N, H, W, 3].
        probabilities: [N, classes].
        labels: Names of the classes.
        path: The PNG.
        model: Name of the model, for the head.
        data: Name of the data, for the head.

    Raises:
        DataError: The samples are no pictures.
        OutputError: The file cannot be written.
    """
    assert split.labels is not None  # noqa: S101 - evaluate has checked it
    predicted = predicted_classes(probabilities)
    wrong = np.flatnonzero(predicted != split.labels)
    order = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")]
    shown = order[:SHOWN]
    title = f"{len(wrong):,} of {len(split):,} wrong"
    if len(wrong) > len(shown):
        title += f", the {len(shown)} most confident shown"
    columns = min(_COLUMNS, max(4, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    sheet = Image.new(
        "RGB",
        (
            _GAP + columns * (_TILE + _GAP),
            _HEAD + rows * (_TILE + _CAPTION + _GAP),
        ),
        _PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    room = sheet.width - 2 * _GAP
    _line(draw, (_GAP, 10), title, _INK, size=24, width=room)
    _line(draw, (_GAP, 40), f"{model} on {data}", _INK, size=16, width=room)
    legend = "true label, then the model's answer and its probability"
    _line(draw, (_GAP, 62), legend, _FAINT, size=15, width=room)
    for place, index in enumerate(shown):
        left = _GAP + (place % columns) * (_TILE + _GAP)
        top = _HEAD + (place // columns) * (_TILE + _CAPTION + _GAP)
        tile = _tile(split.images[index : index + 1][0])
        x, y = left + (_TILE - tile.width) // 2, top + (_TILE - tile.height) // 2
        sheet.paste(tile, (x, y))
        draw.rectangle((x - 1, y - 1, x + tile.width, y + tile.height), outline=_FRAME)
        truth, answer = labels[split.labels[index]], labels[predicted[index]]
        confidence = f"{100 * probabilities[index, predicted[index]]:.0f} %"
        lines = ((truth, _INK), (answer, _WRONG), (confidence, _WRONG))
        for number, (text, ink) in enumerate(lines):
            place_of_line = (left, top + _TILE + 3 + 19 * number)
            _line(draw, place_of_line, text, ink, size=16, width=_TILE)
    with whole_file(path) as temporary:
        sheet.save(temporary, format="PNG")
    return len(shown)


def _line(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    ink: str,
    *,
    size: int,
    width: int,
) -> None:
    """Write one line, cut to a width in pixels."""
    font = _font(size)
    while len(text) > 1 and draw.textlength(text, font=font) > width:
        text = text.rstrip("…")[:-1] + "…"
    draw.text(place, text, fill=ink, font=font)


def _tile(sample: npt.NDArray[Any]) -> Image.Image:
    """Return a picture enlarged with sharp pixels, or reduced smoothly, to fit a tile."""
    if not is_picture(sample.shape):
        raise DataError(
            f"Samples of shape {list(sample.shape)} are no pictures; leave --errors out."
        )
    image = to_picture(sample)
    scale = _TILE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    smooth = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST
    return image.resize(size, smooth)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
