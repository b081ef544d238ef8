"""What the KL is spent on: mutual information, total correlation, dimensions one by one."""

import dataclasses
import math
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae.arguments import positive_integer
from keras_vae.divergences import factors, log_prob_per_dimension
from keras_vae.evaluation.bound import Estimate
from keras_vae.evaluation.draws import draws, seeds_of_rows
from keras_vae.evaluation.rows import MEMORY, held_still
from keras_vae.vae import VAE

ROWS = 500  # that the encoder is given at once


@dataclasses.dataclass(frozen=True)
class Decomposition:
    """The parts of `E_x KL(q(z|x) || p(z))`, each a mean over draws, in nats.

    Attributes:
        kl: the whole, sampled: exactly the sum of its parts.
        mutual_information: `I(x; z)` under q, at most `log N`.
        marginal_kl: `KL(q(z) || p(z))`, of the aggregate posterior.
        total_correlation: `KL(q(z) || prod_d q(z_d))`, or None where q(z|x) or p(z) has dimensions
            that depend on each other.
        dimension_kl: `sum_d KL(q(z_d) || p(z_d))`, likewise.
    """

    kl: Estimate
    mutual_information: Estimate
    marginal_kl: Estimate
    total_correlation: Estimate | None
    dimension_kl: Estimate | None

    def __str__(self) -> str:
        parts = {
            "KL": self.kl,
            "mutual information": self.mutual_information,
            "KL of the aggregate": self.marginal_kl,
            "total correlation": self.total_correlation,
            "KL of the dimensions": self.dimension_kl,
        }
        return "\n".join(f"{name}: {part}" for name, part in parts.items() if part is not None)


def kl_decomposition(
    vae: VAE, x: Any, num_samples: int = 2, seed: int = 0, memory: int = MEMORY
) -> Decomposition:
    """`KL = I(x; z) + KL(q(z) || p(z))`, and the second part split by dimensions.

    With `q(z) = 1/N sum_n q(z|x_n)` over all N given x, computed whole, draws `z ~ q(z|x_n)` and

        I = E[log q(z|x_n) - log q(z)],      TC = E[log q(z) - sum_d log q(z_d)],
        sum_d KL(q(z_d) || p(z_d)) = E[sum_d log q(z_d) - log p(z)].

    It is of these x: the information is at most log N, and a few x seem more different than
    many do. The standard errors are over the draws alone, for these x; of a single draw for each
    there is none.

    Args:
        vae: the model; one of x alone, or conditional where p(z) is not.
        x: `[N, *E]`, or a source.
        num_samples: K draws of z for each x.
        seed: of the draws.
        memory: bytes that the `N` densities of some draws may take at once.

    Raises:
        ValueError: if p(z) differs from x to x, so that there is no aggregate to compare with.

    Example: `keras_vae.evaluation.kl_decomposition(vae, mnist.test).mutual_information`

    References: M. D. Hoffman and M. J. Johnson, ELBO surgery, NeurIPS workshop 2016. R. T. Q.
    Chen, X. Li, R. Grosse and D. Duvenaud, Isolating Sources of Disentanglement in VAEs, 2018.
    """
    count = positive_integer(num_samples, "num_samples", vae, "the number of draws of z")
    if vae.prior.conditional:
        raise ValueError(
            "`kl_decomposition` compares the aggregate posterior with p(z). Expected: a prior "
            f"that is the same for each x. Received: {type(vae.prior).__name__}."
        )
    parameters, z = _drawn(vae, x, count, seed)
    q, p = vae.posterior.distribution(parameters), vae.latents(_first(vae, x))[1]
    split = _splits(q) and _splits(p)
    found = [_log_densities(q, p, some, split).numpy() for some in _chunks(z, memory)]
    # Of each draw: log q(z|x), log q(z), log p(z) and, where they split, sum_d log q(z_d).
    columns = np.concatenate(found).astype("float64").T
    own, joint, prior, product = columns.reshape(4, -1, count)  # [N, K] each
    return Decomposition(
        kl=_over_draws(own - prior),
        mutual_information=_over_draws(own - joint),
        marginal_kl=_over_draws(joint - prior),
        total_correlation=_over_draws(joint - product) if split else None,
        dimension_kl=_over_draws(product - prior) if split else None,
    )


def _over_draws(values: np.ndarray) -> Estimate:
    """The mean of `[N, K]`, and its error where the N rows are what they are: K draws of each."""
    size, count = values.shape
    if count == 1:
        return Estimate(float(values.mean()), math.nan, size)
    variance = values.var(axis=1, ddof=1).mean() / (size * count)
    return Estimate(float(values.mean()), math.sqrt(variance), size)


def _first(vae: VAE, x: Any) -> Any:
    return vae.likelihood.as_source(x)[:1]


def _drawn(vae: VAE, x: Any, count: int, seed: int) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """The parameters of q(z|x) of all x, and draws from each, `[N, K, D]`."""
    source = held_still(vae.likelihood.as_source(x))
    parts, zs = [], []
    for start in range(0, len(source), ROWS):
        x, given = vae._checked(source[start : start + ROWS], optional=("size_factor",))
        parameters = vae._posterior_parameters(x, vae._known(x, given))
        numbers = tf.range(start, start + len(x), dtype=tf.int64)
        seeds = seeds_of_rows(seed, numbers, tf.constant(0))
        parts.append(parameters)
        zs.append(tf.transpose(draws(vae, parameters, count, seeds), (1, 0, 2)))
    joined = {name: tf.concat([part[name] for part in parts], 0) for name in parts[0]}
    return joined, tf.concat(zs, 0)


def _splits(density: Any) -> bool:
    try:
        factors(density)
    except NotImplementedError:
        return False
    return True


def _chunks(z: tf.Tensor, memory: int) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Some draws `[M, D]` at once, with the numbers of their rows: as many as fit."""
    rows, count, size = z.shape
    at_once = max(1, memory // (4 * rows * size * 4))  # the densities, and what they are made of
    flat = tf.reshape(z, (-1, size))
    numbers = tf.repeat(tf.range(rows), count)
    starts = range(0, len(flat), at_once)
    return [(flat[start : start + at_once], numbers[start : start + at_once]) for start in starts]


def _log_densities(q: Any, p: Any, some: tuple[tf.Tensor, tf.Tensor], split: bool) -> tf.Tensor:
    """log q(z|x), log q(z), log p(z) and the product's, `[M, 4]`, of draws of z."""
    z, numbers = some
    size = tf.math.log(tf.cast(q.batch_shape[0], z.dtype))
    if split:
        by_dimension = log_prob_per_dimension(q, z[:, None])  # q(z_d|x_n): [M, N, D]
        pairs = tf.reduce_sum(by_dimension, -1)
        product = tf.reduce_sum(tf.reduce_logsumexp(by_dimension, axis=1) - size, -1)
    else:
        pairs = q.log_prob(z[:, None])  # q(z|x_n): [M, N]
        product = tf.zeros_like(pairs[:, 0])
    own = tf.gather(pairs, numbers, axis=1, batch_dims=1)
    joint = tf.reduce_logsumexp(pairs, axis=1) - size
    return tf.stack([own, joint, p.log_prob(z), product], axis=1)
