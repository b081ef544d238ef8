"""Running means of the same examples, as Keras's metrics, in one variable."""

from collections.abc import Sequence

import keras
import tensorflow as tf


class RunningMean(keras.metrics.Metric):
    """One of the running means that `running_means` makes; `add_to_means` updates them.

    Args:
        name: the metric's name.
        index: which of the sums is its own.
        sums: of the values of each mean, and last of the weights.
    """

    def __init__(self, name: str, index: int, sums: keras.Variable) -> None:
        super().__init__(name=name)
        self.index, self.sums = index, sums

    def total_and_count(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The weighted sum of the values, and the sum of the weights."""
        *totals, count = tf.unstack(tf.convert_to_tensor(self.sums))
        return totals[self.index], count

    def result(self) -> tf.Tensor:
        return tf.math.divide_no_nan(*self.total_and_count())


def running_means(names: Sequence[str]) -> list[RunningMean]:
    """Means whose sums are one variable.

    An operation of TensorFlow costs some microseconds, however small it is. With four of Keras's
    `Mean` a step in bfloat16 (784-400-20-400-784) has 169, with these 144.
    """
    sums = keras.Variable(
        "zeros",
        shape=(len(names) + 1,),
        trainable=False,
        aggregation="sum",
        synchronization="on_read",
        name="sums",
    )
    return [RunningMean(name, index, sums) for index, name in enumerate(names)]


def add_to_means(
    means: Sequence[RunningMean],
    values: Sequence[tf.Tensor],
    sample_weight: tf.Tensor | None,
) -> None:
    """What `update_state` does for each of Keras's `Mean`.

    Args:
        means: all that share their sums.
        values: of each mean, `[B]`.
        sample_weight: `[B]`, or None for 1 each.
    """
    sums = means[0].sums
    values = [tf.cast(value, sums.dtype) for value in values]
    rows = tf.stack([*values, tf.ones_like(values[0])])
    if sample_weight is not None:
        rows *= tf.cast(sample_weight, sums.dtype)
    sums.value.assign_add(tf.reduce_sum(rows, axis=1))
