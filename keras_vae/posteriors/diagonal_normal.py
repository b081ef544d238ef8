"""q(z|x) with independent latent dimensions."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions import normals
from keras_vae.networks.projection import positive
from keras_vae.posteriors.posterior import Posterior
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae")
class DiagonalNormal(Posterior):
    """`q(z|x) = prod_d N(z_d; loc_d(x), scale_d(x)^2)`.

    The mean-field posterior of Kingma and Welling (2014). Its KL to a standard Normal is
    exact: `1/2 sum_d (scale_d^2 + loc_d^2 - 1 - log scale_d^2)` nats.

    Args:
        latent_size: D.

    Parameters: `loc` `[B, D]`; `scale_diag` `[B, D]`, `softplus` of a projection.

    Raises:
        ValueError: if `latent_size` is not a positive integer.

    Example: `keras_vae.posteriors.DiagonalNormal(20)`

    References: D. P. Kingma and M. Welling, Auto-Encoding Variational Bayes, ICLR 2014.
    """

    def projected(self) -> dict[str, tuple[int, ...]]:
        return {"loc": (self.latent_size,), "scale_diag": (self.latent_size,)}

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"loc": raw["loc"], "scale_diag": positive(raw["scale_diag"])}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        return normals.MultivariateNormalDiag(parameters["loc"], parameters["scale_diag"])

    def centre(self, distribution: tfd.Distribution) -> tf.Tensor:
        return distribution.loc  # `mean()` would have the scale computed too, for its shape

    def statement(self) -> Statement:
        return self.stated(
            equation=r"q(z|x) = \prod_{d} \mathcal{N}(z_d;\ \mathrm{loc}_d(x),\ \mathrm{scale}_d(x)^2)",
            parameters={
                "loc": "linear in the encoder's features",
                "scale_diag": "softplus of a linear function of the encoder's features",
            },
            learned=("loc(x)", "scale_diag(x)"),
            fixed=("no correlation between latent dimensions given x",),
        )
