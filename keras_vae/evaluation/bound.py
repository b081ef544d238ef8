"""The held-out bound, and what a model without a latent variable would reach."""

import dataclasses
import math
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae.likelihoods import Likelihood
from keras_vae.vae import VAE


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over examples, in nats per example.

    Attributes:
        mean: the estimate.
        standard_error: of the mean, over the examples and the draws of z.
        num_examples: how many there were.
    """

    mean: float
    standard_error: float
    num_examples: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} +- {self.standard_error:.3f} nats"


def elbo(vae: VAE, x: Any, num_samples: int = 10, seed: int = 0, batch_size: int = 500) -> Estimate:
    """The mean over `x` of `E_q[log p(x|z)] - KL(q(z|x) || p(z))`.

    Args:
        vae: the model.
        x: `[N, *E]`, or a source, with its condition and size factor where there are such.
        num_samples: K draws of z for each x.
        seed: of the draws; each batch has its own.
        batch_size: how many x are computed at once.
    """
    source = vae.likelihood.as_source(x)
    parts = [
        vae.elbo(source[start : start + batch_size], num_samples, seed=seed + index).numpy()
        for index, start in enumerate(range(0, len(source), batch_size))
    ]
    return estimate(np.concatenate(parts))


def independent_baseline(
    likelihood: Likelihood, x_train: Any, x: Any, batch_size: int = 500
) -> Estimate:
    """log p(x) of the likelihood with one set of parameters for all x, of `x_train`'s moments.

    What the same family reaches with independent values and no latent variable: a model
    that is not better than this has learned nothing of how values go together. Where mean and
    variance give the maximum likelihood (Bernoulli, Normal, Poisson, Multinomial) nothing of
    the family does better. Of others, such as many categories or heavy tails, they say
    less: there a model that has `keras.layers.Rescaling(0.0)` as its decoder, trained, is the
    stronger baseline.

    Args:
        likelihood: p(x|z), of which the family counts, not the weights.
        x_train: `[N, *E]`, or a source.
        x: `[M, *E]`, or a source: what is judged.
        batch_size: how many x are computed at once.
    """
    dtype = likelihood.density_dtype
    train, held_out = likelihood.as_source(x_train), likelihood.as_source(x)
    mean, variance = (tf.cast(m, dtype) for m in train.moments(limit=10**9))
    parameters = likelihood.independent(mean, variance)
    parts = []
    for start in range(0, len(held_out), batch_size):
        some = held_out[start : start + batch_size]
        each = {name: tf.repeat(value[None], len(some), 0) for name, value in parameters.items()}
        factor = None if some.size_factor is None else tf.cast(some.size_factor, dtype)
        p = likelihood.distribution(likelihood.observed(each, factor))
        parts.append(p.log_prob(tf.cast(some.array(), dtype)).numpy())
    return estimate(np.concatenate(parts))


def estimate(per_example: np.ndarray) -> Estimate:
    """The mean of independent values and its standard error."""
    size = len(per_example)
    error = per_example.std(ddof=1) / math.sqrt(size) if size > 1 else math.nan
    return Estimate(float(per_example.mean(dtype="float64")), float(error), size)
