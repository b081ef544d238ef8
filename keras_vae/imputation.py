"""Missing values, filled in by self-normalised importance sampling.

With `z_k ~ q(z|x_o)` from what is observed of x, `w_k` proportional to
`p(x_o|z_k) p(z_k) / q(z_k|x_o)` and summing to one, the missing part has the mean
`E[x_m|x_o] ~ sum_k w_k E[x_m|z_k]`, and a draw of it is a draw of k with the weights as
probabilities, then of `p(x_m|z_k)`.

References: P.-A. Mattei and J. Frellsen, MIWAE: Deep Generative Modelling and Imputation of
Incomplete Data Sets, ICML 2019.
"""

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.likelihoods import Likelihood
from keras_vae.randomness import split_seed


def imputed(
    x: tf.Tensor,
    likelihood: Likelihood,
    x_given_z: tfd.Distribution,
    log_weights: tf.Tensor,
    seed: tf.Tensor | None = None,
) -> tf.Tensor:
    """x with its missing values filled in, `[B, *E]`.

    Args:
        x: `[B, *E]`, NaN where a value is missing.
        likelihood: which says what stands for a distribution.
        x_given_z: p(x|z_k), batch `[K, B]`.
        log_weights: log w_k up to a constant, `[K, B]`.
        seed: for a draw; None for the mean.
    """
    if seed is None:
        filling = likelihood.average(x_given_z, tf.nn.softmax(log_weights, axis=0))
    else:
        k_seed, x_seed = split_seed(seed)
        chosen = tfd.Categorical(logits=tf.transpose(log_weights)).sample(seed=k_seed)  # [B]
        draws = x_given_z.sample(seed=x_seed)  # [K, B, *E]
        filling = tf.gather_nd(draws, tf.stack([chosen, tf.range(tf.shape(chosen)[0])], 1))
    return tf.where(tf.math.is_nan(x), filling, x)
