"""Samples as pictures: for contact sheets and pages."""

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image


def is_picture(shape: tuple[int, ...]) -> bool:
    """Tell whether a sample of this shape is a picture: [H, W], [H, W, 1] or [H, W, 3]."""
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))


def to_picture(sample: npt.NDArray[Any]) -> Image.Image:
    """Return a sample as a picture, one pixel per value; other dtypes than uint8 are stretched.

    Raises:
        ValueError: The sample's shape is not that of a picture.
    """
    if not is_picture(sample.shape):
        raise ValueError(f"a sample of shape {list(sample.shape)} is no picture")
    pixels = sample[..., 0] if sample.ndim == 3 and sample.shape[2] == 1 else sample
    if pixels.dtype != np.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        pixels = np.rint((pixels - low) * (255 / ((high - low) or 1))).astype(np.uint8)
    return Image.fromarray(pixels)


def data_uri(picture: Image.Image, *, largest: int) -> str:
    """Return a picture as a PNG in a data URI, reduced where a side is longer than ``largest``."""
    scale = largest / max(picture.size)
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
