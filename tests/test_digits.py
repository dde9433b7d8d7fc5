"""Pictures of digits are prepared as the makers of MNIST did, whatever paper, pen and light."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from toolkit.datasets import load_dataset
from toolkit.errors import DataError
from toolkit.recipes import builtin_dir
from toolkit.runtime import load
from toolkit.runtime.components import bounding_box, label, outline_length
from toolkit.runtime.digits import prepare

SAMPLES = 50


@pytest.fixture(scope="module")
def model():
    return load(builtin_dir("models") / "mnist_cnn.onnx", threads=1)


@pytest.fixture(scope="module")
def digits():
    test = load_dataset("mnist").test
    return test.images[:SAMPLES], test.labels[:SAMPLES]


def enlarged(digit, size):
    return np.asarray(Image.fromarray(digit).resize((size, size), Image.Resampling.BICUBIC))


def placed(digit, size, digit_size, random):
    """Return strokes in [0, 1] of a digit somewhere on a square."""
    canvas = np.zeros((size, size), np.float32)
    top, left = random.integers(0, size - digit_size + 1, 2)
    canvas[top : top + digit_size, left : left + digit_size] = enlarged(digit, digit_size)
    return canvas / 255


def slope(size, random):
    """Return a plane from -1 to 1 in a random direction."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    angle = random.uniform(0, 2 * np.pi)
    return np.cos(angle) * x + np.sin(angle) * y


def pixels(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def photo(digit, random, light=50, noise=6, ink=(40, 40, 90)):
    strokes = placed(digit, 160, 90, random)[..., None]
    paper = 200 + light * slope(160, random)[..., None]
    picture = paper * (1 - strokes) + np.array(ink) * strokes * paper / 200
    return pixels(picture + random.normal(0, noise, picture.shape))


def shadow(digit, random):
    edge = pixels(255 * (slope(160, random) > random.uniform(-0.3, 0.3)))
    soft = np.asarray(Image.fromarray(edge).filter(ImageFilter.BoxBlur(4))) / 255
    return pixels(photo(digit, random, light=10, noise=3) * (1 - 0.4 * soft[..., None]))


def colored(digit, paper, ink):
    strokes = enlarged(digit, 84)[..., None] / 255
    return pixels(np.array(paper) * (1 - strokes) + np.array(ink) * strokes)


def tight(digit):
    top, left, bottom, right = bounding_box(digit > 100)
    return 255 - digit[top:bottom, left:right]


def dirty(digit, random):
    picture = pixels(255 * (1 - placed(digit, 120, 90, random)))
    for top, left in random.integers(0, 118, (9, 2)):
        picture[top : top + 2, left : left + 2] = 60
    return picture


PICTURES = {
    "as MNIST has it": lambda digit, random: digit,
    "inverted": lambda digit, random: 255 - digit,
    "large": lambda digit, random: 255 - enlarged(digit, 300),
    "cropped to the strokes": lambda digit, random: tight(digit),
    "small in a large picture": lambda digit, random: pixels(
        255 * (1 - placed(digit, 700, 90, random))
    ),
    "pale": lambda digit, random: pixels(250 - digit * 0.1),
    "noisy": lambda digit, random: pixels(190 - digit * 0.45 + random.normal(0, 9, digit.shape)),
    "yellow on white": lambda digit, random: colored(digit, (255, 255, 255), (250, 240, 60)),
    "red on green": lambda digit, random: colored(digit, (60, 140, 60), (220, 60, 50)),
    "photo in uneven light": photo,
    "photo in the dark": lambda digit, random: pixels(photo(digit, random) * 0.3),
    "chalk": lambda digit, random: 255 - photo(digit, random, ink=(10, 10, 10)),
    "under a shadow": shadow,
    "with dirt": dirty,
}


@pytest.mark.parametrize("kind", PICTURES)
def test_real_digits_are_recognized_in_every_kind_of_picture(kind, digits, model):
    images, labels = digits
    random = np.random.default_rng(7)
    prepared = np.stack([prepare(PICTURES[kind](image, random))[0] for image in images])
    predicted = model.probabilities(prepared).argmax(axis=1)
    assert (predicted == labels).mean() >= 0.93


def test_a_digit_of_mnist_stays_what_it_is(digits):
    images, _ = digits
    prepared = np.stack([prepare(image)[0] for image in images])
    assert np.abs(prepared.astype(int) - images).mean() < 4


def drawn(width, size=200, ink=0, paper=255):
    """A 7 drawn with a pen of a width."""
    image = Image.new("L", (size, size), paper)
    pen = ImageDraw.Draw(image)
    corners = [(0.3, 0.2), (0.7, 0.2), (0.45, 0.8)]
    pen.line([(x * size, y * size) for x, y in corners], fill=ink, width=width, joint="curve")
    return np.asarray(image)


@pytest.mark.parametrize("width", [1, 2, 5, 12, 25])
def test_pens_of_any_width_give_strokes_that_the_model_can_read(width, model):
    prepared, notes = prepare(drawn(width))
    assert model.predict(prepared).label == "7"
    assert ("thin strokes thickened" in notes) == (width <= 5)


def test_the_result_is_light_on_black_fitted_and_centred_by_mass():
    prepared, notes = prepare(drawn(12))
    assert prepared.shape == (28, 28)
    assert prepared.dtype == np.uint8
    assert prepared.max() == 255
    assert (prepared[:2] == 0).all()
    top, _, bottom, _ = bounding_box(prepared > 40)
    assert bottom - top == pytest.approx(20, abs=1)
    y, x = np.mgrid[:28, :28]
    mass = prepared.sum(dtype=float)
    assert ((prepared * y).sum() / mass, (prepared * x).sum() / mass) == pytest.approx(
        (14, 14), abs=0.6
    )
    assert notes[0] == "inverted to light on dark"
    assert prepare(drawn(12, ink=255, paper=0))[1][0].startswith("cropped to")


BLANK = {
    "one colour": np.full((40, 40), 128, np.uint8),
    "one pixel": np.zeros((1, 1), np.uint8),
    "one row": np.zeros((1, 50, 3), np.uint8),
    "nearly one colour": (250 + np.eye(40)).astype(np.uint8),
}


@pytest.mark.parametrize("kind", BLANK)
def test_a_picture_without_strokes_is_refused(kind):
    with pytest.raises(DataError, match="shows no stroke"):
        prepare(BLANK[kind])


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (3, 3), (1, 900), (900, 2), (49, 49, 3)])
def test_no_shape_of_picture_is_too_odd(shape):
    noise = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    assert prepare(noise)[0].shape == (28, 28)


def test_regions_are_joined_across_corners_and_around_bends():
    mask = np.array(
        [
            [1, 0, 0, 0, 1],
            [0, 1, 0, 0, 1],
            [0, 0, 0, 0, 1],
            [1, 1, 0, 0, 1],
            [0, 1, 1, 1, 1],
        ],
        bool,
    )
    numbers, count = label(mask)
    assert count == 2
    assert numbers[0, 0] == numbers[1, 1] != numbers[0, 4]
    assert numbers[0, 4] == numbers[3, 0]
    assert (numbers[~mask] == 0).all()


def test_regions_of_random_masks_agree_with_flooding():
    random = np.random.default_rng(3)
    for _ in range(20):
        mask = random.random((13, 17)) < 0.45
        numbers, count = label(mask)
        seen = np.zeros(mask.shape, bool)
        regions = 0
        for start in zip(*np.nonzero(mask), strict=True):
            if seen[start]:
                continue
            regions += 1
            stack, members = [start], []
            seen[start] = True
            while stack:
                y, x = stack.pop()
                members.append((y, x))
                for near in ((y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
                    inside = 0 <= near[0] < 13 and 0 <= near[1] < 17
                    if inside and mask[near] and not seen[near]:
                        seen[near] = True
                        stack.append(near)
            assert len({int(numbers[member]) for member in members}) == 1
        assert count == regions


def test_the_outline_of_a_square_is_its_four_sides():
    mask = np.zeros((9, 9), bool)
    mask[2:7, 3:8] = True
    assert outline_length(mask) == 20
    with pytest.raises(ValueError, match="empty"):
        bounding_box(np.zeros((3, 3), bool))
