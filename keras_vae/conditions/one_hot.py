"""A condition that is a class."""

import keras
import numpy as np
import tensorflow as tf

from keras_vae.conditions.condition import Condition


@keras.saving.register_keras_serializable(package="keras_vae")
class OneHot(Condition):
    """`p(x, z|c) = p(z|c) p(x|z, c)` for a class c in 0..C-1, one-hot for the networks.

    Args:
        size: C, the number of classes.

    Call: integers `[B]` -> `[B, C]`.

    Raises:
        ValueError: if `size` is not a positive integer, or when a value is no class.

    Example: `keras_vae.VAE(..., condition=keras_vae.conditions.OneHot(10)).fit(x, labels)`

    References: D. P. Kingma, D. J. Rezende, S. Mohamed and M. Welling, Semi-Supervised
    Learning with Deep Generative Models, NeurIPS 2014 (the labelled case).
    """

    def call(self, values: tf.Tensor) -> tf.Tensor:
        return tf.one_hot(tf.cast(values, tf.int32), self.size, dtype=self.density_dtype)

    def check(self, values: np.ndarray, argument: str = "condition") -> None:
        check_classes(values, self.size, 0, argument)

    def contains(self, values: tf.Tensor) -> tf.Tensor:
        values = tf.cast(values, self.density_dtype)
        return tf.reduce_all((values >= 0) & (values < self.size) & (values == tf.floor(values)))

    def describe(self) -> str:
        return f"a class of {self.size}, one-hot"


def check_classes(values: np.ndarray, size: int, lowest: int, argument: str) -> None:
    """Raises a ValueError if the values are not integers from `lowest` to `size - 1`, `[B]`."""
    expected = f"integers from {lowest} to {size - 1} of shape [B]"
    if values.ndim == 2 and values.shape[1] == size:
        raise ValueError(
            f"`{argument}` is one-hot already. Expected: {expected}. Received: shape "
            f"{list(values.shape)}. Give its argmax, or use conditions.Vector({size})."
        )
    if values.ndim != 1 or values.dtype.kind not in "fiub":
        raise ValueError(
            f"`{argument}` names classes. Expected: {expected}. Received: dtype {values.dtype}, "
            f"shape {list(values.shape)}. Number the classes, as np.unique(..., "
            "return_inverse=True) does."
        )
    wrong = np.flatnonzero(~((values >= lowest) & (values < size) & (values == np.floor(values))))
    if wrong.size:
        raise ValueError(
            f"`{argument}` names a class that there is not. Expected: {expected}. Received: "
            f"{values[wrong[0]]} at index [{wrong[0]}]. {_class_remedy(values, size, lowest)}"
        )


def _class_remedy(values: np.ndarray, size: int, lowest: int) -> str:
    if not np.isfinite(values).all():
        return (
            "Write -1 where a label is not known."
            if lowest < 0
            else "Remove the rows without a label, or use conditions.Labels, which infers it."
        )
    if values.min() >= 1 and values.max() == size:
        return "They count from 0: subtract 1."
    if lowest == 0 and values.min() == -1:
        return "Only conditions.Labels takes -1, for a class that is not known, and only beside x."
    return "Count them from 0, and give the condition their number."
