"""A condition of real numbers."""

import keras
import numpy as np
import tensorflow as tf

from keras_vae.conditions.condition import Condition


@keras.saving.register_keras_serializable(package="keras_vae")
class Vector(Condition):
    """`p(x, z|c) = p(z|c) p(x|z, c)` for a vector c of real numbers.

    Args:
        size: C, how many there are.

    Call: `[B, C]`, or `[B]` where C = 1 -> `[B, C]`.

    Raises:
        ValueError: if `size` is not a positive integer, or when values are not finite or of
            another shape.

    Example: `keras_vae.VAE(..., condition=keras_vae.conditions.Vector(3)).fit(x, c)`

    References: K. Sohn, H. Lee and X. Yan, Learning Structured Output Representation using
    Deep Conditional Generative Models, NeurIPS 2015.
    """

    value_axes = 1

    def call(self, values: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.cast(values, self.density_dtype), (-1, self.size))

    def check(self, values: np.ndarray, argument: str = "condition") -> None:
        expected = f"[B, {self.size}]"
        if values.dtype.kind not in "fiub":
            raise ValueError(
                f"`{argument}` is not numeric. Expected: numbers of shape {expected}. Received: "
                f"dtype {values.dtype}. For names of classes use conditions.OneHot."
            )
        if values.shape[1:] != (self.size,) and not (self.size == 1 and values.ndim == 1):
            raise ValueError(
                f"`{argument}` has the wrong shape. Expected: {expected}. Received: "
                f"{list(values.shape)}. For integers that name classes use conditions.OneHot."
            )
        if not np.isfinite(values).all():
            where = np.argwhere(~np.isfinite(values))[0]
            raise ValueError(
                f"`{argument}` is not finite. Expected: real numbers. Received: "
                f"{values[tuple(where)]} at index {where.tolist()}. Remove or impute such values."
            )

    def contains(self, values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_all(tf.math.is_finite(tf.cast(values, self.density_dtype)))

    def describe(self) -> str:
        return f"a vector of {self.size} real numbers"
