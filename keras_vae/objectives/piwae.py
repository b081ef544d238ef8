"""One bound for the decoder, another for the encoder."""

import dataclasses

import keras
import tensorflow as tf

from keras_vae.objectives.knobs import keep_groups, keep_samples, log_mean_exp, split_draws
from keras_vae.objectives.objective import Objective, Terms

# e^30 keeps seven digits in float32 and thirteen in float64, and does not overflow.
LARGEST_LOG_RATIO = 30.0


@keras.saving.register_keras_serializable(package="keras_vae")
@dataclasses.dataclass(frozen=True)
class PIWAE(Objective):
    """`log 1/K sum_k w_k`, `w = p(x|z) p(z) / q(z|x)`, in nats per example, as IWAE.

    The value, and the gradient of the decoder and of the prior, are those of IWAE with K
    draws; q(z|x) follows the gradient of MIWAE, the mean of M bounds of K / M draws each,
    because a tighter bound teaches the decoder better and the encoder worse (Rainforth et
    al. 2018). In `mixed_float16` the weights of draws that are e^9 times worse than the best
    are lost to the encoder, since they pass through the decoder's half precision.

    Args:
        num_samples: K, all draws of z for an example.
        groups: M, a divisor of K.

    Raises:
        ValueError: if an argument is out of range, or M does not divide K.

    Example: `keras_vae.objectives.PIWAE(num_samples=64, groups=8)`

    References: T. Rainforth et al., Tighter Variational Bounds are Not Necessarily Better,
    ICML 2018.
    """

    num_samples: int = 6
    groups: int = 2

    def __post_init__(self) -> None:
        keep_samples(self)
        keep_groups(self, self.groups)

    def bound(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        return log_mean_exp(terms.log_weights)

    @property
    def differentiates_bound(self) -> bool:
        return False

    def surrogate(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        """`sum_k w_k log p(x, z_k) / q(z_k|x) - v_k score`, of the weights of the two bounds.

        The weights are constants, `w` those of IWAE, `v` those of MIWAE. What reaches z_k
        with `w_k` is multiplied by `v_k / w_k`, the path weight.
        """
        by_group = split_draws(terms.log_weights, self.groups)
        v = tf.reshape(tf.nn.softmax(by_group, axis=1), tf.shape(terms.log_weights)) / self.groups
        w = v * tf.exp(-self._log_ratio(terms))
        w, v = tf.stop_gradient(w), tf.stop_gradient(v)
        path = terms.without_score().log_weights
        return tf.reduce_sum(w * path - v * terms.score(), axis=0)

    def path_weight(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        return tf.exp(self._log_ratio(terms))

    def _log_ratio(self, terms: Terms) -> tf.Tensor:
        """`log v_k / w_k`, `[K, B]`: the same for all draws of a group.

        At most 30, so that w_k never underflows: the decoder then gets e^-30 of the gradient
        of a draw that should have had none.
        """
        by_group = log_mean_exp(split_draws(terms.log_weights, self.groups), axis=1)  # [M, B]
        ratio = tf.minimum(log_mean_exp(terms.log_weights) - by_group, LARGEST_LOG_RATIO)
        return tf.repeat(ratio, self.num_samples // self.groups, axis=0)

    def beta_at(self, step: tf.Tensor | int) -> float:
        return 1.0

    def equation(self) -> str:
        return (
            rf"\mathbb{{E}}\left[\log \frac{{1}}{{{self.num_samples}}} \sum_{{k=1}}^{{{self.num_samples}}} "
            r"\frac{p(x|z_k)\,p(z_k)}{q(z_k|x)}\right],\quad z_k \sim q(z|x)"
        )

    def estimator(self) -> str:
        return (
            "reparameterisation: for decoder and prior the gradient of the value that is reported, "
            f"for q(z|x) that of the mean of {self.groups} bounds of "
            f"{self.num_samples // self.groups} draws each"
        )
