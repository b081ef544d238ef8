"""Pictures that visitors send: looked at before they are decoded, in memory alone."""

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

BYTES = 5 * 2**20
PIXELS = 4_000_000  # 60 MB at most, when decoded and laid on paper
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
ENDINGS = ("png", "jpg", "jpeg", "bmp", "gif", "webp")
EXPECTED = "Expected: a whole PNG, JPEG, BMP, GIF or WebP file."


def decoded(content: bytes) -> Image.Image:
    """The picture in a file, upright, 8 bits a value, grey (`L`) or in colour (`RGB`).

    Transparent parts are laid on white; of an animation it is the first picture.

    Raises:
        ValueError: if the file or the picture is too large, of another kind, has more than 8
            bits a value, or is damaged.
    """
    if len(content) > BYTES:
        raise ValueError(
            f"The file is too large. Expected: up to {BYTES / 2**20:g} MB. Received: "
            f"{len(content) / 2**20:.1f} MB. Make the picture smaller."
        )
    image = _opened(content)
    _require_size(image)
    if image.mode.startswith(("I", "F")):
        raise ValueError(
            "The picture has more than 8 bits a value, which would be cut off. Expected: 8 bits. "
            f"Received: the mode {image.mode}. Convert it to 8 bits first."
        )
    try:
        return _plain(ImageOps.exif_transpose(image))
    except Exception as error:  # Pillow's readers raise many kinds on a damaged file
        raise ValueError(
            f"The picture is damaged: it ends early or is garbled. {EXPECTED}"
        ) from error


def _opened(content: bytes) -> Image.Image:
    """The file's header, read; its kind is told by its content, not by its name."""
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(_too_many("far more")) from error
    except UnidentifiedImageError as error:
        raise ValueError(f"The file is no picture that this page reads. {EXPECTED}") from error
    except Exception as error:  # as above
        raise ValueError(f"The picture's header is damaged. {EXPECTED}") from error


def _require_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > PIXELS:
        raise ValueError(_too_many(f"{width} x {height}"))


def _too_many(received: str) -> str:
    return (
        f"The picture has too many pixels. Expected: up to {PIXELS:,}. Received: {received}. "
        "Make it smaller."
    )


def _plain(image: Image.Image) -> Image.Image:
    """Grey or in colour, without palette, transparency, or the inks of a printer."""
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA", "La", "RGBa"):
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def grey_values(
    image: Image.Image, event_shape: tuple[int, ...], inverted: bool = False
) -> np.ndarray:
    """The picture in the size of one x, `[H, W, 1 or 3]`, values in [0, 1].

    It is cut about its middle to the shape of x; each value is then the mean of the pixels that
    it covers.

    Args:
        image: from `decoded`.
        event_shape: `(H, W, 1)` for grey, `(H, W, 3)` for colour.
        inverted: whether dark and light change places.
    """
    height, width, channels = event_shape
    image = image.convert("L" if channels == 1 else "RGB")
    small = ImageOps.fit(image, (width, height), Image.Resampling.BOX)
    grey = np.asarray(small, dtype=np.float64).reshape(event_shape) / 255.0
    return 1.0 - grey if inverted else grey
