"""KL(q || p): exact where TFP has a closed form, else sampled."""

import tensorflow as tf
from tensorflow_probability import distributions as tfd


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
