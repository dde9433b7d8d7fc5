"""From a picture file to the pixels of a model's input. Needs Pillow, imported on use."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.contract import InputSpec
from toolkit.errors import DataError, MissingPackageError

INSTALL = "pip install pillow"
MAX_PIXELS = 80_000_000  # a decoded picture of that size takes about 1 GB on the way

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """What a model is fed for a picture file.

    Attributes:
        pixels: uint8 [H, W] for a grayscale input, else [H, W, 3].
        notes: What was done to the picture, in the order in which it was done.
    """

    pixels: Pixels
    notes: tuple[str, ...]


def read(path: str | os.PathLike[str], spec: InputSpec, *, raw: bool = False) -> Picture:
    """Decode a picture file and prepare it as the input's contract says.

    Every kind of picture ends as grey or RGB of 8 bits: the EXIF orientation is applied, 16-bit
    and floating-point greys are scaled down, palettes are resolved, transparency is put on a
    background (`flatten`). Then "resize" scales the picture to the input's size, without keeping
    its aspect; "mnist" makes an MNIST digit of it (`toolkit.runtime.digits`).

    Args:
        path: The file.
        spec: The input; its ``image`` says what it takes.
        raw: Only convert and resize, also where the contract asks for "mnist".

    Raises:
        DataError: The file is missing or no picture, the input takes none, or "mnist" finds
            nothing that could be a digit.
        MissingPackageError: Pillow is not installed.
    """
    if spec.image is None:
        shape = ", ".join(str(size) for size in spec.shape)
        raise DataError(f"Input '{spec.name}' takes [{shape}], no pictures. Give it arrays.")
    picture = decode(path)
    if spec.image.preparation == "mnist" and not raw:
        from toolkit.runtime import digits

        try:
            pixels, notes = digits.prepare(np.asarray(picture))
        except DataError as error:
            raise DataError(f"'{os.fspath(path)}' {error}") from error
        return Picture(pixels, notes)
    return _resized(picture, spec)


def decode(path: str | os.PathLike[str]) -> Any:
    """Return a picture file as a PIL image of mode "L" or "RGB", upright and opaque.

    Pillow's warnings about files that are odd but readable are left to the application: silencing
    them here would not be safe with threads.

    Raises:
        DataError: The file is missing, no picture, damaged, or larger than `MAX_PIXELS`.
        MissingPackageError: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise MissingPackageError(f"Picture files need Pillow: {INSTALL}") from error
    path = Path(path)
    if path.is_dir():
        raise DataError(f"'{path}' is a directory; name a picture file.")
    try:
        with Image.open(path) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise DataError(
                    f"'{path}' has {width} x {height} pixels; make it smaller than "
                    f"{MAX_PIXELS // 1_000_000} megapixels."
                )
            image.load()
            return flatten(ImageOps.exif_transpose(image))
    except FileNotFoundError as error:
        raise DataError(f"'{path}' does not exist.") from error
    except PermissionError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}.") from error
    # Pillow's decoders raise several kinds of error on damaged files, SyntaxError among them.
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        if path.is_file() and path.stat().st_size == 0:
            raise DataError(f"'{path}' is empty, no picture.") from error
        raise DataError(
            f"'{path}' is no picture that can be read, or it is damaged; "
            "give a PNG, JPEG or another common format."
        ) from error


def flatten(image: Any) -> Any:
    """Return a PIL image of any mode as "L" or "RGB".

    Transparency is put on a background. Where most of the picture is transparent, what is opaque
    is the subject, and the background is white or black, whichever is further from the subject's
    mean lightness; where most is opaque, only edges are transparent, and they get the median
    colour.
    """
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bits(np.asarray(image)))
    if image.has_transparency_data:
        pixels = np.asarray(image.convert("RGBA"))
        color, alpha = pixels[..., :3], pixels[..., 3]
        opaque = color[alpha >= 128]
        if len(opaque) == 0:
            return Image.new("L", image.size)
        if len(opaque) < alpha.size / 2:
            weights = alpha / alpha.sum(dtype=np.float64)
            light = float((color.mean(axis=2) * weights).sum())
            fill = np.full(3, 0 if light > 127 else 255)
        else:
            fill = np.median(opaque, axis=0)
        background = Image.new("RGBA", image.size, (*(int(value) for value in fill), 255))
        background.alpha_composite(image.convert("RGBA"))
        image = background
    elif image.mode in ("1", "L"):
        return image.convert("L")
    rgb = image.convert("RGB")
    pixels = np.asarray(rgb)
    gray = (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()
    return rgb.getchannel(0) if gray else rgb


def _eight_bits(values: npt.NDArray[Any]) -> Pixels:
    """Scale greys to 8 bits: from [0, 65535], [0, 255] or [0, 1], else from their own range."""
    numbers = np.nan_to_num(values.astype(np.float64), posinf=0, neginf=0)
    low, high = float(numbers.min()), float(numbers.max())
    if values.dtype.kind == "u" or (values.dtype.kind == "i" and low >= 0 and 255 < high <= 65535):
        low, high = 0.0, 65535.0
    elif low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    scale = 255 / (high - low) if high > low else 0.0
    return np.rint((numbers - low) * scale).astype(np.uint8)


def _resized(picture: Any, spec: InputSpec) -> Picture:
    from PIL import Image

    assert spec.image is not None  # noqa: S101 - read() checked it
    notes = []
    mode = "L" if spec.image.color == "grayscale" else "RGB"
    if picture.mode != mode:
        notes.append("converted to grayscale" if mode == "L" else "grey repeated as RGB")
        picture = picture.convert(mode)
    axes = {"NCHW": (2, 3), "NHWC": (1, 2), "NHW": (1, 2)}[spec.image.layout]
    height, width = (spec.shape[axis] for axis in axes)
    if isinstance(height, int) and isinstance(width, int) and picture.size != (width, height):
        notes.append(f"resized from {picture.width}x{picture.height} to {width}x{height}")
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return Picture(np.asarray(picture, np.uint8), tuple(notes))
