import io
import struct
import zlib

import app_canvas
import app_scaling
import app_uploads
import numpy as np
import pytest
from PIL import Image

import keras_vae
from keras_vae.data import DataSet, Protocol, Source

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (12, 12), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (12, 12, 3), dtype=np.uint8)
SMOOTH = np.repeat(np.linspace(0, 255, 12).astype(np.uint8)[None], 12, 0)


def file(image, kind="PNG", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def png_of_size(width, height):
    """A PNG of a few bytes whose header claims any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


# Uploads


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "WEBP"])
def test_a_grey_picture_of_the_size_of_x_is_that_x(kind):
    content = file(Image.fromarray(GREY), kind, **({"lossless": True} if kind == "WEBP" else {}))
    grey = app_uploads.grey_values(app_uploads.decoded(content), (12, 12, 1))
    np.testing.assert_array_equal(grey[..., 0], GREY / 255.0)


def test_a_jpeg_is_close_to_what_was_saved():
    content = file(Image.fromarray(SMOOTH), "JPEG", quality=95)
    grey = app_uploads.grey_values(app_uploads.decoded(content), (12, 12, 1))
    np.testing.assert_allclose(grey[..., 0], SMOOTH / 255.0, atol=0.03)


def test_colour_stays_where_x_has_colour_and_becomes_luma_where_it_is_grey():
    image = app_uploads.decoded(file(Image.fromarray(COLOUR)))
    np.testing.assert_array_equal(app_uploads.grey_values(image, (12, 12, 3)), COLOUR / 255.0)
    luma = COLOUR @ [0.299, 0.587, 0.114] / 255.0  # ITU-R 601
    np.testing.assert_allclose(
        app_uploads.grey_values(image, (12, 12, 1))[..., 0], luma, atol=1.01 / 255
    )


def test_dark_and_light_change_places():
    image = app_uploads.decoded(file(Image.fromarray(GREY)))
    plain = app_uploads.grey_values(image, (12, 12, 1))
    inverted = app_uploads.grey_values(image, (12, 12, 1), inverted=True)
    np.testing.assert_allclose(plain + inverted, 1.0)


def test_a_wide_picture_is_cut_about_its_middle_and_averaged():
    image = app_uploads.decoded(file(Image.fromarray(np.tile(GREY, (1, 3)))))
    grey = app_uploads.grey_values(image, (4, 4, 1))[..., 0]
    means = GREY.reshape(4, 3, 4, 3).mean(axis=(1, 3)) / 255.0
    # Pillow rounds to bytes after each of the two axes: half a byte, twice.
    np.testing.assert_allclose(grey, means, atol=1.0 / 255)


def test_a_photograph_is_turned_as_its_exif_says():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees, clockwise
    content = file(Image.fromarray(GREY), "PNG", exif=exif)
    grey = app_uploads.grey_values(app_uploads.decoded(content), (12, 12, 1))
    np.testing.assert_array_equal(grey[..., 0], np.rot90(GREY, -1) / 255.0)


def test_transparent_parts_are_laid_on_white():
    alpha = np.zeros((12, 12), np.uint8)
    alpha[:6] = 255
    image = Image.fromarray(np.dstack([COLOUR, alpha]))
    found = np.asarray(app_uploads.decoded(file(image)))
    np.testing.assert_array_equal(found[:6], COLOUR[:6])
    assert (found[6:] == 255).all()


def test_palettes_bits_and_inks_become_plain_colours():
    colour = Image.fromarray(COLOUR)
    palette = colour.quantize(16)
    np.testing.assert_array_equal(
        np.asarray(app_uploads.decoded(file(palette))), np.asarray(palette.convert("RGB"))
    )
    clear = file(palette, transparency=0)
    assert (np.asarray(app_uploads.decoded(clear))[np.asarray(palette) == 0] == 255).all()
    bits = app_uploads.decoded(file(Image.fromarray(GREY > 127)))
    np.testing.assert_array_equal(np.asarray(bits), np.where(GREY > 127, 255, 0))
    inks = app_uploads.decoded(file(Image.new("CMYK", (12, 12), (255, 0, 255, 0)), "JPEG"))
    red, green, blue = np.asarray(inks)[6, 6]
    assert green > 200
    assert max(red, blue) < 60


def test_of_an_animation_it_is_the_first_picture():
    frames = [Image.new("L", (12, 12), shade) for shade in (80, 160)]
    content = file(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (np.asarray(app_uploads.decoded(content).convert("L")) == 80).all()


GOOD = {kind: file(Image.fromarray(COLOUR), kind) for kind in app_uploads.FORMATS}
REFUSED = {
    "empty": (b"", "no picture"),
    "text": (b"an x is not a picture" * 20, "no picture"),
    "another kind": (file(Image.fromarray(GREY), "TIFF"), "no picture"),
    "script": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture"),
    "large": (b"\x89PNG\r\n\x1a\n" + bytes(app_uploads.BYTES), "too large"),
    "bomb": (png_of_size(40_000, 40_000), "too many pixels"),
    "large bomb for Pillow's warning": (png_of_size(10_000, 10_000), "too many pixels"),
    "many pixels": (png_of_size(4_001, 4_000), "too many pixels"),
    "16 bits": (file(Image.fromarray(GREY.astype(np.uint16) * 257)), "more than 8 bits"),
    **{f"half a {kind}": (good[: len(good) // 2], "Expected") for kind, good in GOOD.items()},
    "no pixels": (png_of_size(12, 12), "damaged"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_refused_in_a_sentence(name):
    content, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        app_uploads.decoded(content)


def test_no_pixel_is_decoded_of_what_is_too_large(monkeypatch):
    def load(self):
        raise AssertionError("decoded")

    monkeypatch.setattr(Image.Image, "load", load)
    for name in ("bomb", "many pixels", "large", "16 bits"):
        with pytest.raises(ValueError, match="Expected"):
            app_uploads.decoded(REFUSED[name][0])


# Scaling


def of(values, divisor=1.0, binarisation="none", dynamic=False):
    source = Source(np.asarray(values), divisor, dynamic=dynamic)
    return DataSet(Protocol("d", "s", "s", binarisation), source, source, source)


RAMP = np.linspace(0, 1, 256)


def test_bytes_are_divided_as_the_data_is():
    mnist_like = of(np.arange(256, dtype=np.uint8)[:, None], 255.0)
    scaled = app_scaling.scaling_of(mnist_like)(RAMP)
    np.testing.assert_array_equal(scaled, mnist_like.train.array()[:, 0])


def test_digits_have_their_seventeen_levels():
    digits = keras_vae.data.load("digits")
    scaled = app_scaling.scaling_of(digits)(RAMP)
    np.testing.assert_array_equal(np.unique(scaled), np.arange(17) / 16)
    levels = app_scaling.scaling_of(digits.levels())(RAMP)
    np.testing.assert_array_equal(np.unique(levels), np.arange(17))


@pytest.mark.parametrize(
    "data", [of(np.array([[0], [1]], np.uint8)), of([[1.0]], 1.0, "threshold")]
)
def test_bits_are_one_above_one_half(data):
    scaling = app_scaling.scaling_of(data)
    np.testing.assert_array_equal(scaling(RAMP), RAMP > 0.5)
    assert scaling.makes_bits
    assert "above one half" in scaling.sentence


def test_bits_are_drawn_with_the_grey_value_as_probability():
    scaling = app_scaling.scaling_of(keras_vae.data.load("digits", binarisation="dynamic"))
    grey = np.full((100, 100), 0.3)
    bits = scaling(grey)
    assert set(np.unique(bits)) == {0.0, 1.0}
    assert abs(bits.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / bits.size)
    np.testing.assert_array_equal(bits, scaling(grey))
    assert "probability" in scaling.sentence


def test_other_numbers_keep_their_own_range():
    np.testing.assert_allclose(app_scaling.scaling_of(of([[0.1], [0.9]]))(RAMP), RAMP, rtol=1e-6)
    scaled = app_scaling.scaling_of(of([[-1.0], [3.0]]))(RAMP)
    np.testing.assert_allclose(scaled, 4 * RAMP - 1, atol=1e-6)


def test_a_server_is_given_what_the_visitor_says():
    digits = keras_vae.data.load("digits")
    assert app_scaling.of_server(None, bits=False) == app_scaling.GREY
    assert app_scaling.of_server(None, bits=True) == app_scaling.BITS
    assert app_scaling.of_server(digits, bits=False) == app_scaling.scaling_of(digits)
    drawn = keras_vae.data.load("digits", binarisation="static")
    assert app_scaling.of_server(drawn, bits=True) == app_scaling.DRAWN
    assert app_scaling.of_server(drawn, bits=False) == app_scaling.GREY


# The canvas


def test_a_drawing_is_its_pixels_row_by_row_in_every_channel():
    value = [0, 51, 102, 255, 0, 25.5]
    grey = app_canvas.drawn(value, (2, 3, 3))
    for channel in range(3):
        np.testing.assert_allclose(grey[..., channel], [[0, 0.2, 0.4], [1, 0, 0.1]])


@pytest.mark.parametrize("value", [None, [0] * 6])
def test_an_empty_drawing_is_none(value):
    assert app_canvas.drawn(value, (2, 3, 1)) is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("white", "no list"),
        ({"pixels": []}, "no list"),
        ([1] * 5, "wrong size.*Received: 5"),
        ([1] * 7, "wrong size"),
        ([1, 2, 3, 4, 5, "6"], "no number.*'6'"),
        ([1, 2, 3, 4, 5, None], "no number"),
        ([1, 2, 3, 4, 5, True], "no number"),
        ([1, 2, 3, 4, 5, float("nan")], "out of range"),
        ([1, 2, 3, 4, 5, float("inf")], "out of range"),
        ([1, 2, 3, 4, 5, [6]], "no number"),
        ([1, 2, 3, 4, 5, -1], "out of range.*-1"),
        ([1, 2, 3, 4, 5, 256], "out of range"),
        ([1, 2, 3, 4, 5, 10**400], "out of range"),
    ],
)
def test_what_no_canvas_sends_is_refused_in_a_sentence(value, words):
    with pytest.raises(ValueError, match=words):
        app_canvas.drawn(value, (2, 3, 1))
