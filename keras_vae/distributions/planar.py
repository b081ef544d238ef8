"""Invertible maps that stretch space along a direction, around a hyperplane."""

import math

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb

from keras_vae.networks.projection import positive

# softplus(x + START) is 1 at 0: there w.u and w.u' are both 0, so that u' stays finite as
# w goes to 0. The paper's softplus(x) - 1 is -0.3 there, over a |w| of zero.
START = math.log(math.e - 1)
SMALLEST_SQUARE = 1e-12


class Planar(tfb.Bijector):
    """`f_T(...f_1(z))`, `f_t(z) = z + u' tanh(w.z + b)`, `|det f_t| = 1 + (1 - tanh^2) w.u'`.

    A layer is invertible iff `w.u' > -1`. Any u is made so along w:
    `u' = u + (m(w.u) - w.u) w / |w|^2`, `m(x) = softplus(x + log(e - 1)) - 1`.

    The inverse of a layer at y needs `a = w.z` alone, the root of
    `a + w.u' tanh(a + b) = w.y`, which increases in a and lies within `|w.u'|` of w.y: the
    interval is halved down to rounding, and the gradient is that of the implicit function.

    Args:
        w: `[B, T, D]`.
        u: `[B, T, D]`.
        b: `[B, T]`.

    References: D. J. Rezende and S. Mohamed, Variational Inference with Normalizing Flows,
    ICML 2015.
    """

    def __init__(self, w: tf.Tensor, u: tf.Tensor, b: tf.Tensor, name: str = "Planar") -> None:
        parameters = dict(locals())
        super().__init__(forward_min_event_ndims=1, parameters=parameters, dtype=w.dtype, name=name)
        self._w = w
        self._b = b
        along = tf.reduce_sum(w * u, axis=-1)
        # w.u' + 1, by itself: 1 + w.u' would lose its digits near -1.
        self._room = positive(along + START)
        square = tf.reduce_sum(w**2, axis=-1) + SMALLEST_SQUARE
        self._u = u + ((self._room - 1 - along) / square)[..., None] * w

    @classmethod
    def _parameter_properties(cls, dtype: object) -> dict:
        vectors = tfp.util.ParameterProperties(event_ndims=2)
        return {"w": vectors, "u": vectors, "b": tfp.util.ParameterProperties(event_ndims=1)}

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        for layer in range(self._layers):
            x += self._u[..., layer, :] * self._bent(layer, x)[..., None]
        return x

    def _forward_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        total = tf.zeros_like(x[..., 0])
        for layer in range(self._layers):
            bent = self._bent(layer, x)
            total += tf.math.log(self._slope(layer, bent))
            x += self._u[..., layer, :] * bent[..., None]
        return total

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        for layer in reversed(range(self._layers)):
            along = self._root(layer, tf.reduce_sum(self._w[..., layer, :] * y, axis=-1))
            y -= self._u[..., layer, :] * tf.tanh(along + self._b[..., layer])[..., None]
        return y

    @property
    def _layers(self) -> int:
        return self._w.shape[-2]

    def _bent(self, layer: int, x: tf.Tensor) -> tf.Tensor:
        """`tanh(w.x + b)`."""
        along = tf.reduce_sum(self._w[..., layer, :] * x, axis=-1)
        return tf.tanh(along + self._b[..., layer])

    def _slope(self, layer: int, bent: tf.Tensor) -> tf.Tensor:
        """`1 + (1 - t^2) w.u'`, as a sum of positive numbers."""
        return bent**2 + (1 - bent**2) * self._room[..., layer]

    def _root(self, layer: int, target: tf.Tensor) -> tf.Tensor:
        """The a for which `a + w.u' tanh(a + b)` is `target`, differentiable."""
        root = tf.stop_gradient(self._halved(layer, target))
        bent = tf.tanh(root + self._b[..., layer])
        excess = root + (self._room[..., layer] - 1) * bent - target
        # The value is the root's; the gradient is that of a step of Newton's method.
        step = excess / tf.stop_gradient(self._slope(layer, bent))
        return root - (step - tf.stop_gradient(step))

    def _halved(self, layer: int, target: tf.Tensor) -> tf.Tensor:
        """The root by halving an interval around it, without a gradient."""
        target = tf.stop_gradient(target)
        shift = tf.stop_gradient(self._b[..., layer])
        jump = tf.stop_gradient(self._room[..., layer]) - 1

        def halve(low: tf.Tensor, high: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            middle = (low + high) / 2
            above = middle + jump * tf.tanh(middle + shift) > target
            return tf.where(above, low, middle), tf.where(above, middle, high)

        # One bit of the result at a time, and a few for a wide interval.
        steps = 68 if target.dtype == tf.float64 else 36
        low, high = tf.while_loop(
            lambda low, high: True,
            halve,
            (target - tf.abs(jump), target + tf.abs(jump)),
            maximum_iterations=steps,
        )
        return (low + high) / 2
