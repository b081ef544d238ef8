"""From the grey values of a picture to the x that a model takes, as its data's protocol says."""

from typing import NamedTuple

import numpy as np

from keras_vae.data import DataSet, binarise


class Scaling(NamedTuple):
    """How grey values in [0, 1] become x.

    Attributes:
        low: what black becomes.
        high: what white becomes.
        steps: how many equal steps lie between them, or None where x may be any number.
        drawn: whether each value is drawn, 1 with the grey value as probability.
        sentence: all this for a reader.
    """

    low: float
    high: float
    steps: int | None
    drawn: bool
    sentence: str

    @property
    def makes_bits(self) -> bool:
        """Whether every value of x is 0 or 1."""
        return self.drawn or (self.steps == 1 and self.high == 1)

    def __call__(self, grey: np.ndarray) -> np.ndarray:
        """x of grey values of any shape, float32. The same picture always gives the same x."""
        if self.drawn:
            return binarise(grey).astype(np.float32)
        wide = self.high - self.low
        scaled = (
            grey * wide if self.steps is None else np.round(grey * self.steps) * wide / self.steps
        )
        return (self.low + scaled).astype(np.float32)


GREY = Scaling(0.0, 1.0, 255, False, "Grey values from 0 to 1, bytes divided by 255.")
BITS = Scaling(0.0, 1.0, 1, False, "Bits: 1 where the grey value is above one half.")
DRAWN = Scaling(
    0.0, 1.0, None, True, "Bits: each value is drawn once, 1 with the grey value as probability."
)


def scaling_of(data: DataSet | None) -> Scaling:
    """The scaling that made a data set."""
    if data is None:
        return GREY
    if data.protocol.binarisation in ("dynamic", "static"):
        return DRAWN
    if data.protocol.binarisation == "threshold":
        return BITS
    if data.train.values.dtype.kind in "ui":
        return _of_whole_numbers(data)
    return _of_numbers(data)


def _of_whole_numbers(data: DataSet) -> Scaling:
    divisor = data.train.divisor
    top = divisor if divisor != 1 else float(data.train.values.max())
    if top == divisor == 1:
        return BITS
    divided = "" if divisor == 1 else f", divided by {divisor:g}"
    sentence = f"Grey values as whole numbers from 0 to {top:g}{divided}."
    return Scaling(0.0, top / divisor, int(top), False, sentence)


def _of_numbers(data: DataSet) -> Scaling:
    values, divisor = data.train.values, data.train.divisor
    low, high = float(np.nanmin(values)) / divisor, float(np.nanmax(values)) / divisor
    if low >= 0 and high <= 1:
        return GREY._replace(steps=None, sentence="Grey values from 0 to 1.")
    sentence = f"Black is {low:g} and white is {high:g}, the least and the largest of this data."
    return Scaling(low, high, None, False, sentence)


def of_server(data: DataSet | None, bits: bool) -> Scaling:
    """The scaling for a server, which says the shape of its x and not what it lies in."""
    usual = scaling_of(data)
    if usual.makes_bits == bits:
        return usual
    return BITS if bits else GREY
