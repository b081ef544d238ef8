"""What the likelihoods of the whole numbers 0, 1, ..., n - 1 have in common."""

import math

import tensorflow as tf

from keras_vae.arguments import positive_integer
from keras_vae.support import BYTES, Support, category_indices


def at_least_two(value: object, argument: str, owner: object, meaning: str) -> int:
    """`value` as an int, if it is an integer above one.

    Raises:
        ValueError: naming the argument, what was expected and what was received.
    """
    number = positive_integer(value, argument, owner, meaning)
    if number < 2:
        raise ValueError(
            f"`{argument}` of {type(owner).__name__} is {meaning}. Expected: at least 2. "
            f"Received: {argument}={value!r}."
        )
    return number


def support_of(levels: int) -> Support:
    """The whole numbers from 0 to `levels - 1`."""
    return BYTES if levels == 256 else category_indices(levels)


def scaled(x: tf.Tensor, levels: int) -> tf.Tensor:
    """0, 1, ..., levels - 1 in [-1, 1]."""
    return x * (2 / (levels - 1)) - 1


def logistic_moments(
    mean: tf.Tensor, variance: tf.Tensor, levels: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """The loc in [-1, 1] and the scale of a logistic with the moments of such numbers.

    A logistic of scale s has the variance `pi^2 s^2 / 3`. Values of no variance get that of a
    distance between two levels, rounded to which they are.
    """
    distance = 2 / (levels - 1)
    spread = tf.sqrt(tf.maximum(variance, 1 / 12)) * distance
    return scaled(mean, levels), spread * (math.sqrt(3) / math.pi)


def side_by_side(event_shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    """The shape of `size` numbers for each value, along the last axis of x.

    So that features of the event's spatial shape keep it, see `Projection`.
    """
    if not event_shape:
        return (size,)
    return (*event_shape[:-1], event_shape[-1] * size)


def apart(raw: tf.Tensor, event_shape: tuple[int, ...], size: int) -> tf.Tensor:
    """What lies `side_by_side`, `[..., *E[:-1], E[-1] * size]`, as `[..., *E, size]`."""
    if not event_shape:
        return raw
    return tf.reshape(raw, tf.concat([tf.shape(raw)[:-1], [event_shape[-1], size]], 0))
