"""Arrays of x as pictures for `st.image`: crisp, in the shades of the data, on any event shape."""

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image


def shades(x: np.ndarray) -> tuple[float, float]:
    """What black and white stand for: [0, 1] for data within it, else the data's own range."""
    low, high = float(np.nanmin(x)), float(np.nanmax(x))
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, max(high, low + 1e-6)


def picture(x: np.ndarray, limits: tuple[float, float], size: int = 160) -> np.ndarray:
    """One x as bytes `[H, W]` or `[H, W, 3]`, each value a square of pixels.

    Args:
        x: `E`; an image stays one, anything else becomes a strip of its values.
        limits: the values of black and of white.
        size: about how many pixels the longer side has.
    """
    low, high = limits
    image = x if x.ndim == 3 and x.shape[-1] in (1, 3) else np.reshape(x, (1, -1, 1))
    grey = np.round(255 * np.clip((image - low) / (high - low), 0, 1)).astype(np.uint8)
    times = max(1, size // max(grey.shape[:2]))
    rows = max(times, 24) if grey.shape[0] == 1 else times
    large = grey.repeat(rows, axis=0).repeat(times, axis=1)
    return large[..., 0] if large.shape[-1] == 1 else large


def grid(x: Sequence[np.ndarray], limits: tuple[float, float], size: int = 64) -> np.ndarray:
    """Several x as one picture, row by row in a square, with a pixel between them."""
    tiles = [picture(each, limits, size) for each in x]
    side = math.ceil(math.sqrt(len(tiles)))
    edge = [(0, 1), (0, 1)] + [(0, 0)] * (tiles[0].ndim - 2)
    padded = [np.pad(tile, edge, constant_values=128) for tile in tiles]
    padded += [np.full_like(padded[0], 128)] * (-len(padded) % side)
    lines = [np.concatenate(padded[i : i + side], 1) for i in range(0, len(padded), side)]
    return np.concatenate(lines, 0)


def png(pixels: np.ndarray) -> bytes:
    """Bytes of pixels as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()
