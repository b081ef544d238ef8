"""A mean of the ELBO and the importance-weighted bound."""

import dataclasses

import keras
import tensorflow as tf

from keras_vae.objectives.knobs import keep_samples, keep_weight, log_mean_exp
from keras_vae.objectives.objective import Objective, Terms


@keras.saving.register_keras_serializable(package="keras_vae")
@dataclasses.dataclass(frozen=True)
class CIWAE(Objective):
    """`beta ELBO + (1 - beta) IWAE_K`, from the same K draws of z, in nats per example.

    A lower bound on log p(x) between the two. The ELBO's share keeps a signal for the
    encoder that the importance-weighted bound loses as K grows (Rainforth et al. 2018). The
    KL in the ELBO is sampled.

    Args:
        num_samples: K.
        beta: the ELBO's share, in [0, 1]: not the weight of the KL, which is 1.

    Raises:
        ValueError: if an argument is out of range.

    Example: `keras_vae.objectives.CIWAE(num_samples=64, beta=0.05)`

    References: T. Rainforth et al., Tighter Variational Bounds are Not Necessarily Better,
    ICML 2018.
    """

    num_samples: int = 5
    beta: float = 0.5

    def __post_init__(self) -> None:
        keep_samples(self)
        keep_weight(self, "beta", "the share of the ELBO, at most 1")
        if self.beta > 1:
            raise ValueError(
                "`beta` of CIWAE is the share of the ELBO. Expected: a number in [0, 1]. "
                f"Received: {self.beta!r}."
            )

    def bound(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        elbo = tf.reduce_mean(terms.log_weights, axis=0)
        return self.beta * elbo + (1 - self.beta) * log_mean_exp(terms.log_weights)

    def beta_at(self, step: tf.Tensor | int) -> float:
        return 1.0

    def equation(self) -> str:
        return (
            rf"\mathbb{{E}}\left[\frac{{{self.beta:g}}}{{K}} \sum_k \log w_k + {1 - self.beta:g} "
            rf"\log \frac{{1}}{{K}} \sum_k w_k\right],\quad w_k = \frac{{p(x|z_k)\,p(z_k)}}{{q(z_k|x)}},"
            rf"\quad z_k \sim q(z|x),\quad K = {self.num_samples}"
        )
