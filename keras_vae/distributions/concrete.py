"""Relaxed categorical and binary distributions that stay valid where single precision ends."""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from keras_vae.randomness import uniform_noise

# Smaller parts of a simplex are all taken for this one.
SMALLEST_PART = 1e-30
# A value in (0, 1) that is nearer to an end is taken for this near: 1 - z has no more digits.
NEAREST_END = 1e-6


class Concrete(tfd.Distribution):
    """`p(z) = (C-1)! t^(C-1) prod_c z_c^-1 softmax(logits - t log z)_c`, t the temperature.

    z the softmax of `(logits + Gumbel noise) / t`, C positive numbers that sum to 1; density
    over any C - 1 of them (Maddison et al. 2017).

    At a low temperature most parts of a draw are smaller than any float, and the density at
    what they are rounded to is not that of the draw: a bound that is made of it has no
    limit. So z is limited by definition. Parts below 1e-30 are 1e-30, in draws of every such
    distribution, and the density at them is the probability of all that they stand for:
    with n parts above, `(n-1)! t^(n-1) prod_above z_c^-1 softmax(logits - t log z)_c`. The
    KL of two limited distributions is not larger than that of the unlimited.

    Args:
        logits: `[..., C]`.
        temperature: positive, `[...]` or broadcast to it.
        name: the distribution's name.
    """

    def __init__(self, logits: tf.Tensor, temperature: tf.Tensor, name: str = "Concrete") -> None:
        parameters = dict(locals())
        self.logits = tf.convert_to_tensor(logits)
        self.temperature = tf.convert_to_tensor(temperature, self.logits.dtype)
        super().__init__(
            dtype=self.logits.dtype,
            reparameterization_type=tfd.FULLY_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype: object, num_classes: object = None) -> dict:
        return {
            "logits": tfp.util.ParameterProperties(event_ndims=1),
            "temperature": tfp.util.ParameterProperties(),
        }

    def _event_shape(self) -> tf.TensorShape:
        return self.logits.shape[-1:]

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.shape(self.logits)[-1:]

    def _sample_n(self, n: int | tf.Tensor, seed: object = None) -> tf.Tensor:
        axes = tf.concat([[n], self.batch_shape_tensor(), tf.shape(self.logits)[-1:]], 0)
        gumbel = -tf.math.log(-tf.math.log(_uniform(axes, seed, self.dtype)))
        log_z = tf.nn.log_softmax((self.logits + gumbel) / self.temperature[..., None])
        return tf.maximum(tf.exp(log_z), SMALLEST_PART)

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        above = z > tf.constant(SMALLEST_PART, self.dtype)
        count = tf.maximum(tf.reduce_sum(tf.cast(above, self.dtype), -1), 1)
        log_z = tf.math.log(tf.maximum(z, SMALLEST_PART))
        log_odds = self.logits - self.temperature[..., None] * log_z
        terms = tf.nn.log_softmax(log_odds) - log_z
        scale = tf.math.lgamma(count) + (count - 1) * tf.math.log(self.temperature)
        return scale + tf.reduce_sum(tf.where(above, terms, tf.zeros_like(terms)), -1)


class BinaryConcrete(tfd.Distribution):
    """`p(z) = t s(w) s(-w) / (z (1 - z))`, `w = logits - t log(z / (1 - z))`, s the sigmoid.

    z the sigmoid of `(logits + logistic noise) / t` (Maddison et al. 2017), limited as that of
    `Concrete` is: a draw within 1e-6 of 0 or 1 is 1e-6 from it, and the density there is
    the probability of all that is nearer, s(-w) or s(w).

    Args:
        logits: `[...]`.
        temperature: positive, `[...]` or broadcast to it.
        name: the distribution's name.
    """

    def __init__(
        self, logits: tf.Tensor, temperature: tf.Tensor, name: str = "BinaryConcrete"
    ) -> None:
        parameters = dict(locals())
        self.logits = tf.convert_to_tensor(logits)
        self.temperature = tf.convert_to_tensor(temperature, self.logits.dtype)
        super().__init__(
            dtype=self.logits.dtype,
            reparameterization_type=tfd.FULLY_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype: object, num_classes: object = None) -> dict:
        return {
            "logits": tfp.util.ParameterProperties(),
            "temperature": tfp.util.ParameterProperties(),
        }

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([], tf.int32)

    def _ends(self) -> tuple[tf.Tensor, tf.Tensor]:
        low = tf.constant(NEAREST_END, self.dtype)
        return low, 1 - low

    def _sample_n(self, n: int | tf.Tensor, seed: object = None) -> tf.Tensor:
        axes = tf.concat([[n], self.batch_shape_tensor()], 0)
        uniform = _uniform(axes, seed, self.dtype)
        logistic = tf.math.log(uniform) - tf.math.log1p(-uniform)
        z = tf.sigmoid((self.logits + logistic) / self.temperature)
        return tf.clip_by_value(z, *self._ends())

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        low, high = self._ends()
        inside = tf.clip_by_value(z, low, high)
        log_z, log_rest = tf.math.log(inside), tf.math.log1p(-inside)
        w = self.logits - self.temperature * (log_z - log_rest)
        up, down = tf.math.log_sigmoid(w), tf.math.log_sigmoid(-w)
        density = tf.math.log(self.temperature) + up + down - log_z - log_rest
        return tf.where(z <= low, down, tf.where(z >= high, up, density))


def _uniform(axes: tf.Tensor, seed: object, dtype: tf.DType) -> tf.Tensor:
    """Draws from the open interval (0, 1)."""
    seed = tfp.random.sanitize_seed(seed)
    return uniform_noise(axes, seed, dtype, low=np.finfo(dtype.as_numpy_dtype).tiny)
