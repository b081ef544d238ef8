"""TFP's multivariate Normals, with draws that take less time."""

import functools
import math

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from keras_vae.randomness import normal_noise


class MultivariateNormalDiag(tfd.MultivariateNormalDiag):
    """`tfd.MultivariateNormalDiag`, whose noise is that of `randomness.normal_noise`."""

    @functools.cached_property
    def distribution(self) -> tfd.Distribution:
        """That of the noise, before it is scaled and shifted."""
        return _Noise.of(super().distribution)


class MultivariateNormalTriL(tfd.MultivariateNormalTriL):
    """`tfd.MultivariateNormalTriL`, whose noise is that of `randomness.normal_noise`."""

    @functools.cached_property
    def distribution(self) -> tfd.Distribution:
        """That of the noise, before it is scaled and shifted."""
        return _Noise.of(super().distribution)


class _Noise(tfd.Sample):
    """Independent standard Normal numbers: `log p(x) = -1/2 sum_d (x_d^2 + log 2 pi)`.

    TFP puts the dimensions before the batch and back, in each draw and in each density. In a
    step of IWAE's on K = 50 (784-200-200-50, batch 100, two cores) that is 6 ms of 41.
    """

    @classmethod
    def of(cls, noise: tfd.Sample) -> "_Noise":
        """TFP's noise, as one of these."""
        return cls(noise.distribution, noise.sample_shape)

    def _sample_n(self, n: int | tf.Tensor, seed: object = None) -> tf.Tensor:
        axes = tf.concat([[n], self.batch_shape_tensor(), self.event_shape_tensor()], 0)
        return normal_noise(axes, tfp.random.sanitize_seed(seed), self.dtype)

    def _sample_and_log_prob(self, sample_shape: tf.Tensor, seed: object) -> tuple:
        x = self.sample(sample_shape, seed=seed)
        return x, self.log_prob(x)

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        return -tf.reduce_sum(tf.square(x) + math.log(2 * math.pi), axis=-1) / 2


@tfd.RegisterKL(MultivariateNormalDiag, tfd.MultivariateNormalDiag)
def _kl_normal_normal(
    q: MultivariateNormalDiag, p: tfd.MultivariateNormalDiag, name: str | None = None
) -> tf.Tensor:
    """`1/2 sum_d [r_d - 1 - log r_d + ((loc_q - loc_p) / s_p)^2]`, r the ratio of the variances.

    TFP's, for any covariance, has 10 operations more in a step.
    """
    with tf.name_scope(name or "kl_normal_normal"):
        scale = p.scale.diag_part()
        ratio = tf.square(q.scale.diag_part() / scale)
        distance = tf.square((q.mean() - p.mean()) / scale)
        return tf.reduce_sum(ratio - 1 - tf.math.log(ratio) + distance, axis=-1) / 2
