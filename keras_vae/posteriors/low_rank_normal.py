"""q(z|x) with a few directions of correlation between latent dimensions."""

import math

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import positive_integer
from keras_vae.networks.projection import positive
from keras_vae.posteriors.posterior import Posterior
from keras_vae.statement import Statement

# The condition number of I + V^T V stays below its square, so that a Cholesky
# factorisation in float32 never meets a pivot that rounding made negative.
LARGEST_RATIO = 1e3


@keras.saving.register_keras_serializable(package="keras_vae")
class LowRankNormal(Posterior):
    """`q(z|x) = N(z; loc(x), diag(d(x))^2 + U(x) U(x)^T)`, U of `rank` columns.

    Between the diagonal and the full covariance: `D (rank + 2)` values an example, and
    densities in `O(D rank^2)`. Its KL to a Normal with diagonal covariance is exact, by the
    matrix determinant lemma.

    U is `diag(d) V` with `V = c tanh(raw / c)`, `c = 1000 / sqrt(D rank)`: no direction is
    more than a thousand times as wide as the diagonal makes it, or the covariance could
    not be factorised in single precision. For ordinary values V is linear in the features.
    XLA cannot compile its training: `compile` says so and goes on without.

    Args:
        latent_size: D.
        rank: the number of columns of U, at most D.

    Parameters: `loc` `[B, D]`; `cov_diag_factor` `[B, D]`, the variances `d^2`, where d is
        softplus of a projection; `cov_perturb_factor` `[B, D, rank]`, U.

    Raises:
        ValueError: if `latent_size` or `rank` is not a positive integer, or `rank` is more
            than `latent_size`.

    Example: `keras_vae.posteriors.LowRankNormal(20, rank=2)`

    References: D. J. Rezende, S. Mohamed and D. Wierstra, Stochastic Backpropagation and
    Approximate Inference in Deep Generative Models, ICML 2014 (there of the precision, of
    rank one).
    """

    xla = False  # no gradient of TFP's density where the size of the batch is not known

    def __init__(
        self,
        latent_size: int,
        rank: int = 1,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(latent_size, name=name, dtype=dtype, trainable=trainable)
        self.rank = positive_integer(rank, "rank", self, "the number of columns of U")
        if self.rank > self.latent_size:
            raise ValueError(
                "`rank` of LowRankNormal is the number of columns of U. Expected: at most "
                f"latent_size={self.latent_size}. Received: rank={rank}. For a covariance "
                "without structure use FullCovarianceNormal."
            )

    def projected(self) -> dict[str, tuple[int, ...]]:
        return {
            "loc": (self.latent_size,),
            "cov_diag_factor": (self.latent_size,),
            "cov_perturb_factor": (self.latent_size, self.rank),
        }

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        scale_diag = positive(raw["cov_diag_factor"])
        bound = LARGEST_RATIO / math.sqrt(self.latent_size * self.rank)
        ratio = bound * tf.tanh(raw["cov_perturb_factor"] / bound)
        return {
            "loc": raw["loc"],
            "cov_diag_factor": scale_diag**2,
            "cov_perturb_factor": scale_diag[..., None] * ratio,
        }

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        return tfd.MultivariateNormalDiagPlusLowRankCovariance(
            parameters["loc"], parameters["cov_diag_factor"], parameters["cov_perturb_factor"]
        )

    def centre(self, distribution: tfd.Distribution) -> tf.Tensor:
        return distribution.loc  # `mean()` would have the scale computed too, for its shape

    def statement(self) -> Statement:
        return self.stated(
            equation=r"q(z|x) = \mathcal{N}(z;\ \mathrm{loc}(x),\ \mathrm{diag}(d(x))^2 + U(x)\,U(x)^\top)",
            parameters={
                "loc": "linear in the encoder's features",
                "cov_diag_factor": "d^2, d softplus of a linear function of the encoder's features",
                "cov_perturb_factor": "U = diag(d) V, V linear in the encoder's features, bounded",
            },
            learned=("loc(x)", "d(x)", "U(x)"),
            fixed=(f"z given x correlates in {self.rank} direction(s)",),
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "rank": self.rank}


@tfd.RegisterKL(tfd.MultivariateNormalDiagPlusLowRankCovariance, tfd.MultivariateNormalDiag)
def _kl_low_rank_diagonal(
    q: tfd.MultivariateNormalDiagPlusLowRankCovariance,
    p: tfd.MultivariateNormalDiag,
    name: str | None = None,
) -> tf.Tensor:
    """`1/2 (tr(P^-1 Q) + |P^-1/2 (loc_q - loc_p)|^2 - D + log det P - log det Q)`, `[B]`.

    Q and P are the covariances; the operator finds `log det Q` by the determinant lemma.
    """
    with tf.name_scope(name or "kl_low_rank_diagonal"):
        scale = p.stddev()
        ratio = q.variance() / scale**2
        distance = ((q.mean() - p.mean()) / scale) ** 2
        log_determinants = 2 * tf.math.log(scale) + tf.zeros_like(ratio)
        summed = tf.reduce_sum(ratio + distance - 1 + log_determinants, axis=-1)
        return (summed - q.cov_operator.log_abs_determinant()) / 2
