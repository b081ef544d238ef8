"""From grey values to bits. The protocol decides the number that comes out, so it is named."""

import numpy as np


def binarise(grey: np.ndarray, seed: int = 0) -> np.ndarray:
    """Each value drawn once, 1 with the grey value as probability: `"static"` binarisation.

    Args:
        grey: uint8 in 0..255, or floats in [0, 1].
        seed: for the same bits each time.

    Returns:
        uint8 zeros and ones, of the same shape.

    Raises:
        ValueError: if the values are in neither range.

    References: R. Salakhutdinov and I. Murray, On the quantitative analysis of deep belief
    networks, ICML 2008.
    """
    uniform = np.random.default_rng(seed).random(grey.shape, dtype="float32")
    return (uniform < unit_interval(grey)).astype("uint8")


def threshold(grey: np.ndarray) -> np.ndarray:
    """1 where the grey value is above one half, uint8; arguments and errors as `binarise`."""
    return (unit_interval(grey) > 0.5).astype("uint8")


def unit_interval(grey: np.ndarray) -> np.ndarray:
    """Grey values as float32 in [0, 1]."""
    if grey.dtype == np.uint8:
        return grey.astype("float32") / 255.0
    if grey.dtype.kind == "f" and grey.size and grey.min() >= 0 and grey.max() <= 1:
        return grey.astype("float32")
    raise ValueError(
        "Grey values are expected as uint8 in 0..255 or as floats in [0, 1]. Received: "
        f"dtype {grey.dtype}"
        + (f", values from {grey.min()} to {grey.max()}." if grey.size else ", no values.")
        + " Scale them first."
    )
