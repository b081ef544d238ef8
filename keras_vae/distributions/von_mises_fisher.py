"""The von Mises-Fisher distribution in any dimension, with exactly reparameterised draws."""

import functools
import math

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from keras_vae.distributions import sphere
from keras_vae.randomness import normal_noise, uniform_noise


class VonMisesFisher(tfd.Distribution):
    """`log p(z) = -kappa (1 - <mu, z>) - log Z(kappa)`, z a unit vector.

    `Z(kappa) = A integral_0^pi sin(t)^(D-2) exp(-kappa (1 - cos t)) dt`, A the area of the
    sphere in D - 1 dimensions, t the angle between z and mu. Integrals over the angle are
    Gauss-Legendre sums, which need no Bessel functions: `tfd.VonMisesFisher` is for D <= 5.

    A draw of the angle is by rejection (Wood 1994). Its derivative by kappa is that of a draw
    by the inverse distribution function F, `-(dF/dkappa) / (dF/dt)` (Figurnov et al. 2018), where
    `tfd.VonMisesFisher` has the derivative of the accepted proposal: biased, by 8 % for the
    mean at D = 10 and a concentration of 5.

    Args:
        mean_direction: mu, unit vectors `[..., D]`.
        concentration: kappa, positive, `[...]`.
        name: the distribution's name.
    """

    def __init__(
        self, mean_direction: tf.Tensor, concentration: tf.Tensor, name: str = "VonMisesFisher"
    ) -> None:
        parameters = dict(locals())
        self.mean_direction = tf.convert_to_tensor(mean_direction)
        self.concentration = tf.convert_to_tensor(concentration)
        super().__init__(
            dtype=self.mean_direction.dtype,
            reparameterization_type=tfd.FULLY_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype: object, num_classes: object = None) -> dict:
        return {
            "mean_direction": tfp.util.ParameterProperties(event_ndims=1),
            "concentration": tfp.util.ParameterProperties(),
        }

    def _event_shape(self) -> tf.TensorShape:
        return self.mean_direction.shape[-1:]

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.shape(self.mean_direction)[-1:]

    @property
    def size(self) -> int:
        """D."""
        return self.mean_direction.shape[-1]

    def _sample_n(self, n: int | tf.Tensor, seed: object = None) -> tf.Tensor:
        along, across = tf.unstack(tfp.random.split_seed(seed, n=2))
        shape = tf.concat([[n], tf.shape(self.concentration)], 0)
        kappa = tf.broadcast_to(self.concentration, shape)
        angle = draw_angle(kappa, self.size, along)[..., None]
        axes = tf.concat([shape, [self.size - 1]], 0)
        around = tf.math.l2_normalize(normal_noise(axes, across, self.dtype), axis=-1)
        z = tf.concat([tf.cos(angle), tf.sin(angle) * around], axis=-1)
        return sphere.turned(z, self.mean_direction)

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        exponent = -self.concentration * sphere.distance(z, self.mean_direction)
        area = sphere.log_area(self.size - 1)
        return exponent - area - moments(self.concentration, self.size)[0]

    def _mean(self) -> tf.Tensor:
        _, fall = moments(self.concentration, self.size)
        return (1 - fall)[..., None] * self.mean_direction

    def _mode(self) -> tf.Tensor:
        return self.mean_direction


def moments(kappa: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """`log integral_0^pi sin(t)^(D-2) exp(-kappa (1 - cos t)) dt`, and the mean of 1 - cos t."""
    last = _reach(tf.zeros_like(kappa), kappa, size)
    nodes, weights = _rule(size, kappa.dtype)
    angles = last[..., None] * nodes
    falls = _fall(angles)
    log_terms = (
        tf.math.log(last[..., None] * weights)
        + (size - 2) * _log_sin(angles)
        - kappa[..., None] * falls
    )
    mean = tf.reduce_sum(tf.nn.softmax(log_terms) * falls, axis=-1)
    return tf.reduce_logsumexp(log_terms, axis=-1), mean


def draw_angle(kappa: tf.Tensor, size: int, seed: tf.Tensor) -> tf.Tensor:
    """A draw of the angle to mu for each kappa, differentiable by it."""
    draw = _rejection(kappa, size, seed)

    @tf.custom_gradient
    def drawn(kappa: tf.Tensor) -> tuple:
        return draw, lambda upstream: upstream * _transport(draw, kappa, size)

    return drawn(kappa)


def _rejection(kappa: tf.Tensor, size: int, seed: tf.Tensor) -> tf.Tensor:
    """Angles by rejection, from the ratio of two gamma variates (Wood 1994).

    Written in `1 - cos t`, which keeps its digits where kappa is large.
    """
    kappa, d = tf.stop_gradient(kappa), size - 1
    b = d / (2 * kappa + tf.sqrt(4 * kappa**2 + d**2))

    def propose(step: tf.Tensor, angle: tf.Tensor, wanted: tf.Tensor) -> tuple:
        normal_seed, uniform_seed = tf.unstack(tf.random.split(tf.random.fold_in(seed, step)))
        axes = tf.concat([[2], tf.shape(kappa), [d]], 0)
        normal = normal_noise(axes, normal_seed, kappa.dtype)
        one, other = tf.unstack(tf.reduce_sum(normal**2, axis=-1))  # twice gamma, a shape of d/2
        ratio = tf.math.log((1 + b) / 2) + tf.math.log(one + other) - tf.math.log(other + b * one)
        fall = 2 * b * one / (other + b * one)
        log_accept = kappa * (2 * b / (1 + b) - fall) + d * ratio
        uniform = uniform_noise(tf.shape(kappa), uniform_seed, kappa.dtype)
        proposed = 2 * tf.atan2(tf.sqrt(b * one), tf.sqrt(other))
        # A comparison with NaN is false: what is no number is not drawn for ever.
        rejected = log_accept < tf.math.log1p(-uniform)
        return step + 1, tf.where(wanted, proposed, angle), wanted & rejected

    start = (0, tf.zeros_like(kappa), tf.ones_like(kappa, tf.bool))
    _, angle, _ = tf.while_loop(lambda _, __, wanted: tf.reduce_any(wanted), propose, start)
    return tf.stop_gradient(angle)


def _transport(angle: tf.Tensor, kappa: tf.Tensor, size: int) -> tf.Tensor:
    """`-(dF/dkappa) / (dF/dt)` of the distribution function F of the angle.

    With p the density of the angle and m the mean of `s(t) = 1 - cos t`, `dp/dkappa` is
    `(m - s) p`. Its integral is taken from the end on whose side of m the angle lies, where
    all terms have one sign.
    """
    _, mean = moments(kappa, size)
    below = _fall(angle) < mean
    end = tf.where(below, tf.zeros_like(angle), _reach(angle, kappa, size))
    nodes, weights = _rule(size, kappa.dtype)
    angle, end = angle[..., None], end[..., None]
    angles = end + (angle - end) * nodes
    log_ratio = (size - 2) * (_log_sin(angles) - _log_sin(angle))
    log_ratio -= kappa[..., None] * (_fall(angles) - _fall(angle))
    terms = (_fall(angles) - mean[..., None]) * tf.exp(log_ratio) * weights
    return tf.reduce_sum((angle - end) * terms, axis=-1)


def _reach(angle: tf.Tensor, kappa: tf.Tensor, size: int) -> tf.Tensor:
    """The angle beyond `angle` where the density has fallen to nothing, pi at most."""
    scales = 30 + 10 * math.sqrt(size / 2) + size / 2
    half = tf.minimum(_fall(angle) / 2 + scales / (2 * kappa), 1)
    return tf.stop_gradient(2 * tf.asin(tf.sqrt(half)))


def _fall(angle: tf.Tensor) -> tf.Tensor:
    """`1 - cos t`, with its digits."""
    return 2 * tf.sin(angle / 2) ** 2


def _log_sin(angle: tf.Tensor) -> tf.Tensor:
    return tf.math.log(tf.maximum(tf.sin(angle), 1e-30))


@functools.cache
def _legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return (nodes + 1) / 2, weights / 2


def _rule(size: int, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
    """Nodes in (0, 1) and weights, more of them for the narrow peaks of many dimensions."""
    nodes, weights = _legendre(max(64, 8 * math.isqrt(size)))
    return tf.constant(nodes, dtype), tf.constant(weights, dtype)


@tfd.RegisterKL(VonMisesFisher, tfd.SphericalUniform)
def _kl_von_mises_fisher_uniform(
    q: VonMisesFisher, p: tfd.SphericalUniform, name: str | None = None
) -> tf.Tensor:
    """`-kappa E[1 - cos t] - log Z(kappa) + log Z(0)`."""
    log_normaliser, fall = moments(q.concentration, q.size)
    uniform = sphere.log_area(q.size) - sphere.log_area(q.size - 1)
    # No divergence is negative but by rounding, near a concentration of 0.
    return tf.nn.relu(uniform - log_normaliser - q.concentration * fall)
