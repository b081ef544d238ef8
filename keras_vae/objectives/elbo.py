"""The evidence lower bound, with a weight on the KL and free bits."""

import dataclasses

import keras
import tensorflow as tf

from keras_vae.arguments import is_real, positive_integer
from keras_vae.objectives.objective import Objective, Schedule, Terms


@keras.saving.register_keras_serializable(package="keras_vae")
@dataclasses.dataclass(frozen=True)
class ELBO(Objective):
    """`E_q[log p(x|z)] - beta max(free_bits, KL(q(z|x) || p(z)))`, in nats per example.

    With `beta = 1` and `free_bits = 0` the evidence lower bound of Kingma and Welling (2014):
    `log p(x) - KL(q(z|x) || p(z|x))`. `beta >= 1` (Higgins et al. 2017) or `free_bits > 0`
    leave a looser lower bound; `beta < 1` is no bound on log p(x) at all.

    Args:
        beta: the weight of the KL: a non-negative number, or a
            `keras.optimizers.schedules.LearningRateSchedule`, read at the optimizer's step.
        num_samples: K, the draws of z that the expectation is estimated with.
        free_bits: nats of KL per example that cost nothing, for the latent vector as one
            group (Kingma et al. 2016), so that no gradient pushes the KL below them. Where
            the KL is sampled, the maximum of its estimate is above that of its mean.

    Raises:
        ValueError: if an argument is out of range.

    Example: `keras_vae.objectives.ELBO(beta=4.0)`

    References: D. P. Kingma and M. Welling, Auto-Encoding Variational Bayes, ICLR 2014.
    I. Higgins et al., beta-VAE, ICLR 2017. D. P. Kingma et al., Improving Variational
    Inference with Inverse Autoregressive Flow, NeurIPS 2016 (free bits).
    """

    beta: float | Schedule = 1.0
    num_samples: int = 1
    free_bits: float = 0.0

    def __post_init__(self) -> None:
        count = positive_integer(self.num_samples, "num_samples", self, "the number of draws of z")
        if not isinstance(self.beta, Schedule) and not _is_weight(self.beta):
            raise ValueError(
                "`beta` of ELBO is the weight of the KL. Expected: a finite number >= 0, or a "
                f"keras.optimizers.schedules.LearningRateSchedule. Received: {self.beta!r}."
            )
        if not _is_weight(self.free_bits):
            raise ValueError(
                "`free_bits` of ELBO is in nats per example. Expected: a finite number >= 0. "
                f"Received: {self.free_bits!r}."
            )
        # NumPy's numbers are welcome and become Python's, which JSON knows.
        beta = self.beta if isinstance(self.beta, Schedule) else float(self.beta)
        for name, value in {
            "beta": beta,
            "num_samples": count,
            "free_bits": float(self.free_bits),
        }.items():
            object.__setattr__(self, name, value)

    def bound(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        kl = terms.kl  # a sampled one may be negative, so that clipping at 0 would be a bias
        if self.free_bits > 0:
            kl = tf.maximum(kl, tf.constant(self.free_bits, kl.dtype))
        return tf.reduce_mean(terms.log_likelihood, axis=0) - self._weight(step, kl.dtype) * kl

    def beta_at(self, step: tf.Tensor | int) -> tf.Tensor | float:
        return self.beta(step) if isinstance(self.beta, Schedule) else self.beta

    def _weight(self, step: tf.Tensor | int, dtype: tf.DType) -> tf.Tensor:
        beta = self.beta_at(step)
        return tf.cast(beta, dtype) if tf.is_tensor(beta) else tf.constant(beta, dtype)

    def equation(self) -> str:
        kl = r"\mathrm{KL}(q(z|x)\,\|\,p(z))"
        if self.free_bits:
            kl = rf"\max({self.free_bits:g},\ {kl})"
        weight = r"\beta_t\, " if isinstance(self.beta, Schedule) else f"{self.beta:g}\\, "
        weight = "" if self.beta == 1.0 else weight
        return rf"\mathbb{{E}}_{{q(z|x)}}[\log p(x|z)] - {weight}{kl}"


def _is_weight(value: object) -> bool:
    return is_real(value) and float(value) >= 0  # type: ignore[arg-type]
