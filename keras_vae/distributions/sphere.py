"""What distributions on the unit sphere have in common."""

import math

import tensorflow as tf

from keras_vae.networks.projection import positive

# Beyond it single precision loses the digits of log densities: 1e-3 nats at D = 100.
LARGEST_CONCENTRATION = 1e6


def direction(raw: tf.Tensor) -> tf.Tensor:
    """A unit vector for each `raw` `[..., D]`, the first axis for zero.

    No map from vectors to directions is continuous everywhere: the small offset moves the
    point without a gradient away from zero, where networks start.
    """
    first = tf.one_hot(0, raw.shape[-1], dtype=raw.dtype)
    return tf.math.l2_normalize(raw + 1e-3 * first, axis=-1)


def concentration(raw: tf.Tensor) -> tf.Tensor:
    """`s L / (s + L)`, `s = positive(raw)`: between 1e-6 and L = 1e6, never without a gradient."""
    scale = positive(raw)
    return scale / (1 + scale / LARGEST_CONCENTRATION)


def distance(z: tf.Tensor, mean_direction: tf.Tensor) -> tf.Tensor:
    """`1 - <z, mean_direction>` of unit vectors, `[...]`.

    As half the squared chord, which keeps the digits where the two are close and the inner
    product rounds to 1.
    """
    return tf.minimum(0.5 * tf.reduce_sum(tf.math.squared_difference(z, mean_direction), -1), 2.0)


def turned(z: tf.Tensor, mean_direction: tf.Tensor) -> tf.Tensor:
    """z `[..., D]`, drawn about the first axis, turned to be about `mean_direction`.

    A reflection in the bisector of the first axis and of `mean_direction` or minus it,
    whichever is further: a bisector is never short, and the gradient never large.
    """
    first = tf.one_hot(0, z.shape[-1], dtype=z.dtype)
    sign = tf.where(mean_direction[..., :1] >= 0, tf.ones((), z.dtype), -tf.ones((), z.dtype))
    bisector = mean_direction + sign * first  # reflects the first axis to -sign * mean_direction
    along = tf.reduce_sum(z * bisector, -1, keepdims=True)
    return sign * (2 * along * bisector / tf.reduce_sum(bisector**2, -1, keepdims=True) - z)


def log_area(size: int) -> float:
    """The log area of the unit sphere in `size` dimensions: `2 pi^(n/2) / Gamma(n/2)`."""
    return math.log(2) + size / 2 * math.log(math.pi) - math.lgamma(size / 2)
