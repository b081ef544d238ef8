"""q(z|x) with correlated latent dimensions."""

import keras
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from keras_vae.distributions import normals
from keras_vae.networks.projection import positive
from keras_vae.posteriors.posterior import Posterior
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae")
class FullCovarianceNormal(Posterior):
    """`q(z|x) = N(z; loc(x), L(x) L(x)^T)`, L lower triangular with a positive diagonal.

    Contains the exact posterior of every linear Gaussian model, which a diagonal family
    does only if the columns of the decoder are orthogonal (Tipping and Bishop 1999).
    Its KL to a standard Normal is exact:
    `1/2 (||L||_F^2 + ||loc||^2 - D) - sum_d log L_dd` nats. Costs D(D+1)/2 values an example.

    Args:
        latent_size: D.

    Parameters: `loc` `[B, D]`; `scale_tril` `[B, D, D]`.

    Raises:
        ValueError: if `latent_size` is not a positive integer.

    Example: `keras_vae.posteriors.FullCovarianceNormal(20)`

    References: M. E. Tipping and C. M. Bishop, Probabilistic Principal Component Analysis,
    JRSS B 1999.
    """

    def projected(self) -> dict[str, tuple[int, ...]]:
        triangle = self.latent_size * (self.latent_size + 1) // 2
        return {"loc": (self.latent_size,), "scale_tril": (triangle,)}

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        triangle = tfp.math.fill_triangular(raw["scale_tril"])
        diagonal = tf.linalg.diag(positive(tf.linalg.diag_part(triangle)))
        # Not set_diag: XLA has no gradient of it where the size of the batch is not known.
        below = triangle * (1 - tf.eye(self.latent_size, dtype=triangle.dtype))
        return {"loc": raw["loc"], "scale_tril": below + diagonal}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        return normals.MultivariateNormalTriL(parameters["loc"], parameters["scale_tril"])

    def centre(self, distribution: tfd.Distribution) -> tf.Tensor:
        return distribution.loc  # `mean()` would have the scale computed too, for its shape

    def statement(self) -> Statement:
        return self.stated(
            equation=r"q(z|x) = \mathcal{N}(z;\ \mathrm{loc}(x),\ L(x)\,L(x)^\top)",
            parameters={
                "loc": "linear in the encoder's features",
                "scale_tril": "L, linear in the encoder's features, its diagonal through softplus",
            },
            learned=("loc(x)", "L(x)"),
        )
