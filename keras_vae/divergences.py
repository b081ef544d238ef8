"""KL(q || p), exact where TFP has a closed form, else sampled; and the distance of two sets of draws."""

import functools
import itertools
from collections.abc import Callable

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.blocks import Blocks


def kl_divergence(q: tfd.Distribution, p: tfd.Distribution, z: tf.Tensor) -> tf.Tensor:
    """`KL(q || p) = E_q[log q(z) - log p(z)]`, `[B]`, in nats.

    Exact where a closed form is registered with `tfd.RegisterKL`, else the mean over the
    draws that the caller has: unbiased, and of lower variance the more of them.

    Args:
        q: batch `[B]`, event `[D]`.
        p: batch `[]` or `[B]`, event `[D]`.
        z: draws from q, `[K, B, D]`.
    """
    try:
        return q.kl_divergence(p)
    except NotImplementedError:
        return tf.reduce_mean(q.log_prob(z) - p.log_prob(z), axis=0)


def is_exact(q: tfd.Distribution, p: tfd.Distribution) -> bool:
    """Whether a closed form is registered for this pair."""
    try:
        q.kl_divergence(p)
    except NotImplementedError:
        return False
    return True


# Dimension by dimension, where the dimensions are independent


@functools.singledispatch
def factors(distribution: tfd.Distribution) -> list[tfd.Distribution]:
    """The independent distributions of the dimensions: batch `[..., d]`, event `[]`, sum of d = D.

    Raises:
        NotImplementedError: if the dimensions are not known to be independent.
    """
    raise NotImplementedError(
        "A value for each latent dimension needs a q(z|x) and a p(z) whose dimensions are "
        "independent. Expected: MultivariateNormalDiag, Independent of scalars, or Blocks of "
        f"these. Received: {type(distribution).__name__}. Take a posterior and a prior with "
        "independent dimensions, or an objective that asks for the latent vector as a whole."
    )


@factors.register(tfd.MultivariateNormalDiag)
def _of_normal(distribution: tfd.Distribution) -> list[tfd.Distribution]:
    # Where the batch is not known, TFP forgets the size of an axis of length 1.
    size = distribution.event_shape[-1]
    loc, scale = (
        tf.ensure_shape(moment, [*moment.shape[:-1], size])
        for moment in (distribution.mean(), distribution.stddev())
    )
    return [tfd.Normal(loc, scale)]


# TFP makes its base class where a part is no composite tensor, as most custom ones are.
@factors.register(tfd.Independent.__bases__[0])
def _of_independent(distribution: tfd.Distribution) -> list[tfd.Distribution]:
    scalar = distribution.distribution
    if scalar.event_shape.rank == 0 and distribution.event_shape.rank == 1:
        return [scalar]
    return factors.dispatch(object)(distribution)


@factors.register(Blocks)
def _of_blocks(distribution: Blocks) -> list[tfd.Distribution]:
    return [factor for block in distribution.blocks for factor in factors(block)]


def log_prob_per_dimension(distribution: tfd.Distribution, z: tf.Tensor) -> tf.Tensor:
    """log p(z_d), `[..., D]`, of a distribution whose dimensions are independent."""
    parts = factors(distribution)
    blocks = tf.split(z, [_size(part) for part in parts], axis=-1)
    pairs = zip(parts, blocks, strict=True)
    return tf.concat([part.log_prob(block) for part, block in pairs], axis=-1)


def kl_per_dimension(
    q: tfd.Distribution, p: tfd.Distribution, z: tf.Tensor | None = None
) -> tf.Tensor:
    """`KL(q(z_d|x) || p(z_d))`, `[B, D]`, in nats: its sum over D is the KL.

    Args:
        q: batch `[B]`, event `[D]`, its dimensions independent, see `factors`.
        p: batch `[]` or `[B]`, likewise.
        z: draws from q, `[K, B, D]`, for a dimension's KL that has no closed form.

    Raises:
        NotImplementedError: if the dimensions are not independent, or there is neither a
            closed form nor `z`.
    """
    qs, ps = factors(q), factors(p)
    ends = sorted({*_ends(qs), *_ends(ps)})
    qs, ps = _cut(qs, ends), _cut(ps, ends)
    sizes = [_size(factor) for factor in qs]
    blocks = [None] * len(sizes) if z is None else tf.split(z, sizes, axis=-1)
    return tf.concat(list(map(_kl, qs, ps, blocks)), axis=-1)


def _kl(q: tfd.Distribution, p: tfd.Distribution, z: tf.Tensor | None) -> tf.Tensor:
    return q.kl_divergence(p) if z is None else kl_divergence(q, p, z)


def _size(factor: tfd.Distribution) -> int:
    return factor.batch_shape[-1]


def _ends(parts: list[tfd.Distribution]) -> list[int]:
    return list(itertools.accumulate(map(_size, parts)))


def _cut(parts: list[tfd.Distribution], ends: list[int]) -> list[tfd.Distribution]:
    """The same dimensions in parts that end at `ends`, which contain their own ends."""
    pieces, start = [], 0
    for part, end in zip(parts, _ends(parts), strict=True):
        inside = [e - start for e in ends if start < e <= end]
        if len(inside) == 1:
            pieces.append(part)
        else:
            pieces += [part[..., a:b] for a, b in zip([0, *inside], inside, strict=False)]
        start = end
    return pieces


# Two sets of draws


def mmd_squared(
    z: tf.Tensor, other: tf.Tensor, kernel: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """The squared maximum mean discrepancy of two distributions, `[...]`, from B draws of each.

    The mean over pairs i != j of `k(z_i, z_j) + k(y_i, y_j) - k(z_i, y_j) - k(y_i, z_j)`:
    unbiased, hence of either sign, with mean 0 where the distributions are equal (Gretton et
    al., A Kernel Two-Sample Test, JMLR 2012). 0 of a single draw, which has no pair.

    Args:
        z: independent draws, `[..., B, D]`.
        other: independent draws y, `[..., B, D]`.
        kernel: from squared distances to k.
    """
    crossed = kernel(_squared_distances(z, other))
    pairs = kernel(_squared_distances(z, z)) + kernel(_squared_distances(other, other))
    pairs -= crossed + tf.linalg.matrix_transpose(crossed)
    size = tf.shape(pairs)[-1]
    pairs *= 1 - tf.eye(size, dtype=pairs.dtype)  # XLA has no gradient of set_diag here
    count = tf.cast(size, pairs.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(pairs, (-2, -1)), count * (count - 1))


def _squared_distances(z: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """`|z_i - y_j|^2`, `[..., B, B]`, without the B B D differences."""
    squares = tf.reduce_sum(z**2, -1)[..., :, None] + tf.reduce_sum(other**2, -1)[..., None, :]
    product = tf.linalg.matmul(z, other, transpose_b=True)
    return tf.maximum(squares - 2 * product, tf.zeros_like(squares))  # rounding may go below
