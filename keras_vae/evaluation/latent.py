"""What the latent dimensions are used for."""

from typing import Any

import numpy as np
from tensorflow_probability import distributions as tfd

from keras_vae.data.source import as_source
from keras_vae.vae import VAE


def latent_means(vae: VAE, x: Any, batch_size: int = 500) -> np.ndarray:
    """The mean of q(z|x) for each x, `[N, D]`."""
    rows = as_source(x).array()
    starts = range(0, len(rows), batch_size)
    return np.concatenate([vae.encode(rows[i : i + batch_size]).mean().numpy() for i in starts])


def kl_per_dimension(vae: VAE, x: Any, batch_size: int = 500) -> np.ndarray:
    """The mean over x of KL(q(z_d|x) || p(z_d)), `[D]`, in nats, of the Normal marginals.

    For a diagonal Normal posterior these add up to the KL of the bound. With correlations
    they do not: what the correlations cost has no dimension to be booked on.
    """
    rows = as_source(x).array()
    p = vae.prior.distribution()
    prior = tfd.Normal(p.mean(), p.stddev())
    parts = []
    for start in range(0, len(rows), batch_size):
        q = vae.encode(rows[start : start + batch_size])
        parts.append(tfd.Normal(q.mean(), q.stddev()).kl_divergence(prior).numpy())
    return np.concatenate(parts).mean(axis=0)
