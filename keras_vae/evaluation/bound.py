"""The held-out bound, and what a model without a latent variable would reach."""

import dataclasses
import math
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae.data.source import as_source
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
        x: `[N, *E]`, or a source.
        num_samples: K draws of z for each x.
        seed: of the draws; each batch has its own.
        batch_size: how many x are computed at once.
    """
    rows = as_source(x).array()
    parts = [
        vae.elbo(rows[start : start + batch_size], num_samples, seed=seed + index).numpy()
        for index, start in enumerate(range(0, len(rows), batch_size))
    ]
    return estimate(np.concatenate(parts))


def independent_baseline(likelihood: Likelihood, x_train: Any, x: Any) -> Estimate:
    """log p(x) of the likelihood with one set of parameters for all x, fitted to `x_train`.

    What the same family reaches with independent values and no latent variable: a model
    that is not better than this has learned nothing of how values go together.

    Args:
        likelihood: p(x|z), of which the family counts, not the weights.
        x_train: `[N, *E]`, or a source.
        x: `[M, *E]`, or a source: what is judged.
    """
    dtype = likelihood.density_dtype
    mean, variance = (tf.cast(m, dtype) for m in as_source(x_train).moments(limit=10**9))
    p = likelihood.distribution(likelihood.independent(mean, variance))
    return estimate(p.log_prob(tf.cast(as_source(x).array(), dtype)).numpy())


def estimate(per_example: np.ndarray) -> Estimate:
    """The mean of independent values and its standard error."""
    size = len(per_example)
    error = per_example.std(ddof=1) / math.sqrt(size) if size > 1 else math.nan
    return Estimate(float(per_example.mean(dtype="float64")), float(error), size)
