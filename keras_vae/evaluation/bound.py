"""The held-out bound, and what a model without a latent variable would reach."""

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
from keras_vae.divergences import kl_divergence
from keras_vae.evaluation.asked import data_of
from keras_vae.evaluation.draws import blocks, draws, seeds_of_rows
from keras_vae.evaluation.rows import MEMORY, Rows, bytes_of, held_still, identity_of
from keras_vae.feed import check_source
from keras_vae.likelihoods import Likelihood
from keras_vae.vae import VAE


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over examples, in nats per example.

    Attributes:
        mean: the estimate.
        standard_error: of the mean; over what, is said by what gives it.
        num_examples: how many there were.
    """

    mean: float
    standard_error: float
    num_examples: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} +- {self.standard_error:.3f} nats"


@dataclasses.dataclass(frozen=True, eq=False)
class Terms:
    """The two terms of the bound of each example, `[N]`, in nats.

    Attributes:
        log_likelihood: the mean of log p(x|z) over K draws z ~ q(z|x).
        kl: KL(q(z|x) || p(z)), exact where a closed form is known, else of the same draws.
    """

    log_likelihood: np.ndarray
    kl: np.ndarray

    @property
    def elbo(self) -> Estimate:
        """The bound."""
        return estimate(self.log_likelihood - self.kl)

    @property
    def rate(self) -> Estimate:
        """What z costs: the KL."""
        return estimate(self.kl)

    @property
    def distortion(self) -> Estimate:
        """What x costs, given z: minus the log-likelihood."""
        return estimate(-self.log_likelihood)


def elbo(
    vae: VAE,
    x: Any,
    num_samples: int = 10,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> Estimate:
    """The mean over `x` of `E_q[log p(x|z)] - KL(q(z|x) || p(z))`; arguments as of `terms`."""
    return terms(vae, x, num_samples, seed, memory, progress, checkpoint).elbo


def rate(
    vae: VAE,
    x: Any,
    num_samples: int = 10,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> Estimate:
    """The mean over `x` of `KL(q(z|x) || p(z))`; arguments as of `terms`.

    Rate and distortion add up to minus the bound: they say what it is spent on, which the
    bound alone does not (Alemi et al. 2018).

    References: A. A. Alemi, B. Poole, I. Fischer, J. V. Dillon, R. A. Saurous and K. Murphy,
    Fixing a Broken ELBO, ICML 2018.
    """
    return terms(vae, x, num_samples, seed, memory, progress, checkpoint).rate


def distortion(
    vae: VAE,
    x: Any,
    num_samples: int = 10,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> Estimate:
    """The mean over `x` of `-E_q[log p(x|z)]`; see `rate`, arguments as of `terms`."""
    return terms(vae, x, num_samples, seed, memory, progress, checkpoint).distortion


def terms(
    vae: VAE,
    x: Any,
    num_samples: int = 10,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> Terms:
    """Both terms of the bound of each x; a label that is not known is summed over.

    Args:
        vae: the model.
        x: `[N, *E]`, or a source, with its condition and size factor where there are such. Bits
            that are drawn at each visit are drawn once.
        num_samples: K draws of z for each x.
        seed: of the draws: those of a row follow from it and the row's number.
        memory: bytes that one chunk of rows may take.
        progress: whether a bar is shown, on a terminal.
        checkpoint: a file for finished rows, `.npz`: a run that was stopped goes on from it.
    """
    source, seed = data_of(vae, x), integer_seed(seed)
    count = positive_integer(num_samples, "num_samples", vae, "the number of draws of z")
    sizes = blocks(count)

    @tf.function(reduce_retracing=True)
    def block(
        x: tf.Tensor, given: Given, numbers: tf.Tensor, index: tf.Tensor, size: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return _terms(vae, x, given, size, seeds_of_rows(seed, numbers, index))

    def compute(some: Source, numbers: tf.Tensor) -> dict[str, np.ndarray]:
        x, given = vae._checked(some)
        parts = [block(x, given, numbers, tf.constant(i), k) for i, k in enumerate(sizes)]
        of_blocks = zip(("log_likelihood", "kl"), zip(*parts, strict=True), strict=True)
        return {n: np.average(np.stack(v), axis=0, weights=sizes) for n, v in of_blocks}

    one = vae._checked(source[:1])
    row = bytes_of(block, *one, tf.zeros(1, tf.int64), tf.constant(0), max(sizes))
    identity = functools.partial(identity_of, vae, source, terms=count, seed=seed)
    found = Rows(memory, progress, checkpoint)(compute, source, row, "ELBO", identity)
    return Terms(**found)


def _terms(
    vae: VAE, x: tf.Tensor, given: Given, count: int, seeds: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """`E_q[log p(x|z)]` and `KL(q(z|x) || p(z))`, `[B]` each."""
    cases = vae._cases(x, given)
    p = vae._prior(cases.given)
    parameters = vae._posterior_parameters(cases.x, cases.given)
    q = vae.posterior.distribution(parameters)
    z = draws(vae, parameters, count, seeds, cases.copies)
    log_likelihood = vae._likelihood(z, cases.given).log_prob(cases.x)  # [K, B]
    kl = kl_divergence(q, p, z) + cases.given.log_posterior - cases.given.log_prior
    return cases.folded(tf.reduce_mean(log_likelihood, 0)), cases.folded(kl)


def independent_baseline(
    likelihood: Likelihood,
    x_train: Any,
    x: Any,
    memory: int = MEMORY,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> Estimate:
    """log p(x) of the likelihood with one set of parameters for all x, of `x_train`'s moments.

    What the same family reaches with independent values and no latent variable: a model
    that is not better than this has learned nothing of how values go together. Where mean and
    variance give the maximum likelihood (Bernoulli, but for means kept 0.001 from 0 and 1, Normal,
    Poisson, Multinomial) nothing of the family does better on `x_train`. Of others, such as many
    categories or heavy tails, they say less: there a model that has `keras.layers.Rescaling(0.0)`
    as its decoder, trained, is the stronger baseline.

    Args:
        likelihood: p(x|z), of which the family counts, not the weights.
        x_train: `[N, *E]`, or a source.
        x: `[M, *E]`, or a source: what is judged.
        memory: bytes that one chunk of rows may take.
        progress: whether a bar is shown, on a terminal.
        checkpoint: a file for finished rows, `.npz`: a run that was stopped goes on from it.

    Raises:
        ValueError: if x is not what the likelihood takes, or `checkpoint` is of another run.

    Example: `keras_vae.evaluation.independent_baseline(vae.likelihood, mnist.train, mnist.test)`
    """
    dtype = likelihood.density_dtype
    train, held_out = likelihood.as_source(x_train), held_still(likelihood.as_source(x))
    check_source(likelihood, train, "x_train")
    check_source(likelihood, held_out)
    moments = mean, variance = [tf.cast(m, dtype) for m in train.moments(limit=10**9)]
    parameters = likelihood.independent(mean, variance)
    level = 1.0 if train.size_factor is None else np.mean(train.size_factor)  # that of the mean

    @tf.function(reduce_retracing=True, autograph=False)
    def log_prob(x: tf.Tensor, factor: tf.Tensor | None) -> tf.Tensor:
        size = tf.shape(x)[0]
        each = {name: tf.repeat(value[None], size, 0) for name, value in parameters.items()}
        return likelihood.distribution(likelihood.observed(each, factor)).log_prob(x)

    def arguments(some: Source) -> tuple[tf.Tensor, tf.Tensor | None]:
        factor = None if some.size_factor is None else tf.cast(some.size_factor / level, dtype)
        return tf.cast(some.array(), dtype), factor

    found = Rows(memory, progress, checkpoint)(
        lambda some, numbers: {"log_prob": log_prob(*arguments(some))},
        held_out,
        bytes_of(log_prob, *arguments(held_out[:1])),
        "baseline",
        lambda: identity_of(likelihood, held_out, moments=[m.numpy().tobytes() for m in moments]),
    )
    return estimate(found["log_prob"])


def estimate(per_example: np.ndarray) -> Estimate:
    """The mean of independent values and its standard error."""
    size = len(per_example)
    error = per_example.std(ddof=1) / math.sqrt(size) if size > 1 else math.nan
    return Estimate(float(per_example.mean(dtype="float64")), float(error), size)
