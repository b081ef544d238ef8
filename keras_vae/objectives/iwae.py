"""The importance-weighted bound."""

import dataclasses
import math

import keras
import tensorflow as tf

from keras_vae.arguments import positive_integer
from keras_vae.objectives.objective import Objective, Terms


@keras.saving.register_keras_serializable(package="keras_vae")
@dataclasses.dataclass(frozen=True)
class IWAE(Objective):
    """`E[log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x)]`, `z_k ~ q(z|x)`, in nats per example.

    The ELBO at K = 1; it grows with K and tends to log p(x) (Burda et al. 2016). The
    gradient is the plain one, through the value that is reported.

    Args:
        num_samples: K.

    Raises:
        ValueError: if `num_samples` is not a positive integer.

    Example: `keras_vae.objectives.IWAE(num_samples=50)`

    References: Y. Burda, R. Grosse and R. Salakhutdinov, Importance Weighted Autoencoders,
    ICLR 2016.
    """

    num_samples: int = 5

    def __post_init__(self) -> None:
        count = positive_integer(self.num_samples, "num_samples", self, "the number of draws of z")
        object.__setattr__(self, "num_samples", count)

    def bound(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        log_weights = terms.log_likelihood + terms.log_prior - terms.log_posterior  # [K, B]
        return tf.reduce_logsumexp(log_weights, axis=0) - math.log(log_weights.shape[0])

    def beta_at(self, step: tf.Tensor | int) -> tf.Tensor | float:
        return 1.0

    def equation(self) -> str:
        return (
            rf"\mathbb{{E}}\left[\log \frac{{1}}{{{self.num_samples}}} \sum_{{k=1}}^{{{self.num_samples}}} "
            r"\frac{p(x|z_k)\,p(z_k)}{q(z_k|x)}\right],\quad z_k \sim q(z|x)"
        )
