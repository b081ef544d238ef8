"""The gradient that reaches z, and what may be done to it."""

import tensorflow as tf


class Path:
    """z as it is, with a weight on the gradient that flows back through it.

    Each draw z_k enters its own log-weight alone. So an estimator that weighs the encoder's
    gradient in another way than the decoder's (Tucker et al. 2019, Rainforth et al. 2018)
    multiplies what arrives at z_k. The weight is known only after the decoder has run, and
    is asked for only when the gradient flows.

    Attributes:
        weight: `[K, B]`, or None for 1.
    """

    def __init__(self) -> None:
        self.weight: tf.Tensor | None = None

    def __call__(self, z: tf.Tensor) -> tf.Tensor:
        """z, `[K, B, D]`."""

        @tf.custom_gradient
        def identity(z: tf.Tensor) -> tuple:
            return tf.identity(z), self._backward

        return identity(z)

    def _backward(self, upstream: tf.Tensor) -> tf.Tensor:
        if self.weight is None:
            return upstream
        return tf.stop_gradient(self.weight)[..., None] * upstream
