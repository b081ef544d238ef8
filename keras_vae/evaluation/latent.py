"""What the latent dimensions are used for."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import divergences
from keras_vae.vae import VAE

DRAWS = 10  # of z for each x, where a KL has no closed form


def latent_means(vae: VAE, x: Any, batch_size: int = 500) -> np.ndarray:
    """The centre of q(z|x), its mean where it has one, for each x, `[N, D]`."""
    q = _posteriors(vae, x, batch_size)
    return np.concatenate([vae.posterior.centre(part).numpy() for part in q])


def kl_per_dimension(vae: VAE, x: Any, batch_size: int = 500, seed: int = 0) -> np.ndarray:
    """The mean over x of KL(q(z_d|x) || p(z_d)), `[D]`, in nats; sampled where it must be.

    Raises:
        NotImplementedError: if the dimensions of q(z|x), or of p(z), are not independent: what
            correlations cost has no dimension to be booked on.
    """
    source = vae.likelihood.as_source(x)
    parts = []
    for start in range(0, len(source), batch_size):
        some = source[start : start + batch_size]
        q, p = vae.latents(some)
        z = q.sample(DRAWS, seed=tf.constant([seed, start]))
        parts.append(divergences.kl_per_dimension(q, p, z).numpy())
    return np.concatenate(parts).mean(axis=0)


def _posteriors(vae: VAE, x: Any, batch_size: int) -> Iterator[tfd.Distribution]:
    source = vae.likelihood.as_source(x)
    for start in range(0, len(source), batch_size):
        yield vae.encode(source[start : start + batch_size])
