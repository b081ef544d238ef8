"""Data as it lies in memory, and how a batch is made from it."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf


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
        values: `[N, *E]`.
        divisor: what the values are divided by.
        dynamic: whether each value is drawn anew at each visit, 1 with the grey value as
            probability (Burda et al. 2016).
        labels: `[N]` or None; for pictures only, no model sees them.
    """

    values: np.ndarray
    divisor: float = 1.0
    dynamic: bool = False
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
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
        labels = None if self.labels is None else self.labels[rows]
        return dataclasses.replace(self, values=self.values[rows], labels=labels)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.values.shape[1:]

    def batch(self, rows: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Rows of `values` as a model takes them, `[B, *E]`, float."""
        grey = tf.cast(rows, keras.config.floatx()) / self.divisor
        if not self.dynamic:
            return grey
        uniform = tf.random.stateless_uniform(tf.shape(grey), seed, dtype=grey.dtype)
        return tf.cast(uniform < grey, grey.dtype)

    def array(self, limit: int | None = None) -> np.ndarray:
        """The first rows as a float array; where binarisation is dynamic, one draw of them."""
        return self.batch(tf.constant(self.values[:limit]), tf.constant([0, 0])).numpy()

    def moments(self, limit: int = 10_000) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of each value, `E` each, from at most `limit` rows spread evenly.

        Of bits drawn with the grey values as probabilities these are m and m(1 - m).
        """
        rows = self.values[every(len(self), limit)].astype("float64") / self.divisor
        mean = rows.mean(axis=0)
        return mean, mean * (1 - mean) if self.dynamic else rows.var(axis=0)


def every(size: int, limit: int) -> slice:
    """Rows spread evenly over `size`, at most `limit` of them."""
    return slice(None, None, max(1, -(-size // limit)))


def as_source(x: object) -> Source:
    """An array, or what NumPy can make one of, as a source."""
    if isinstance(x, Source):
        return x
    values = np.asarray(x)
    return Source(values.astype(np.uint8) if values.dtype == bool else values)
