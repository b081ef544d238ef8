"""The ELBO less the distance of the covariance of q(z) from the identity."""

import dataclasses

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.divergences import factors
from keras_vae.objectives.coordinates import require_reals
from keras_vae.objectives.knobs import keep_samples, keep_weight, require_choice
from keras_vae.objectives.objective import Densities, Objective, Terms
from keras_vae.posteriors import Posterior
from keras_vae.priors import Prior


@keras.saving.register_keras_serializable(package="keras_vae")
@dataclasses.dataclass(frozen=True)
class DIPVAE(Objective):
    """`ELBO - lambda_offdiagonal sum_{i != j} C_ij^2 - lambda_diagonal sum_i (C_ii - 1)^2`, in nats.

    With `kind = "i"` C is the covariance over the data of the mean of q(z|x), with `"ii"` that
    of `q(z) = E_x[q(z|x)]`, `Cov[mean] + E[Cov(z|x)]`: the aggregate of the posteriors is
    drawn to independent dimensions of variance 1, as a standard Normal prior has them (Kumar
    et al. 2018). The penalty is not negative, so this is a lower bound on log p(x), a looser
    one.

    The covariances are those of the batch on one device, their sums divided by B; the
    penalty of the batch is taken off each example.

    Args:
        lambda_offdiagonal: the weight of the squared covariances.
        lambda_diagonal: the weight of the squared distances of the variances from 1. Kumar et
            al. take it ten times `lambda_offdiagonal` for `"i"` and equal to it for `"ii"`.
        kind: `"i"` or `"ii"`.
        num_samples: K.

    Raises:
        ValueError: if an argument is out of range; in the first step, if q(z|x) has no mean
            or covariance in closed form.

    Example: `keras_vae.objectives.DIPVAE(lambda_offdiagonal=10.0, lambda_diagonal=100.0)`

    References: A. Kumar, P. Sattigeri and A. Balakrishnan, Variational Inference of
    Disentangled Latent Concepts from Unlabeled Observations, ICLR 2018.
    """

    lambda_offdiagonal: float
    lambda_diagonal: float
    kind: str = "i"
    num_samples: int = 1

    aggregates = True

    def __post_init__(self) -> None:
        keep_samples(self)
        keep_weight(self, "lambda_offdiagonal", "the weight of the squared covariances")
        keep_weight(self, "lambda_diagonal", "the weight of the variances' distance from 1")
        require_choice(self, "kind", ("i", "ii"))

    def bound(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        covariance = self._covariance(terms.q)
        variances = tf.linalg.diag_part(covariance)
        covariances = tf.linalg.set_diag(covariance, tf.zeros_like(variances))
        penalty = self.lambda_offdiagonal * tf.reduce_sum(covariances**2)
        penalty += self.lambda_diagonal * tf.reduce_sum((variances - 1) ** 2)
        return tf.reduce_mean(terms.log_likelihood, axis=0) - terms.kl - penalty

    def _covariance(self, q: tfd.Distribution) -> tf.Tensor:
        """C, `[D, D]`."""
        try:
            mean = q.mean()
            within = covariance_of(q) if self.kind == "ii" else None
        except NotImplementedError as error:
            raise ValueError(
                "DIPVAE needs the mean of q(z|x), and for kind='ii' its covariance, in closed "
                f"form. Expected: a Normal posterior, or another that has them. Received: {error}"
            ) from error
        centred = mean - tf.reduce_mean(mean, axis=0)
        count = tf.cast(tf.shape(mean)[0], mean.dtype)
        between = tf.linalg.matmul(centred, centred, transpose_a=True) / count
        return between if within is None else between + tf.reduce_mean(within, axis=0)

    def require_densities(self, densities: Densities) -> None:
        self._covariance(densities()[0])

    def beta_at(self, step: tf.Tensor | int) -> float:
        return 1.0

    def equation(self) -> str:
        covariance = r"\mathrm{Cov}_x[\mathbb{E}_{q(z|x)}[z]]"
        if self.kind == "ii":
            covariance += r" + \mathbb{E}_x[\mathrm{Cov}_{q(z|x)}[z]]"
        return (
            r"\mathbb{E}_{q(z|x)}[\log p(x|z)] - \mathrm{KL}(q(z|x)\,\|\,p(z)) - "
            rf"{self.lambda_offdiagonal:g} \sum_{{i \neq j}} C_{{ij}}^2 - {self.lambda_diagonal:g} "
            rf"\sum_i (C_{{ii}} - 1)^2,\quad C = {covariance}"
        )

    def require(self, posterior: Posterior, prior: Prior) -> None:
        super().require(posterior, prior)
        require_reals(self, posterior)


def covariance_of(q: tfd.Distribution) -> tf.Tensor:
    """The covariance of z given x, `[B, D, D]`: TFP has none for some independent dimensions.

    Raises:
        NotImplementedError: if it is not known in closed form.
    """
    try:
        factors(q)
    except NotImplementedError:
        return q.covariance()
    return tf.linalg.diag(q.variance())
