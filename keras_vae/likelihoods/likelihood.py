"""The interface of p(x|z)."""

import abc
import math
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import event_shape_of
from keras_vae.data.source import Source, as_source
from keras_vae.head import Head
from keras_vae.statement import Statement
from keras_vae.support import Support

# What a check makes of so many values stays in the cache: MNIST takes 11 ms and not 28.
CHECKED_AT_ONCE = 2**16


class Likelihood(Head):
    """A head that turns a decoder's features into p(x|z): batch `[B]` or `[K, B]`, event `E`.

    A new family is one file with `support` and the abstract methods of this class and of
    `Head`, and one line in `keras_vae/likelihoods/__init__.py`.

    Args:
        event_shape: E, the shape of one x, without the batch axis; `()` for one column of a
            table.

    Raises:
        ValueError: if `event_shape` is not a tuple of positive integers.

    Attributes:
        takes_size_factor: whether an observed size factor goes with each x.
        takes_columns: whether x may be a dict of columns.
    """

    takes_size_factor = False
    takes_columns = False

    def __init__(
        self,
        event_shape: tuple[int, ...] = (),
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, dtype=dtype, trainable=trainable)
        self.event_shape = event_shape_of(event_shape, type(self).__name__)

    @property
    @abc.abstractmethod
    def support(self) -> Support:
        """The values of x with a density."""

    @property
    def code_size(self) -> int | None:
        """Of how many values a code for x tells, for bits per dimension; None if x has no code."""
        return math.prod(self.event_shape) if self.support.discrete else None

    @abc.abstractmethod
    def start(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        """The raw values of a good model that ignores z, for data of these moments, `E` each.

        Of maximum likelihood where that has a closed form in the moments. What is shared
        comes in the shape of `shared`, or in one that its mean brings to it.
        """

    def independent(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        """The parameters that `start` means: the baseline that a latent variable has to beat."""
        return self.link(self.start(mean, variance))

    @property
    def untrained(self) -> bool:
        """Whether no step of training and no `start_from` has touched the biases yet."""
        return all(projection.untrained for projection in self.projections.values())

    def start_from(self, mean: tf.Tensor, variance: tf.Tensor, size_factor: float = 1.0) -> None:
        """Sets the biases so that features of zero give the independent parameters.

        Where one bias serves every position, it starts from the moments of the values at
        all of them.

        Args:
            mean: of the data, `E`.
            variance: of the data, `E`.
            size_factor: the mean of the data's, which counts are divided by.
        """
        if self.takes_size_factor:
            mean, variance = mean / size_factor, variance / size_factor**2
        if any(projection.keeps_space for projection in self.projections.values()):
            mean, variance = pooled(mean, variance)
        raw = self.start(mean, variance)
        for name, projection in self.projections.items():
            projection.set_bias(raw[name])
        for name, weight in self.learned.items():
            weight.assign(mean_to_shape(raw[name], tuple(weight.shape)))

    def noise_variance(self, mean: tf.Tensor, variance: tf.Tensor) -> tf.Tensor | None:
        """Var(x_i | z) of the best decoder that ignores z, `E`, for data of these moments.

        For an exponential family whose natural parameter is affine in the features: what a
        direction of z has to beat (see `advice.py`). None where one learned scale is shared by all
        values, and so shrinks for all of them with every direction of z that is kept.

        Raises:
            NotImplementedError: where the family is no such one, and so has no threshold.
        """
        raise NotImplementedError(type(self).__name__)

    def encoder_input(self, x: tf.Tensor) -> tf.Tensor:
        """What the encoder is given of x, `[B, ...]`: x itself, unless its scale is no good input."""
        return x

    def observed(
        self, parameters: dict[str, tf.Tensor], size_factor: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """The parameters given what is observed beside x: a size factor `[B]`, or None for 1."""
        return parameters

    def adapt(
        self, distribution: tfd.Distribution, x: tf.Tensor, weight: tf.Tensor | None = None
    ) -> tfd.Distribution:
        """Called in each step of training, before the density: p(x|z) with what x itself fixes.

        Args:
            distribution: batch `[K, B]`.
            x: `[B, *E]`.
            weight: of each example, `[B]`, or None.
        """
        return distribution

    def average(self, distribution: tfd.Distribution, weights: tf.Tensor) -> tf.Tensor:
        """What stands for a mixture of p(x|z_k), batch `[K, B]`, of these weights: `[B, *E]`."""
        weights = tf.reshape(
            weights, (*tf.unstack(tf.shape(weights)), *(1,) * len(self.event_shape))
        )
        return tf.reduce_sum(weights * self.centre(distribution), axis=0)

    def filled(self, value: float | tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        """A number as a parameter: `[..., 1, ..., 1]`, with the leading axes of `like`."""
        axes = len(self.event_shape)
        ones = tf.ones((axes,), tf.int32)
        leading = tf.shape(like)[: tf.rank(like) - axes]
        # Not by tf.cast, which makes a Python number a float32 first.
        number = (
            tf.cast(value, like.dtype) if tf.is_tensor(value) else tf.constant(value, like.dtype)
        )
        return tf.fill(tf.concat([leading, ones], 0), number)

    def independent_values(self, distribution: tfd.Distribution) -> tfd.Distribution:
        """A distribution of single values, batch `[..., *E]`, with the values as its event."""
        return tfd.Independent(distribution, len(self.event_shape))

    def stated(
        self,
        equation: str,
        parameters: dict[str, str],
        learned: tuple[str, ...],
        fixed: tuple[str, ...] = ("values are independent given z",),
    ) -> Statement:
        """The statement of this family, for its `statement`."""
        return Statement(
            family=type(self).__name__,
            equation=equation,
            event_shape=self.event_shape,
            support=self.support.name,
            parameters=parameters,
            learned=learned,
            fixed=fixed,
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "event_shape": self.event_shape}

    # Data

    def as_source(self, x: Any) -> Source:
        """What the user gives as x, as rows `[N, *E]`."""
        return as_source(x)

    def given_back(self, x: tf.Tensor) -> Any:
        """x as the user gets it."""
        return x

    def contains(self, x: tf.Tensor) -> tf.Tensor:
        """Whether every value is in the support: a scalar, cheap in a graph."""
        return tf.reduce_all(self.support.contains(tf.cast(x, self.density_dtype)))

    def check(self, x: np.ndarray, argument: str = "x") -> None:
        """Raises a ValueError if `x` is not a batch of events in the support."""
        expected = "[B, " + ", ".join(map(str, self.event_shape)) + "]"
        if x.dtype.kind not in "fiub" and "float" not in x.dtype.name:
            raise ValueError(
                f"`{argument}` is not numeric. Expected: numbers of shape {expected}. "
                f"Received: dtype {x.dtype}. Convert it to a numeric array."
            )
        if x.shape[1:] != self.event_shape or x.ndim == 0:
            raise ValueError(
                f"`{argument}` does not have the event shape of {type(self).__name__}. "
                f"Expected: {expected}. Received: {list(x.shape)}. "
                f"{_shape_remedy(x.shape, self.event_shape)}"
            )
        if len(x) == 0:
            raise ValueError(f"`{argument}` holds no examples. Received: shape {list(x.shape)}.")
        x = x.astype(np.uint8) if x.dtype == bool else x
        if x.dtype == np.uint8 and not self.support.discrete and x.max() > 1:
            raise ValueError(
                f"`{argument}` holds bytes, up to {x.max()}, where {type(self).__name__} takes "
                f"{self.support.name}. If they are grey values, scale them to [0, 1]: x / 255, "
                "or keras_vae.data.Source(x, divisor=255). If they are numbers as they are: "
                'x.astype("float32").'
            )
        if not self._holds(x):
            outside = np.flatnonzero(~np.asarray(self.support.contains(x)))
            where = tuple(int(i) for i in np.unravel_index(outside[0], x.shape))
            raise ValueError(
                f"`{argument}` is outside the support of {type(self).__name__}. "
                f"Expected: values in {self.support.name}. Received: {x[where]} at "
                f"index [{', '.join(map(str, where))}], the first of {outside.size} such "
                f"values of {x.size}. {self.support.remedy(x)}"
            )

    def _holds(self, x: np.ndarray) -> bool:
        """Whether all of x is in the support."""
        if self.support.contiguous and x.dtype.kind in "ui":
            return bool(np.all(self.support.contains(np.array([x.min(), x.max()]))))
        rows = max(1, CHECKED_AT_ONCE // math.prod(self.event_shape))
        parts = (x[start : start + rows] for start in range(0, len(x), rows))
        return all(np.all(self.support.contains(part)) for part in parts)


def pooled(mean: tf.Tensor, variance: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The moments of the values at all positions, `E` each, the spread of their means included."""
    positions = range(mean.shape.rank - 1)
    shared_mean = tf.reduce_mean(mean, positions, keepdims=True)
    spread = variance + (mean - shared_mean) ** 2
    shared_variance = tf.reduce_mean(spread, positions, keepdims=True)
    shape = tf.shape(mean)
    return tf.broadcast_to(shared_mean, shape), tf.broadcast_to(shared_variance, shape)


def mean_to_shape(value: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    """The mean of `value` over the axes that `shape`, aligned from the right, does not have."""
    leading = value.shape.rank - len(shape)
    value = tf.reduce_mean(value, range(leading)) if leading else value
    axes = [axis for axis, size in enumerate(shape) if size == 1]
    return tf.reduce_mean(value, axes, keepdims=True)


def _shape_remedy(shape: tuple[int, ...], event_shape: tuple[int, ...]) -> str:
    if shape == event_shape:
        return "Add the batch axis: x[None], or dataset.batch(...)."
    if (*shape[1:], 1) == event_shape:
        return "Add the channel axis: x[..., None]."
    if shape and np.prod(shape[1:]) == np.prod(event_shape):
        return f"Reshape it: x.reshape(-1, {', '.join(map(str, event_shape))})."
    return "Give the likelihood the shape of one example of your data."
