"""The variational Renyi bound."""

import dataclasses

import keras
import tensorflow as tf

from keras_vae.arguments import is_real
from keras_vae.objectives.knobs import keep, keep_samples
from keras_vae.objectives.objective import Objective, Terms


@keras.saving.register_keras_serializable(package="keras_vae")
@dataclasses.dataclass(frozen=True)
class Renyi(Objective):
    """`1 / (1 - alpha) log 1/K sum_k w_k^(1 - alpha)`, `w = p(x|z) p(z) / q(z|x)`, in nats.

    As K grows it tends to `log p(x)` less the Renyi divergence of order alpha between q(z|x)
    and p(z|x) (Li and Turner 2016), which decreases in alpha: to the ELBO at alpha = 1 (here
    the limit, with the sampled KL), log p(x) at alpha = 0, and more than log p(x) for
    alpha < 0. From K draws it is the ELBO at K = 1 whatever alpha, IWAE at alpha = 0, and for
    every alpha >= 0 a lower bound on log p(x), at most that of IWAE. For alpha < 0 it is no
    bound: above log p(x) with enough draws, below it with few.

    Args:
        alpha: the order, any number.
        num_samples: K.

    Raises:
        ValueError: if an argument is out of range.

    Example: `keras_vae.objectives.Renyi(alpha=0.5, num_samples=50)`

    References: Y. Li and R. E. Turner, Renyi Divergence Variational Inference, NeurIPS 2016.
    """

    alpha: float = 0.5
    num_samples: int = 5

    def __post_init__(self) -> None:
        keep_samples(self)
        if not is_real(self.alpha):
            raise ValueError(
                "`alpha` of Renyi is the order of the divergence. Expected: a finite number. "
                f"Received: {self.alpha!r}."
            )
        keep(self, alpha=float(self.alpha))

    def bound(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        log_weights = terms.log_weights
        mean = tf.reduce_mean(log_weights, axis=0)
        if self.alpha == 1:
            return mean
        # About the mean, and by expm1 and log1p: all digits are kept as alpha nears 1.
        mean = tf.stop_gradient(mean)
        powers = (1 - self.alpha) * (log_weights - mean)
        largest = tf.stop_gradient(tf.reduce_max(powers, axis=0))
        excess = tf.reduce_mean(tf.math.expm1(powers - largest), axis=0)
        return mean + (largest + tf.math.log1p(excess)) / (1 - self.alpha)

    def beta_at(self, step: tf.Tensor | int) -> float:
        return 1.0

    def is_lower_bound(self, step: tf.Tensor | int) -> bool:
        return self.alpha >= 0 or self.num_samples == 1

    def equation(self) -> str:
        if self.alpha == 1:
            return r"\mathbb{E}_{q(z|x)}[\log p(x|z) + \log p(z) - \log q(z|x)]"
        power = f"{1 - self.alpha:g}"
        return (
            rf"\frac{{1}}{{{power}}} \mathbb{{E}}\left[\log \frac{{1}}{{{self.num_samples}}} "
            rf"\sum_{{k=1}}^{{{self.num_samples}}} \left(\frac{{p(x|z_k)\,p(z_k)}}{{q(z_k|x)}}"
            rf"\right)^{{{power}}}\right],\quad z_k \sim q(z|x)"
        )
