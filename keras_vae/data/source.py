"""Data as it lies in memory, and how a batch is made from it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae.data.sparse import as_csr, dense, gatherer, is_sparse, moments
from keras_vae.randomness import uniform_noise


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How the data behind a number was made. Two numbers compare only if this is equal.

    Attributes:
        data: the data set's name.
        split: how many examples are for what, and how they were chosen.
        scaling: from the file's values to the model's.
        binarisation: `"none"`, `"dynamic"`, `"static"` or `"threshold"`.
        seed: of the split and of static and held-out binarisation.
    """

    data: str
    split: str
    scaling: str
    binarisation: str
    seed: int | None = None

    def __str__(self) -> str:
        words = [self.data, self.split, self.scaling, f"binarisation: {self.binarisation}"]
        return "; ".join(words) + ("" if self.seed is None else f"; seed {self.seed}")


@dataclasses.dataclass(frozen=True)
class Source:
    """Rows that become float batches: `values / divisor`, drawn as bits if `dynamic`.

    The array keeps its type (uint8 for images) until a batch is made. `fit`, `evaluate` and
    `predict` take a source wherever they take an array.

    Attributes:
        values: `[N, *E]`; what a `numpy.ma` array masks becomes NaN; of a SciPy sparse matrix `[N, V]` only the rows of a batch are ever
            made dense.
        divisor: what the values are divided by.
        dynamic: whether each value is drawn anew at each visit, 1 with the grey value as
            probability (Burda et al. 2016).
        labels: `[N]` or None; for pictures only, no model sees them.
        condition: `[N, ...]` or None: what a conditional model is given beside x.
        size_factor: `[N]` or None: what a likelihood of counts may be given beside x.
    """

    values: np.ndarray
    divisor: float = 1.0
    dynamic: bool = False
    labels: np.ndarray | None = None
    condition: np.ndarray | None = None
    size_factor: np.ndarray | None = None

    def __post_init__(self) -> None:
        if isinstance(self.values, np.ma.MaskedArray):
            real = np.result_type(self.values.dtype, np.float32)
            object.__setattr__(self, "values", np.ma.filled(self.values.astype(real), np.nan))
        if is_sparse(self.values):
            object.__setattr__(self, "values", as_csr(self.values))
        for name, value in self.beside().items():
            if np.shape(value)[:1] != (len(self),):
                raise ValueError(
                    f"`{name}` does not go with x. Expected: {len(self)} rows, one for each row of "
                    f"x. Received: shape {list(np.shape(value))}. Give it one value for each row."
                )
        if self.dynamic and not self._is_grey():
            raise ValueError(
                "A dynamic source draws bits with its values as probabilities. Expected: values "
                f"in [0, 1] after division by {self.divisor:g}. Received: values from "
                f"{self.values.min()} to {self.values.max()}. Set divisor, or remove missing values."
            )

    def _is_grey(self) -> bool:
        size = self.values.size
        return not size or bool(self.values.min() >= 0 and self.values.max() <= self.divisor)

    def __repr__(self) -> str:
        bits = ", bits drawn at each visit" if self.dynamic else ""
        shape = f"{len(self)} x {list(self.event_shape)}"
        return f"Source({shape} {self.values.dtype}, divisor {self.divisor:g}{bits})"

    def __getitem__(self, rows: slice) -> "Source":
        """The source of some of the rows: `source[:10]`."""
        return self.take(rows)

    def take(self, rows: slice | np.ndarray) -> "Source":
        """The source of some of the rows, by a slice or by their numbers."""
        beside: dict[str, Any] = {name: value[rows] for name, value in self.beside().items()}
        labels = None if self.labels is None else self.labels[rows]
        return dataclasses.replace(self, values=self.values[rows], labels=labels, **beside)

    def beside(self) -> dict[str, np.ndarray]:
        """What goes with x, by name."""
        found = {"condition": self.condition, "size_factor": self.size_factor}
        return {name: value for name, value in found.items() if value is not None}

    def __len__(self) -> int:
        return self.values.shape[0]

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.values.shape[1:]

    def batch(self, rows: tf.Tensor, seed: tf.Tensor, dtype: str | None = None) -> tf.Tensor:
        """Rows of `values` as a model takes them, `[B, *E]`, float."""
        grey = scaled(rows, self.divisor, dtype)
        if not self.dynamic:
            return grey
        uniform = uniform_noise(tf.shape(grey), seed, grey.dtype)
        return tf.cast(uniform < grey, grey.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All rows as `np.asarray(source)` has them: see `array`."""
        return self.array() if dtype is None else self.array().astype(dtype)

    def array(self, limit: int | None = None, dtype: str | None = None) -> np.ndarray:
        """The first rows as a float array; where binarisation is dynamic, one draw of them."""
        rows = tf.constant(dense(self.values[:limit]))
        return self.batch(rows, tf.constant([0, 0]), dtype).numpy()

    def gatherer(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """From row numbers to the rows of `values`, in the graph of a pipeline."""
        if not isinstance(self.values, np.ndarray):
            return gatherer(self.values)
        values = tf.constant(self.values)
        return lambda rows: tf.gather(values, rows)

    def moments(self, limit: int = 10_000) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of each value, `E` each, from at most `limit` rows spread evenly.

        Of bits drawn with the grey values as probabilities these are m and m(1 - m). Values
        that are missing do not count; where all are, these are 0 and 1.
        """
        if not isinstance(self.values, np.ndarray):
            mean, variance = moments(self.values)
            mean, variance = mean / self.divisor, variance / self.divisor**2
            return mean, mean * (1 - mean) if self.dynamic else variance
        rows = dense(self.values[every(len(self), limit)]).astype("float64") / self.divisor
        if np.isnan(rows).any():
            return _observed_moments(rows)
        mean = rows.mean(axis=0)
        return mean, mean * (1 - mean) if self.dynamic else rows.var(axis=0)


def scaled(rows: tf.Tensor, divisor: float, dtype: str | None = None) -> tf.Tensor:
    """`rows / divisor`, float."""
    grey = tf.cast(rows, dtype or keras.config.floatx())
    return grey if divisor == 1 else grey / divisor


def _observed_moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each value over the rows that have it; 0 and 1 where none has."""
    known = ~np.isnan(rows)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, rows, 0.0).sum(axis=0) / count
    squares = np.where(known, rows - mean, 0.0) ** 2
    return mean, np.where(known.any(axis=0), squares.sum(axis=0) / count, 1.0)


def every(size: int, limit: int) -> slice:
    """Rows spread evenly over `size`, at most `limit` of them."""
    return slice(None, None, max(1, -(-size // limit)))


def as_source(x: Any) -> Source:
    """An array, or what NumPy can make one of, as a source.

    Values that a `numpy.ma` array masks become NaN, which is how missing values are written.
    """
    if isinstance(x, Source):
        return x
    values = x if is_sparse(x) or isinstance(x, np.ma.MaskedArray) else np.asarray(x)
    if not values.shape:
        raise ValueError(
            "x is no rows of numbers. Expected: an array [N, *E] or a keras_vae.data source. "
            f"Received: {type(x).__name__}. Of a data set pass one part, such as data.test."
        )
    return Source(values.astype(np.uint8) if values.dtype == bool else values)
