"""The mean of several importance-weighted bounds."""

import dataclasses

import keras
import tensorflow as tf

from keras_vae.objectives.knobs import keep_groups, keep_samples, log_mean_exp, split_draws
from keras_vae.objectives.objective import Objective, Terms


@keras.saving.register_keras_serializable(package="keras_vae")
@dataclasses.dataclass(frozen=True)
class MIWAE(Objective):
    """`1/M sum_m log 1/L sum_l w_ml`, `w = p(x|z) p(z) / q(z|x)`, in nats per example.

    M independent importance-weighted bounds of L = K / M draws each: a lower bound on
    log p(x) that is as tight as one of L draws, with a gradient of the encoder that is
    less noisy than that of one bound of K draws (Rainforth et al. 2018). M = 1 is IWAE, M = K
    the ELBO with the sampled KL.

    Args:
        num_samples: K, all draws of z for an example.
        groups: M, a divisor of K.

    Raises:
        ValueError: if an argument is out of range, or M does not divide K.

    Example: `keras_vae.objectives.MIWAE(num_samples=64, groups=8)`

    References: T. Rainforth et al., Tighter Variational Bounds are Not Necessarily Better,
    ICML 2018.
    """

    num_samples: int = 6
    groups: int = 2

    def __post_init__(self) -> None:
        keep_samples(self)
        keep_groups(self, self.groups)

    def bound(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        by_group = log_mean_exp(split_draws(terms.log_weights, self.groups), axis=1)  # [M, B]
        return tf.reduce_mean(by_group, axis=0)

    def beta_at(self, step: tf.Tensor | int) -> float:
        return 1.0

    def equation(self) -> str:
        draws = self.num_samples // self.groups
        return (
            rf"\mathbb{{E}}\left[\frac{{1}}{{{self.groups}}} \sum_{{m=1}}^{{{self.groups}}} \log "
            rf"\frac{{1}}{{{draws}}} \sum_{{l=1}}^{{{draws}}} \frac{{p(x|z_{{ml}})\,p(z_{{ml}})}}"
            r"{q(z_{ml}|x)}\right],\quad z_{ml} \sim q(z|x)"
        )
