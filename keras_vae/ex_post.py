"""A prior for sampling, fitted to the aggregate posterior after training."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.data.source import Source
from keras_vae.priors import ExPost, Prior

BATCH = 500


def fitted(
    encode: Callable[[Source], tfd.Distribution],
    source: Source,
    prior: Prior,
    num_components: int,
    seed: tf.Tensor,
) -> ExPost:
    """A mixture of Normals of maximum likelihood for one draw of q(z|x) for each x.

    Args:
        encode: x -> q(z|x).
        source: x.
        prior: whose latent size and precision it takes.
        num_components: of the mixture.
        seed: a stateless seed, of the draws and of the fit.
    """
    ex_post = ExPost(prior.latent_size, num_components, dtype=prior.dtype_policy)
    ex_post.build((None, prior.latent_size))
    draws = [
        encode(source[start : start + BATCH]).sample(seed=tf.random.fold_in(seed, start))
        for start in range(0, len(source), BATCH)
    ]
    ex_post.fit(np.concatenate(draws), seed=int(seed[0]) & 0xFFFFFFFF)
    return ex_post
