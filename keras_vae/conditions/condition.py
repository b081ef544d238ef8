"""The interface of what is observed beside x."""

import abc
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_vae.arguments import positive_integer
from keras_vae.networks.projection import density_dtype


class Given(NamedTuple):
    """What a batch has beside x, as the equation takes it.

    Attributes:
        condition: `[B, C]`, or None.
        size_factor: `[B]`, or None.
        log_prior: log p(c), `[B]`, of a condition that is itself a latent variable, else 0.
        log_posterior: log q(c|x), `[B]`, likewise.
        loss: what is minimised beside minus the bound, `[B]`, else 0.
    """

    condition: tf.Tensor | None = None
    size_factor: tf.Tensor | None = None
    log_prior: tf.Tensor | float = 0.0
    log_posterior: tf.Tensor | float = 0.0
    loss: tf.Tensor | float = 0.0


class Cases(NamedTuple):
    """The rows of a batch, each as often as there are values of the condition to consider.

    Attributes:
        x: `[copies * B, *E]`, the copies of a row one after the other.
        given: of each of them.
        sample_weight: `[copies * B]`, or None.
        copies: how many there are of each row.
        log_weight: log q(c|x), or 0 and -inf where c is known, `[copies * B]`, or None.
        track: updates what the condition logs.
    """

    x: tf.Tensor
    given: Given
    sample_weight: tf.Tensor | None
    copies: int = 1
    log_weight: tf.Tensor | None = None
    track: Callable[[], object] = lambda: None

    def folded(self, values: tf.Tensor) -> tf.Tensor:
        """The weighted mean over the copies of each row, `[copies * B]` -> `[B]`."""
        if self.copies == 1:
            return values
        return tf.reduce_mean(tf.reshape(self.sample_weight * values, (-1, self.copies)), 1)

    def folded_exponentials(self, values: tf.Tensor) -> tf.Tensor:
        """The logarithm of the expectation of their exponentials, `[copies * B]` -> `[B]`."""
        if self.log_weight is None:
            return values
        return tf.reduce_logsumexp(tf.reshape(values + self.log_weight, (-1, self.copies)), 1)


class Condition(keras.layers.Layer, abc.ABC):
    """A Keras layer from what the user gives beside x to a vector `[B, C]`.

    The networks of a conditional model are given x, or z, with that vector appended to the
    last axis, at every position where there are several. A new kind is one file with `call`
    and `check`, and one line in `keras_vae/conditions/__init__.py`.

    Args:
        size: C.

    Attributes:
        value_axes: how many axes one value has as the user gives it.
        optional: whether it may be left out, because the model infers it.
    """

    value_axes = 0
    optional = False

    def __init__(
        self,
        size: int,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, dtype=dtype, trainable=trainable)
        self.size = positive_integer(size, "size", self, "the length of the condition")

    @abc.abstractmethod
    def call(self, values: tf.Tensor) -> tf.Tensor:
        """What the user gives, `[B, ...]` -> `[B, C]`."""

    @abc.abstractmethod
    def check(self, values: np.ndarray, argument: str = "condition") -> None:
        """Raises a ValueError if the values are not what `call` takes."""

    def check_known(self, values: np.ndarray) -> None:
        """Raises a ValueError if a value is not known, where nothing can tell it."""

    @abc.abstractmethod
    def contains(self, values: tf.Tensor) -> tf.Tensor:
        """Whether all are: a scalar, cheap in a graph."""

    @abc.abstractmethod
    def describe(self) -> str:
        """What the condition is, in words."""

    def statement(self) -> str:
        """What it changes in what the model assumes, in Markdown."""
        return f"Each density is conditional on {self.describe()}."

    def cases(
        self,
        x: tf.Tensor,
        inputs: tf.Tensor,
        given: Given,
        sample_weight: tf.Tensor | None,
        training: bool,
    ) -> Cases:
        """The rows that the equation is computed for.

        Args:
            x: `[B, *E]`.
            inputs: what the encoder is given of x, without a condition.
            given: whose `condition` is the user's value.
            sample_weight: `[B]` or None.
            training: passed on to networks.
        """
        return Cases(x, given._replace(condition=self(given.condition)), sample_weight)

    def inferred(self, values: tf.Tensor | None, inputs: tf.Tensor) -> tf.Tensor:
        """The user's values where they are known, else the most probable ones."""
        if values is None:
            raise ValueError(self.missing())
        return values

    def drawn(self, num: int, seed: tf.Tensor) -> tf.Tensor:
        """Values drawn from p(c), if there is a p(c)."""
        raise ValueError(self.missing())

    def missing(self) -> str:
        """What to say where the condition was left out."""
        return (
            f"This model is conditional. Expected: condition, {self.describe()}, for each row. "
            "Received: None. Pass it: fit(x, condition), sample(n, condition=...), or beside x "
            "in a keras_vae.data.Source(x, condition=...)."
        )

    def trackers(self) -> list[keras.metrics.Metric]:
        """What is logged beside the terms of the bound."""
        return []

    @property
    def density_dtype(self) -> str:
        """The precision of the vector: float32 at least, whatever the networks'."""
        return density_dtype(self)

    def get_config(self) -> dict:
        return {**super().get_config(), "size": self.size}


def join(inputs: tf.Tensor, condition: tf.Tensor | None) -> tf.Tensor:
    """`inputs [B, ..., F]` with `condition [B, C]` appended: `[B, ..., F + C]`."""
    if condition is None:
        return inputs
    axes = inputs.shape.rank - 2
    condition = tf.cast(condition, inputs.dtype)
    condition = tf.reshape(condition, (-1, *(1,) * axes, condition.shape[-1]))
    shape = tf.concat([tf.shape(inputs)[:-1], [condition.shape[-1]]], 0)
    return tf.concat([inputs, tf.broadcast_to(condition, shape)], -1)
