"""Makes of any picture of one digit what the makers of MNIST made of their scans.

MNIST's digits are light strokes on black, scaled with their aspect into 20x20 pixels by an
antialiasing filter, and placed with their centre of mass in the middle of 28x28 (Y. LeCun,
L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document Recognition",
Proc. IEEE 86 (1998), section III.A). Their scans were clean; a photo has uneven light, noise,
colours and any pen, and these are dealt with first:

    ink        how far each pixel is from the paper, whose brightness may vary across the picture
    strokes    threshold (Otsu), specks dropped
    box        cropped, and cut out of the full-size picture again when that is large
    pen        strokes thinner than those of MNIST are thickened
    field      20x20 in 28x28, brightest strokes at 255
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.errors import DataError
from toolkit.runtime.components import bounding_box, label, outline_length

FIELD = 28
BOX = 20
FINE = 4  # strokes are handled at 4 times the final size, and reduced at the end

_WORKING_SIZE = 256  # the longer side at which the digit is looked for, in pixels
_MIN_CONTRAST = 8  # of 255, between ink and paper
_SPECK = 0.04  # regions below this part of the largest one are dirt
_EDGE_SPECK = 0.25  # the same of regions that touch the edge of the picture
_FILLED_SIZE = 96  # the longer side at which wide windows go over the picture, in pixels
_CLEARLY = 0.05  # gain in Otsu's criterion that makes a more complicated paper believable
_SMALLEST_SHADED = 48  # the shorter side, in pixels; a smaller picture is a drawing, no photo
_FAINTEST = 0.1  # of full ink; what is fainter does not count for the box
_THINNEST = 0.075  # stroke width over the digit's longer side; thinner ones are thickened to it

Gray = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Strokes:
    """Ink [H, W], 0 to 255, the mask of the strokes, and whether they are darker than the paper."""

    ink: Gray
    mask: Mask
    dark: bool


def prepare(picture: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """Return a picture of one digit as MNIST has them, and what was done.

    Args:
        picture: Decoded pixels, uint8 [H, W] or [H, W, 3], of any size.

    Returns:
        uint8 [28, 28], light on black; and notes in words.

    Raises:
        DataError: The picture shows no stroke. The message has no subject: the caller names it.
    """
    strokes, box = _find(picture)
    notes = ["inverted to light on dark"] if strokes.dark else []
    toned = _toned(strokes)
    # With the soft edges of the strokes, as MNIST's boxes have them.
    top, left, bottom, right = bounding_box(toned > _FAINTEST)
    height, width = picture.shape[:2]
    notes.append(f"cropped to {box[3] - box[1]}x{box[2] - box[0]} of {width}x{height}")
    fine, thickened = _fit(toned[top:bottom, left:right])
    if thickened:
        notes.append("thin strokes thickened")
    notes.append(f"fitted into {BOX}x{BOX}, centred by mass in {FIELD}x{FIELD}")
    return _centred(fine), tuple(notes)


def _find(picture: npt.NDArray[np.uint8]) -> tuple[_Strokes, tuple[int, int, int, int]]:
    """Return the strokes, and where they are in the picture (top, left, bottom, right)."""
    small = _shrunk(picture, _WORKING_SIZE)
    strokes = _strokes(small)
    factor = picture.shape[0] / small.shape[0], picture.shape[1] / small.shape[1]
    top, left, bottom, right = bounding_box(strokes.mask)
    box = (
        int(top * factor[0]),
        int(left * factor[1]),
        min(picture.shape[0], round(bottom * factor[0])),
        min(picture.shape[1], round(right * factor[1])),
    )
    side = max(bottom - top, right - left)
    if small.shape != picture.shape and side < _WORKING_SIZE / 2:
        # A small digit in a large picture: look again, closer, with some paper around it.
        margin = max(box[2] - box[0], box[3] - box[1]) // 4
        window = picture[
            max(0, box[0] - margin) : box[2] + margin, max(0, box[1] - margin) : box[3] + margin
        ]
        strokes = _strokes(_shrunk(window, _WORKING_SIZE))
    return strokes, box


def _strokes(picture: npt.NDArray[np.uint8]) -> _Strokes:
    """Separate ink from paper.

    Several ideas of the paper are tried: one colour, a smooth surface (uneven light), and the
    picture with everything narrow filled in (a shadow with an edge). The first is preferred
    unless another separates ink and paper clearly better.
    """
    pixels = picture.reshape(*picture.shape[:2], -1).astype(np.float32)
    edges = [pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]
    flat = np.broadcast_to(np.median(np.concatenate(edges), axis=0), pixels.shape)
    best = _separated(pixels, flat)
    if min(picture.shape[:2]) >= _SMALLEST_SHADED:
        for paper in (_paper_surface(pixels), *_filled(picture)):
            shaded = _separated(pixels, paper)
            if shaded[0] > best[0] + _CLEARLY:
                best = shaded
    _, ink, threshold, paper = best
    mask = ink > threshold
    if not mask.any() or float(ink[mask].mean()) < _MIN_CONTRAST:
        raise DataError("shows no stroke: all its pixels are alike. Give a picture of one digit.")
    mask = _without_specks(mask)
    dark = float(pixels[mask].mean()) < float(paper[mask].mean())
    return _Strokes(ink, mask, dark)


def _separated(pixels: Gray, paper: Any) -> tuple[float, Gray, float, Any]:
    """Return how believable an idea of the paper is, the ink, its threshold, and the paper.

    Believable, in [0, 1], is Otsu's criterion, less up to a third for ink in areas wider than a
    quarter of the picture: half a sheet in shadow parts well from the other half, but it is no
    stroke.
    """
    distance = np.abs(pixels - paper)
    # Reducing the short last axis takes numpy ten times as long.
    ink = functools.reduce(np.maximum, np.moveaxis(distance, 2, 0))
    threshold, quality = _otsu(ink)
    step = -(-max(ink.shape) // _FILLED_SIZE)
    mask = (ink > threshold)[::step, ::step]
    window = max(mask.shape) // 4 | 1
    wide = _windowed(_windowed(mask, window, np.minimum), window, np.maximum)
    return quality * (1 - wide.sum() / max(1, mask.sum()) / 3), ink, threshold, paper


def _otsu(ink: Gray) -> tuple[float, float]:
    """Return the threshold that best splits the values in two, and how well it does, in [0, 1].

    The criterion is the variance between the two classes as part of the whole variance
    (N. Otsu, "A Threshold Selection Method from Gray-Level Histograms", IEEE Trans. SMC 9
    (1979)).
    """
    counts, edges = np.histogram(ink, bins=256, range=(0, 256))
    centers = (edges[:-1] + edges[1:]) / 2
    weight = np.cumsum(counts) / ink.size
    moment = np.cumsum(counts * centers) / ink.size
    mean = moment[-1]
    variance = float((counts * (centers - mean) ** 2).sum() / ink.size)
    between = np.zeros(256)
    inside = (weight > 0) & (weight < 1)
    w, m = weight[inside], moment[inside]
    between[inside] = (mean * w - m) ** 2 / (w * (1 - w))
    best = int(between.argmax())
    return float(edges[best + 1]), float(between[best] / variance) if variance > 0 else 0.0


def _paper_surface(pixels: Gray) -> Gray:
    """Fit a quadratic surface to the paper's brightness, per channel, [H, W, C].

    Pixels far from the surface (the ink) are left out and the fit repeated, so that what is left
    in the end is paper.
    """
    height, width, channels = pixels.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)
    values = pixels.reshape(-1, channels).astype(np.float64)
    step = max(1, len(values) // 3000)
    some_terms, some_values = terms[::step], values[::step]
    keep = np.ones(len(some_values), bool)
    for _ in range(6):
        kept = some_terms[keep]
        # Normal equations: six terms in [-1, 1] are well conditioned. The ridge is for a picture
        # one pixel high, in which some terms are the same.
        square = kept.T @ kept + 1e-6 * np.eye(6)
        surface = np.linalg.solve(square, kept.T @ some_values[keep])
        distance = np.abs(some_values - some_terms @ surface).max(axis=1)
        keep = distance <= max(2.0, 2.5 * float(np.median(distance)))
    return (terms @ surface).reshape(pixels.shape).astype(np.float32)


def _filled(picture: npt.NDArray[np.uint8]) -> list[Gray]:
    """Return the picture with its narrow dark parts filled in, and with its narrow light ones.

    Morphological closing and opening with a square of a sixth of the picture, wider than any
    stroke: edges of larger things, such as a shadow, stay where they are.
    """
    from PIL import Image, ImageFilter

    small = Image.fromarray(picture)
    small.thumbnail((_FILLED_SIZE, _FILLED_SIZE), Image.Resampling.BOX)
    smooth = np.asarray(small.filter(ImageFilter.MedianFilter(3)))
    window = max(small.size) // 6 | 1
    height, width, channels = (*picture.shape, 1)[:3]
    papers = []
    for first, second in ((np.maximum, np.minimum), (np.minimum, np.maximum)):
        paper = Image.fromarray(_windowed(_windowed(smooth, window, first), window, second))
        wide_paper = paper.resize((width, height), Image.Resampling.BILINEAR)
        papers.append(np.asarray(wide_paper, np.float32).reshape(height, width, channels))
    return papers


def _windowed(values: npt.NDArray[Any], window: int, extreme: np.ufunc) -> npt.NDArray[Any]:
    """Return the maximum or minimum over a square window around each pixel of [H, W, ...]."""
    for axis in (0, 1):
        padding = [(0, 0)] * values.ndim
        padding[axis] = (window // 2, window // 2)
        padded = np.moveaxis(np.pad(values, padding, mode="edge"), axis, 0)
        shifted = [padded[start : start + values.shape[axis]] for start in range(window)]
        values = np.moveaxis(functools.reduce(extreme, shifted), 0, axis)
    return np.ascontiguousarray(values)


def _without_specks(mask: Mask) -> Mask:
    numbers, count = label(mask)
    areas = np.bincount(numbers.ravel(), minlength=count + 1)
    areas[0] = 0
    least = np.full(count + 1, _SPECK * areas.max())
    # What hangs at the edge is more often a shadow or the next word than a part of the digit.
    edges = np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]])
    least[edges] = _EDGE_SPECK * areas.max()
    kept: Mask = (areas >= least)[numbers] & mask
    return kept


def _toned(strokes: _Strokes) -> Gray:
    """Return the ink stretched so that paper is 0 and full strokes are 1; dirt is wiped out."""
    ink, mask = strokes.ink, strokes.mask
    paper = ink[~mask]
    low = float(np.quantile(paper, 0.75)) if len(paper) else 0.0
    high = float(np.quantile(ink[mask], 0.75))
    toned = np.clip((ink - low) / max(high - low, 1.0), 0, 1)
    # Soft edges stay, one pixel around the strokes; everything further out is paper.
    return np.where(_grown(mask), toned, 0).astype(np.float32)


def _grown(mask: Mask) -> Mask:
    """Return the mask grown by one pixel in all eight directions."""
    padded = np.pad(mask, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    grown: Mask = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    return grown


def _fit(digit: Gray) -> tuple[Gray, bool]:
    """Scale a cropped digit so that its longer side is 20 pixels, at 4 times that size.

    Returns:
        The digit, and whether its strokes were thickened to the thinnest of MNIST.
    """
    side = BOX * FINE
    height, width = digit.shape
    scale = side / max(height, width)
    fine = _scaled(digit, (max(1, round(height * scale)), max(1, round(width * scale))))
    mask = fine > 0.5 * fine.max()
    # A stroke of length l and width w has the area l w and an outline of 2 l; on a pixel grid
    # the outline of slanted strokes counts 4 / pi times too long on average.
    stroke = 2 * float(mask.sum()) / max(1.0, outline_length(mask) * np.pi / 4)
    missing = _THINNEST * side - stroke
    if missing < 1:
        return fine, False
    radius = missing / 2
    return _thickened(fine, radius), True


def _thickened(fine: Gray, radius: float) -> Gray:
    """Return the maximum over a disk around each pixel, on a field wider by the disk."""
    reach = int(np.ceil(radius))
    padded = np.pad(fine, 2 * reach)
    height, width = fine.shape[0] + 2 * reach, fine.shape[1] + 2 * reach
    thick = np.zeros((height, width), np.float32)
    for down in range(-reach, reach + 1):
        for across in range(-reach, reach + 1):
            if down * down + across * across <= (radius + 0.5) ** 2:
                moved = padded[reach + down :, reach + across :][:height, :width]
                np.maximum(thick, moved, out=thick)
    return thick


def _centred(fine: Gray) -> npt.NDArray[np.uint8]:
    """Place a digit with its centre of mass in the middle of the field and reduce it."""
    size = FIELD * FINE
    fine = fine[:size, :size]
    mass = float(fine.sum())
    field = np.zeros((size, size), np.float32)
    starts = []
    for axis in (0, 1):
        middle = float((fine.sum(axis=1 - axis) * (np.arange(fine.shape[axis]) + 0.5)).sum()) / mass
        # MNIST moved its digits by whole pixels, until the mean of the pixels' numbers, counted
        # from 0, was nearest to 14: half a pixel beyond the middle of the field. Measured on its
        # test set: 13.98 down, 14.01 across, standard deviation 0.29 (that of rounding).
        start = round(((FIELD + 1) / 2 * FINE - middle) / FINE) * FINE
        starts.append(min(max(0, start), size - fine.shape[axis]))
    field[starts[0] : starts[0] + fine.shape[0], starts[1] : starts[1] + fine.shape[1]] = fine
    reduced = field.reshape(FIELD, FINE, FIELD, FINE).mean(axis=(1, 3))
    pixels: npt.NDArray[np.uint8] = np.rint(255 * reduced / reduced.max()).astype(np.uint8)
    return pixels


def _shrunk(picture: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Return the picture with its longer side reduced to at most ``side``, averaging pixels."""
    from PIL import Image

    height, width = picture.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def _scaled(digit: Gray, shape: tuple[int, int]) -> Gray:
    from PIL import Image

    image = Image.fromarray(digit).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    scaled: Gray = np.clip(np.asarray(image), 0, 1)
    return scaled
