"""Any picture file becomes the pixels that a model takes."""

import numpy as np
import pytest
from PIL import Image

from toolkit.contract import ImageSpec, InputSpec
from toolkit.errors import DataError
from toolkit.runtime.images import decode, read


def takes(shape=("batch", 4, 6, 1), layout="NHWC", color="grayscale", preparation="resize"):
    return InputSpec("image", "uint8", shape, ImageSpec(layout, color, preparation))


def gradient(mode="L"):
    """8x12 pixels, brighter to the right, and redder where there is colour."""
    values = np.tile(np.linspace(10, 240, 12).astype(np.uint8), (8, 1))
    if mode == "RGB":
        return Image.fromarray(np.stack([values, values // 2, values // 3], axis=2))
    return Image.fromarray(values)


def saved(image, path, **options):
    image.save(path, **options)
    return path


SHAPES = {
    "NHWC grey": (takes(), (4, 6)),
    "NCHW grey": (takes(("batch", 1, 4, 6), "NCHW"), (4, 6)),
    "NHW grey": (takes(("batch", 4, 6), "NHW"), (4, 6)),
    "NHWC colour": (takes(("batch", 4, 6, 3), color="rgb"), (4, 6, 3)),
    "NCHW colour": (takes(("batch", 3, 4, 6), "NCHW", "rgb"), (4, 6, 3)),
    "any size": (takes(("batch", "height", "width", 1)), (8, 12)),
}


@pytest.mark.parametrize("case", SHAPES)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_gets_the_size_and_colours_of_the_input(tmp_path, case, mode):
    spec, shape = SHAPES[case]
    picture = read(saved(gradient(mode), tmp_path / "p.png"), spec)
    assert picture.pixels.shape == shape
    assert picture.pixels.dtype == np.uint8
    resized = "resized from 12x8 to 6x4"
    assert (resized in picture.notes) == (shape[:2] == (4, 6))
    assert ("converted to grayscale" in picture.notes) == (mode == "RGB" and len(shape) == 2)


def same(image):
    return np.asarray(image.convert("L")).astype(int)


GREYS = {
    "16 bit": lambda grey: Image.fromarray(np.asarray(grey).astype(np.uint16) * 257),
    "32 bit": lambda grey: Image.fromarray(np.asarray(grey).astype(np.int32) * 257),
    "float": lambda grey: Image.fromarray(np.asarray(grey).astype(np.float32) / 255),
    "palette": lambda grey: grey.convert("P"),
    "RGB": lambda grey: grey.convert("RGB"),
    "CMYK": lambda grey: grey.convert("RGB").convert("CMYK"),
    "opaque alpha": lambda grey: grey.convert("RGBA"),
    "grey and alpha": lambda grey: grey.convert("LA"),
}


@pytest.mark.parametrize("kind", GREYS)
def test_every_kind_of_grey_decodes_to_the_same_pixels(tmp_path, kind):
    path = saved(GREYS[kind](gradient()), tmp_path / "p.tif")
    decoded = decode(path)
    assert decoded.mode in ("L", "RGB")
    np.testing.assert_allclose(same(decoded), same(gradient()), atol=1)


def test_one_bit_becomes_black_and_white(tmp_path):
    path = saved(
        gradient().point(lambda value: 255 * (value > 99)).convert("1"), tmp_path / "p.png"
    )
    assert set(np.unique(np.asarray(decode(path)))) == {0, 255}


def test_the_orientation_of_a_camera_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter, clockwise
    path = saved(gradient("RGB"), tmp_path / "p.jpg", exif=exif, quality=95)
    upright = np.asarray(decode(path).convert("L")).astype(int)
    assert upright.shape == (12, 8)
    assert upright[-1].mean() > upright[0].mean() + 50


@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (255, 0), (60, 255), (200, 0)])
def test_a_drawing_on_transparency_gets_the_background_that_shows_it(tmp_path, ink, paper):
    pixels = np.zeros((10, 10, 4), np.uint8)
    pixels[3:7, 4:6] = (ink, ink, ink, 255)
    decoded = np.asarray(decode(saved(Image.fromarray(pixels), tmp_path / "p.png")))
    assert decoded[0, 0] == paper
    assert decoded[5, 5] == ink


def test_transparent_edges_of_an_opaque_picture_get_its_median_colour(tmp_path):
    pixels = np.full((10, 10, 4), 210, np.uint8)
    pixels[..., 3] = 255
    pixels[4:6, 4:6, :3] = 0
    pixels[:, 0] = (0, 0, 0, 0)
    decoded = np.asarray(decode(saved(Image.fromarray(pixels), tmp_path / "p.png")))
    assert (decoded[:, 0] == 210).all()


def test_the_first_picture_of_an_animation_is_taken(tmp_path):
    first, second = gradient(), Image.new("L", (12, 8), 255)
    path = saved(first, tmp_path / "p.gif", save_all=True, append_images=[second])
    np.testing.assert_allclose(same(decode(path)), same(first), atol=1)


def damaged(content):
    def write(path):
        path.write_bytes(content)
        return path

    return write


def cut_off(path):
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3)).astype(np.uint8)
    content = saved(Image.fromarray(noise), path).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


BAD = {
    "empty": (damaged(b""), "is empty, no picture"),
    "text": (damaged(b"not a picture"), "is no picture that can be read"),
    "cut off": (cut_off, "is no picture that can be read, or it is damaged"),
    "missing": (lambda path: path, "does not exist"),
    "directory": (lambda path: path.parent, "is a directory; name a picture file"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_picture_is_one_line_that_names_the_file(tmp_path, case):
    make, message = BAD[case]
    path = make(tmp_path / "p.png")
    with pytest.raises(DataError, match=message) as caught:
        read(path, takes())
    assert str(path) in str(caught.value)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr("toolkit.runtime.images.MAX_PIXELS", 50)
    with pytest.raises(DataError, match="12 x 8 pixels"):
        read(saved(gradient(), tmp_path / "p.png"), takes())


def test_an_input_that_is_no_picture_takes_none(tmp_path):
    with pytest.raises(DataError, match=r"Input 'x' takes \[batch, 5\], no pictures"):
        read(saved(gradient(), tmp_path / "p.png"), InputSpec("x", "float32", ("batch", 5)))


def test_raw_only_resizes_where_the_contract_asks_for_an_mnist_digit(tmp_path):
    spec = takes(("batch", 28, 28, 1), preparation="mnist")
    path = saved(gradient(), tmp_path / "p.png")
    raw = read(path, spec, raw=True)
    assert raw.notes == ("resized from 12x8 to 28x28",)
    assert any("20x20" in note for note in read(path, spec).notes)


def test_a_blank_picture_shows_no_digit(tmp_path):
    path = saved(Image.new("RGB", (50, 40), (250, 250, 245)), tmp_path / "blank.png")
    with pytest.raises(DataError, match=r"blank.png' shows no stroke"):
        read(path, takes(("batch", 28, 28, 1), preparation="mnist"))
