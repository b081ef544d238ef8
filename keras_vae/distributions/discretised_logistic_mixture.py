"""A mixture of discretised logistics, its density in one pass over the parameters."""

from typing import NamedTuple

import tensorflow as tf
from tensorflow_probability.python.distributions import mixture_same_family

from keras_vae.distributions.fused import fused

Gradients = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


# `tfd.MixtureSameFamily(...)` makes one of this class where its parts are no composite tensors.
class DiscretisedLogisticMixture(mixture_same_family._MixtureSameFamily):
    """`P(x) = sum_c w_c P_c(x)`, the mixture of C discretised logistics.

    With u and h as `DiscretisedLogistic` has them, `a = (u + h - loc) / scale` and
    `b = (u - h - loc) / scale`,

        P_c(x) = e^-far r,   far = max(-a, 0) + max(b, 0),
        r = (1 - e^-(a - b)) / ((1 + e^-|a|) (1 + e^-|b|)),

    where r is no difference of numbers near 1, nor small far from loc. So with logits l of w

        log p(x) = log sum_c e^(l_c - far_c) r_c - log sum_c e^l_c

    needs two logarithms, where a sum of log densities needs three for each c. For 128 images
    and 5 components (one core), with the gradient, 10 ms in place of 21.

    Args:
        mixture_distribution: a `tfd.Categorical` of logits `[..., C]`, for the weights w.
        components_distribution: the `DiscretisedLogistic`, batch `[..., C]`.
    """

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        each, logits = self.components_distribution, self.mixture_distribution.logits
        shape = tf.broadcast_dynamic_shape(tf.shape(x), self.batch_shape_tensor())
        logits, loc, scale = (_apart(value, shape) for value in (logits, each.loc, each.scale))
        x = tf.reshape(tf.broadcast_to(x, shape), [-1])
        return tf.reshape(_of_values(logits, loc, scale, x, each.levels), shape)


def _apart(parameter: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """`[..., C]` -> `[C, N]`: XLA computes several numbers at once only along a long last axis."""
    components = parameter.shape[-1]
    whole = tf.broadcast_to(parameter, tf.concat([shape, [components]], 0))
    return tf.transpose(tf.reshape(whole, [-1, components]))


def _of_values(
    logits: tf.Tensor, loc: tf.Tensor, scale: tf.Tensor, x: tf.Tensor, levels: int
) -> tf.Tensor:
    """Of N values, from parameters `[C, N]`; x is discrete and has no gradient."""

    @tf.custom_gradient
    def density(logits: tf.Tensor, loc: tf.Tensor, scale: tf.Tensor, x: tf.Tensor) -> tuple:
        def gradient(upstream: tf.Tensor) -> tuple:
            return *_gradients(logits, loc, scale, x, upstream, levels), None

        return _value(logits, loc, scale, x, levels), gradient

    return density(logits, loc, scale, x)


class _Terms(NamedTuple):
    """What value and gradient have in common, `[C, N]` each but `largest`.

    Attributes:
        a: at the upper end of x's interval, in scales from loc.
        b: at its lower end.
        beyond: `e^-|a|`; 0 for the last x, which has no upper end.
        before: `e^-|b|`; 0 for the first x.
        masses: `w_c P_c(x)` but for a factor that all c share.
        largest: the logarithm of that factor, `[1, N]`.
    """

    a: tf.Tensor
    b: tf.Tensor
    beyond: tf.Tensor
    before: tf.Tensor
    masses: tf.Tensor
    largest: tf.Tensor


def _terms(
    logits: tf.Tensor, loc: tf.Tensor, scale: tf.Tensor, x: tf.Tensor, levels: int
) -> _Terms:
    half = 1 / (levels - 1)
    from_loc = 2 * half * x - 1 - loc
    a, b = (from_loc + half) / scale, (from_loc - half) / scale
    upper, lower = x < levels - 1, x > 0  # whether there is such an end
    beyond = tf.where(upper, tf.exp(-tf.abs(a)), 0.0)
    before = tf.where(lower, tf.exp(-tf.abs(b)), 0.0)
    far = tf.where(upper, tf.nn.relu(-a), 0.0) + tf.where(lower, tf.nn.relu(b), 0.0)
    inside = tf.where(upper & lower, -tf.math.expm1(-2 * half / scale), 1.0)
    exponents = logits - far
    largest = tf.reduce_max(exponents, 0, keepdims=True)
    masses = tf.exp(exponents - largest) * inside / ((1 + beyond) * (1 + before))
    return _Terms(a, b, beyond, before, masses, largest)


@fused
def _value(
    logits: tf.Tensor, loc: tf.Tensor, scale: tf.Tensor, x: tf.Tensor, levels: int
) -> tf.Tensor:
    terms = _terms(logits, loc, scale, x, levels)
    total = tf.math.log(tf.reduce_sum(terms.masses, 0)) + terms.largest[0]
    return total - tf.reduce_logsumexp(logits, 0)


@fused
def _gradients(
    logits: tf.Tensor,
    loc: tf.Tensor,
    scale: tf.Tensor,
    x: tf.Tensor,
    upstream: tf.Tensor,
    levels: int,
) -> Gradients:
    """`d log F(a) / da = F(-a)`, `d log F(-b) / db = -F(b)`, of `log(1 - e^-t)` 1 / (e^t - 1)."""
    terms = _terms(logits, loc, scale, x, levels)
    a, b, upper, lower = terms.a, terms.b, x < levels - 1, x > 0
    of_a = tf.where(upper, tf.where(a >= 0, terms.beyond, 1.0) / (1 + terms.beyond), 0.0)
    of_b = tf.where(lower, tf.where(b < 0, terms.before, 1.0) / (1 + terms.before), 0.0)
    width = 2 / (levels - 1) / scale
    of_width = tf.where(upper & lower, width / tf.math.expm1(width), 0.0)
    share = terms.masses / tf.reduce_sum(terms.masses, 0, keepdims=True)
    by_scale = upstream * share / scale
    return (
        upstream * (share - tf.nn.softmax(logits, 0)),
        by_scale * (of_b - of_a),
        by_scale * (b * of_b - a * of_a - of_width),
    )
