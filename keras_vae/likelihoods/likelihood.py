"""The interface of p(x|z)."""

import abc
import numbers

import numpy as np
import tensorflow as tf

from keras_vae.head import Head
from keras_vae.likelihoods.support import Support


class Likelihood(Head):
    """A head that turns a decoder's features into p(x|z): batch `[B]` or `[K, B]`, event `E`.

    A new family is one file with `support` and the abstract methods below, and one line
    in `keras_vae/likelihoods/__init__.py`.

    Args:
        event_shape: E, the shape of one x, without the batch axis.

    Raises:
        ValueError: if `event_shape` is not a tuple of positive integers.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, dtype=dtype, trainable=trainable)
        self.event_shape = _event_shape(event_shape, type(self).__name__)

    @property
    @abc.abstractmethod
    def support(self) -> Support:
        """The values of x with a density."""

    @abc.abstractmethod
    def independent(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best parameters that do not depend on z, for data of these moments, `E` each.

        The maximum-likelihood model with independent values: what training starts from
        and the baseline that a latent variable has to beat.
        """

    @property
    @abc.abstractmethod
    def untrained(self) -> bool:
        """Whether no step of training and no `start_from` has touched the biases yet."""

    @abc.abstractmethod
    def start_from(self, mean: tf.Tensor, variance: tf.Tensor) -> None:
        """Sets the biases so that features of zero give the best independent parameters.

        Args:
            mean: of the data, `E`.
            variance: of the data, `E`.
        """

    @abc.abstractmethod
    def fixed_variance(self, variance: tf.Tensor) -> tf.Tensor | None:
        """Var(x_i | z) of the best decoder that ignores z, `E`.

        None where one learned scale is shared by all values, and so shrinks for all of them
        with every direction of z that is kept.

        Args:
            variance: the data's variance, `E`.
        """

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
        outside = np.flatnonzero(~np.asarray(self.support.contains(x)))
        if outside.size:
            where = tuple(int(i) for i in np.unravel_index(outside[0], x.shape))
            raise ValueError(
                f"`{argument}` is outside the support of {type(self).__name__}. "
                f"Expected: values in {self.support.name}. Received: {x[where]} at "
                f"index [{', '.join(map(str, where))}], the first of {outside.size} such "
                f"values of {x.size}. {self.support.remedy(x)}"
            )

    def get_config(self) -> dict:
        return {**super().get_config(), "event_shape": self.event_shape}


def _event_shape(shape: object, owner: str) -> tuple[int, ...]:
    axes = tuple(shape) if isinstance(shape, tuple | list) else ()
    integers = all(isinstance(a, numbers.Integral) and not isinstance(a, bool) for a in axes)
    if not axes or not integers or min(axes) < 1:
        raise ValueError(
            f"`event_shape` of {owner} is the shape of one x, a tuple of positive integers "
            f"such as (28, 28, 1) or (784,). Received: {shape!r}."
        )
    return tuple(int(axis) for axis in axes)


def _shape_remedy(shape: tuple[int, ...], event_shape: tuple[int, ...]) -> str:
    if shape == event_shape:
        return "Add the batch axis: x[None], or dataset.batch(...)."
    if (*shape[1:], 1) == event_shape:
        return "Add the channel axis: x[..., None]."
    if shape and np.prod(shape[1:]) == np.prod(event_shape):
        return f"Reshape it: x.reshape(-1, {', '.join(map(str, event_shape))})."
    return "Give the likelihood the shape of one example of your data."
