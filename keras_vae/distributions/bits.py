"""Independent binary values, their density in one pass over the logits."""

import math
from collections.abc import Callable

import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability.python.distributions import independent

from keras_vae.distributions.fused import fused

# Factors between 1/2 and 1, whose product is at least 2^-16.
FACTORS = 16


class Bits(tfd.Bernoulli):
    """`tfd.Bernoulli`, of x in {0, 1} alone: `log p(x) = -softplus((1 - 2x) logits)`.

    One pass over the logits where TFP makes several, for values between 0 and 1 that are
    none here: of 250 draws for each of 50 images on two cores, 20 ms instead of 42.
    """

    def _log_prob(self, event: tf.Tensor) -> tf.Tensor:
        logits = self.logits_parameter()
        return -tf.math.softplus((1 - 2 * tf.cast(event, logits.dtype)) * logits)


# `tfd.Independent(...)` makes one of this class where its part is no composite tensor, as Bits.
class IndependentBits(independent._Independent):
    """Bits of the last dimensions as one event: the sum of their log densities.

    With m = sigmoid(logits) and y = (1 - 2x) logits

        log p(x) = -sum_i max(y_i, 0) + log prod_i max(m_i, 1 - m_i)

    which needs one logarithm for `FACTORS` values, and whose gradient is x - m.
    For 50 draws of 100 images, with the gradient (two cores): 3.5 ms compiled and 9.7 not, where
    `Bits` summed takes 14. Each value is exact to 6e-8 nats in float32.

    Args:
        distribution: the `Bits`, batch `[..., *E]`.
        reinterpreted_batch_ndims: how many axes E has.
    """

    def _log_prob(self, event: tf.Tensor) -> tf.Tensor:
        logits = self.distribution.logits_parameter()
        x = tf.cast(event, logits.dtype)
        return _log_prob(self._flat(logits), self._flat(x))

    def _flat(self, values: tf.Tensor) -> tf.Tensor:
        """`[..., *E]` -> `[..., n]`."""
        axes, size = len(self.event_shape), math.prod(self.event_shape)
        leading = tf.shape(values)[: tf.rank(values) - axes]
        return tf.ensure_shape(
            tf.reshape(values, tf.concat([leading, [size]], 0)),
            [*values.shape[: values.shape.rank - axes], size],
        )


@tf.custom_gradient
def _log_prob(logits: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        """With respect to the logits; x is discrete."""
        each = _gradient(logits, x, upstream)
        axes, _ = tf.raw_ops.BroadcastGradientArgs(s0=tf.shape(logits), s1=tf.shape(each))
        return tf.reshape(tf.reduce_sum(each, axes), tf.shape(logits)), None

    return _value(logits, x), gradient


@fused
def _value(logits: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    mean = tf.sigmoid(logits)
    unlikely = tf.reduce_sum(_in_groups(tf.nn.relu((1 - 2 * x) * logits), 0), -2)
    products = tf.reduce_prod(_in_groups(tf.maximum(mean, 1 - mean), 1), -2)
    return tf.reduce_sum(tf.math.log(products) - unlikely, -1)


@fused
def _gradient(logits: tf.Tensor, x: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    # TensorFlow computes the mean once for both, where they are in one graph.
    return upstream[..., None] * (x - tf.sigmoid(logits))


def _in_groups(values: tf.Tensor, missing: float) -> tf.Tensor:
    """`[..., n]` -> `[..., FACTORS, n / FACTORS]`, the last group filled up with `missing`.

    XLA computes several numbers at once only along the last axis, which is not summed over.
    """
    few = -values.shape[-1] % FACTORS
    if few:
        none = [[0, 0]] * (values.shape.rank - 1)
        values = tf.pad(values, [*none, [0, few]], constant_values=missing)
    return tf.reshape(values, tf.concat([tf.shape(values)[:-1], [FACTORS, -1]], 0))
