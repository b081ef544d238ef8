"""A Normal on the unit interval, wherever its loc and its scale are."""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability import util as tfp_util

FLAT = (
    16.0  # from this scale on the log density is linear up to 1 / 2000, and its bend needs one term
)
FAR = 5.0  # from here on a continued fraction is exact to 1e-8 at the first depth, else to 1e-12
DEPTH, DEPTH_OF_DOUBLES = 8, 16
QUANTILE_STEPS = 5  # each leaves less than 1 / FAR^2 of the error
HALF_LOG_2_PI = math.log(2 * math.pi) / 2
HALF = math.sqrt(0.5)

Case: TypeAlias = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # of loc and scale


class UnitTruncatedNormal(tfd.Distribution):
    """`p(x) = N(x; loc, scale^2) / Z`, `Z = integral over [0, 1] of N(x; loc, scale^2)`.

    `tfd.TruncatedNormal` takes the density and Z each for itself: where loc is outside the
    interval they are huge and cancel, with errors of nats and NaN in the gradient, and its
    mean leaves the interval. Here everything is measured from the end of the interval that
    is nearer to loc, in three cases: loc inside; loc outside, through Mills's ratio
    `M(a) = Q(a) / N(a; 0, 1)`, Q the upper tail; and a scale so large that the density is
    exponential, up to a quadratic term.

    Args:
        loc: of the Normal, `[...]`, any real number.
        scale: of the Normal; broadcasts with `loc`.
    """

    def __init__(self, loc: tf.Tensor, scale: tf.Tensor, name: str = "UnitTruncatedNormal") -> None:
        parameters = dict(locals())
        self.loc, self.scale = tf.convert_to_tensor(loc), tf.convert_to_tensor(scale)
        super().__init__(
            dtype=self.loc.dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype: tf.DType, num_classes: None = None) -> dict:
        properties = tfp_util.ParameterProperties
        return {"loc": properties(), "scale": properties()}

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([], tf.int32)

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        loc, x = self._nearer_end(self.loc), self._mirrored(x)
        density = self._by_case(
            lambda loc, scale: _inside_log_prob(x, loc, scale),
            lambda loc, scale: _outside_log_prob(x, loc, scale),
            lambda loc, scale: _flat_log_prob(x, loc, scale),
            loc,
        )
        return tf.where((x < 0) | (x > 1), tf.constant(-np.inf, self.dtype), density)

    def _mean(self) -> tf.Tensor:
        loc = self._nearer_end(self.loc)
        mean = self._by_case(_inside_mean, _outside_mean, _flat_mean, loc)
        return self._mirrored(tf.clip_by_value(mean, 0, 1))

    def _sample_n(self, n: int, seed: tf.Tensor | None = None) -> tf.Tensor:
        limits = np.finfo(self.dtype.as_numpy_dtype)
        shape = tf.concat([[n], self.batch_shape_tensor()], 0)
        uniform = tfd.Uniform(tf.cast(limits.eps, self.dtype), 1 - limits.eps)
        u = uniform.sample(shape, seed=seed)
        draw = self._by_case(
            lambda loc, scale: _inside_quantile(u, loc, scale),
            lambda loc, scale: _outside_quantile(u, loc, scale),
            lambda loc, scale: _flat(loc, scale).quantile(u),
            self._nearer_end(self.loc),
        )
        return tf.stop_gradient(self._mirrored(tf.clip_by_value(draw, 0, 1)))

    def _nearer_end(self, loc: tf.Tensor) -> tf.Tensor:
        """loc, at most 1/2, as seen from the end of the interval that is nearer to it."""
        return tf.where(self.loc > 0.5, 1 - loc, loc)

    def _mirrored(self, x: tf.Tensor) -> tf.Tensor:
        return tf.where(self.loc > 0.5, 1 - x, x)

    def _by_case(self, inside: Case, outside: Case, flat: Case, loc: tf.Tensor) -> tf.Tensor:
        """The value of the case that holds; the others get parameters that they can bear."""
        steep = tf.minimum(self.scale, FLAT)
        of_steep = tf.where(
            loc >= 0, inside(tf.maximum(loc, 0), steep), outside(tf.minimum(loc, 0), steep)
        )
        of_flat = flat(loc, tf.maximum(self.scale, FLAT))
        return tf.where(self.scale > FLAT, of_flat, of_steep)


# loc in [0, 1/2]


def _inside_log_prob(x: tf.Tensor, loc: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    log_mass = tf.math.log1p(-_tail(loc / scale) - _tail((1 - loc) / scale))
    return -(((x - loc) / scale) ** 2) / 2 - tf.math.log(scale) - HALF_LOG_2_PI - log_mass


def _inside_mean(loc: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    below, above = loc / scale, (1 - loc) / scale
    difference = tf.exp(-(below**2) / 2) - tf.exp(-(above**2) / 2)
    mass = 1 - _tail(below) - _tail(above)
    return loc + scale * difference * math.exp(-HALF_LOG_2_PI) / mass


def _inside_quantile(u: tf.Tensor, loc: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    below, above = _tail(loc / scale), _tail((1 - loc) / scale)
    limits = np.finfo(u.dtype.as_numpy_dtype)
    cdf = tf.clip_by_value(below + u * (1 - below - above), limits.tiny, 1 - limits.epsneg)
    return loc + scale * tf.math.ndtri(cdf)


# loc <= 0: the Normal's tail from a = -loc / scale to b = (1 - loc) / scale


def _outside_log_prob(x: tf.Tensor, loc: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    low, _, log_ratio = _ends(loc, scale)
    # (z^2 - a^2) / 2, of z = (x - loc) / scale, without the squares.
    fall = (x / scale) * ((x / 2 - loc) / scale)
    return -fall - tf.math.log(scale) - _log_mills(low) - tf.math.log(-tf.math.expm1(log_ratio))


def _outside_mean(loc: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """scale (E[z] - a), of which each part is small where a is large."""
    low, high, log_ratio = _ends(loc, scale)
    hazard, fall = tf.exp(-_log_mills(low)), tf.exp(-_fall(loc, scale))
    # Of what is above b: 1 - a M(b) = 1 - b M(b) + (b - a) M(b).
    mills_high = tf.exp(_log_mills(high))
    above = hazard * fall * (_excess(high) * mills_high + mills_high / scale)
    return scale * (_excess(low) - above) / -tf.math.expm1(log_ratio)


def _outside_quantile(u: tf.Tensor, loc: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """x where a share `u` of what is between a and b lies above: `Q(a + t) / Q(a)` is that."""
    low, _, log_ratio = _ends(loc, scale)
    ratio = tf.exp(log_ratio)
    left = ratio + u * (1 - ratio)
    near = -tf.math.ndtri(_tail(tf.minimum(low, FAR)) * left) - low
    # a t + t^2 / 2 = -log(left) + log M(a + t) - log M(a), where Mills's ratio hardly changes.
    far = tf.maximum(low, FAR)
    t = tf.zeros_like(left)
    for _ in range(QUANTILE_STEPS):
        fall = _log_mills(far + t) - _log_mills(far) - tf.math.log(left)
        t = 2 * fall / (far + tf.sqrt(far**2 + 2 * fall))
    return scale * tf.where(low < FAR, near, t)


def _ends(loc: tf.Tensor, scale: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """a, b and `log(Q(b) / Q(a))`."""
    low, high = -loc / scale, (1 - loc) / scale
    return low, high, _log_mills(high) - _log_mills(low) - _fall(loc, scale)


def _fall(loc: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """`(b^2 - a^2) / 2`, how much the log density falls over [0, 1]."""
    return (0.5 - loc) / scale / scale


def _tail(z: tf.Tensor) -> tf.Tensor:
    """Q(z), for z >= 0."""
    return tf.math.erfc(z * HALF) / 2


def _log_mills(z: tf.Tensor) -> tf.Tensor:
    """`log M(z)`, for z >= 0."""
    near, far = tf.minimum(z, FAR), tf.maximum(z, FAR)
    log_near = tf.math.log(_tail(near)) + near**2 / 2 + HALF_LOG_2_PI
    return tf.where(z < FAR, log_near, -tf.math.log(far + _far_excess(far)))


def _excess(z: tf.Tensor) -> tf.Tensor:
    """`1 / M(z) - z`, the mean of what is above z less z, for z >= 0."""
    near, far = tf.minimum(z, FAR), tf.maximum(z, FAR)
    return tf.where(z < FAR, tf.exp(-_log_mills(near)) - near, _far_excess(far))


def _far_excess(z: tf.Tensor) -> tf.Tensor:
    """The same for z >= FAR, by Laplace's continued fraction `1 / (z + 2 / (z + 3 / ...))`."""
    fraction = tf.zeros_like(z)
    for numerator in range(DEPTH if z.dtype == tf.float32 else DEPTH_OF_DOUBLES, 0, -1):
        fraction = numerator / (z + fraction)
    return fraction


# scale >= FLAT: exp(-slope (x - 1/2)), a continuous Bernoulli, bent by
# exp(-((x - 1/2) / scale)^2 / 2)


def _flat(loc: tf.Tensor, scale: tf.Tensor) -> tfd.Distribution:
    logits = -_fall(loc, scale)
    return tfd.ContinuousBernoulli(logits=logits, dtype=logits.dtype)


def _flat_log_prob(x: tf.Tensor, loc: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    flat = _flat(loc, scale).log_prob(tf.clip_by_value(x, 0, 1))
    bend = (x - 0.5) ** 2 - _square(-_fall(loc, scale))
    return flat - bend / scale / scale / 2


def _flat_mean(loc: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    # The covariance of x and (x - 1/2)^2 is the derivative of the square's mean by the logits.
    step, logits = 0.1, -_fall(loc, scale)
    covariance = (_square(logits + step) - _square(logits - step)) / (2 * step)
    return _flat(loc, scale).mean() - covariance / scale / scale / 2


def _square(logits: tf.Tensor) -> tf.Tensor:
    """`E[(x - 1/2)^2]` of a continuous Bernoulli."""
    # TFP's variance has no gradient beyond 88, where x is at one end of the interval.
    logits = tf.clip_by_value(logits, -60, 60)
    bent = tfd.ContinuousBernoulli(logits=logits, dtype=logits.dtype)
    return bent.variance() + (bent.mean() - 0.5) ** 2
