"""Keras's running means, several at a time."""

from collections.abc import Sequence

import keras
import tensorflow as tf


def add_to_means(
    means: Sequence[keras.metrics.Mean],
    values: Sequence[tf.Tensor],
    sample_weight: tf.Tensor | None,
) -> None:
    """What `update_state` of each mean does with its values, in a third of the operations.

    An operation of TensorFlow costs some microseconds, however small it is: with four means a
    step in bfloat16 (784-400-20-400-784, two cores, batch 128) is 1.03 times as fast.

    Args:
        means: of as many numbers.
        values: of each mean, `[B]`.
        sample_weight: `[B]`, or None for 1 each.
    """
    if sample_weight is None:
        sample_weight = tf.ones_like(values[0])
    for mean, value in zip(means, values, strict=True):
        weight = tf.cast(sample_weight, mean.dtype)
        mean.total.value.assign_add(tf.reduce_sum(weight * tf.cast(value, mean.dtype)))
        mean.count.value.assign_add(tf.reduce_sum(weight))
