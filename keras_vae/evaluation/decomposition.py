"""What the KL is spent on: mutual information, total correlation, dimensions one by one."""

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae.arguments import integer_seed, positive_integer
from keras_vae.conditions import Given
from keras_vae.data.source import Source
from keras_vae.divergences import factors, log_prob_per_dimension
from keras_vae.evaluation.asked import data_of
from keras_vae.evaluation.bound import Estimate
from keras_vae.evaluation.draws import draws, seeds_of_rows
from keras_vae.evaluation.own_posterior import Parameters
from keras_vae.evaluation.rows import MEMORY, Rows, bytes_of, identity_of
from keras_vae.vae import VAE


@dataclasses.dataclass(frozen=True)
class Decomposition:
    """The parts of `E_x KL(q(z|x) || p(z))`, each a mean over draws, in nats; so are their errors.

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
    vae: VAE,
    x: Any,
    num_samples: int = 2,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool = False,
    checkpoint: str | Path | None = None,
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
        memory: bytes that one chunk of rows, or the `N` densities of some draws, may take, beside
            the parameters of all q(z|x) and all draws.
        progress: whether a bar is shown, on a terminal.
        checkpoint: a file for finished draws, `.npz`: a run that was stopped goes on from it.

    Raises:
        ValueError: if p(z) differs from x to x, so that there is no aggregate to compare with.

    Example: `keras_vae.evaluation.kl_decomposition(vae, mnist.test).mutual_information`

    References: M. D. Hoffman and M. J. Johnson, ELBO surgery, NeurIPS workshop 2016. R. T. Q.
    Chen, X. Li, R. Grosse and D. Duvenaud, Isolating Sources of Disentanglement in VAEs, 2018.
    """
    source, seed = data_of(vae, x, optional=("size_factor",)), integer_seed(seed)
    count = positive_integer(num_samples, "num_samples", vae, "the number of draws of z")
    if vae.prior.conditional:
        raise ValueError(
            "`kl_decomposition` compares the aggregate posterior with p(z). Expected: a prior "
            f"that is the same for each x. Received: {type(vae.prior).__name__}."
        )
    rows = Rows(memory, progress, checkpoint)
    parameters, z = _drawn(vae, source, count, seed, rows)
    q, p = vae.posterior.distribution(parameters), vae.latents(source[:1])[1]
    split = _splits(q) and _splits(p)

    def compute(_: Source, numbers: tf.Tensor) -> dict[str, tf.Tensor]:
        return _log_densities(q, p, tf.gather(z, numbers), numbers // count, split)

    all_draws = Source(np.arange(len(z)))
    each = bytes_of(tf.function(compute), None, tf.zeros(1, tf.int64))
    identity = functools.partial(identity_of, vae, source, decomposition=count, seed=seed)
    found = rows(compute, all_draws, each, "KL decomposition", identity)
    names = ("own", "joint", "prior", "product")
    own, joint, prior, product = (found[k].astype("float64").reshape(-1, count) for k in names)
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


def _drawn(
    vae: VAE, source: Source, count: int, seed: int, rows: Rows
) -> tuple[Parameters, tf.Tensor]:
    """The parameters of q(z|x) of all rows, and K draws of each, `[N * K, D]`."""

    @tf.function(reduce_retracing=True, autograph=False)
    def block(x: tf.Tensor, given: Given, numbers: tf.Tensor) -> tuple[Parameters, tf.Tensor]:
        parameters = vae._posterior_parameters(x, vae._known(x, given))
        z = draws(vae, parameters, count, seeds_of_rows(seed, numbers, tf.constant(0)))
        return parameters, tf.transpose(z, (1, 0, 2))

    def checked(some: slice) -> tuple[tf.Tensor, Given]:
        return vae._checked(source[some], optional=("size_factor",))

    bytes_of_row = bytes_of(block, *checked(slice(0, 1)), tf.zeros(1, tf.int64))
    found = [
        block(*checked(some), tf.range(some.start, some.stop, dtype=tf.int64))
        for some in rows.blocks(len(source), bytes_of_row, "draws of z")
    ]
    parts, zs = zip(*found, strict=True)
    joined = {name: tf.concat([part[name] for part in parts], 0) for name in parts[0]}
    return joined, tf.reshape(tf.concat(zs, 0), (-1, vae.prior.latent_size))


def _splits(density: Any) -> bool:
    try:
        factors(density)
    except NotImplementedError:
        return False
    return True


def _log_densities(
    q: Any, p: Any, z: tf.Tensor, numbers: tf.Tensor, split: bool
) -> dict[str, tf.Tensor]:
    """log q(z|x), log q(z), log p(z) and, where they split, sum_d log q(z_d) of `z [M, D]`."""
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
    return {"own": own, "joint": joint, "prior": p.log_prob(z), "product": product}
