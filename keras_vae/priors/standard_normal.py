"""The prior that learns nothing."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions import normals
from keras_vae.priors.prior import Encode, Prior
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae")
class StandardNormal(Prior):
    """`p(z) = N(z; 0, I)`.

    No loss of generality for a flexible decoder, which can map it to any distribution
    (Kingma and Welling 2014).

    Args:
        latent_size: D.

    Raises:
        ValueError: if `latent_size` is not a positive integer.

    Example: `keras_vae.priors.StandardNormal(20)`

    References: D. P. Kingma and M. Welling, Auto-Encoding Variational Bayes, ICLR 2014.
    """

    def distribution(
        self, condition: tf.Tensor | None = None, encode: Encode | None = None
    ) -> tfd.Distribution:
        shape = (self.latent_size,)
        return normals.MultivariateNormalDiag(
            tf.zeros(shape, self.density_dtype), tf.ones(shape, self.density_dtype)
        )

    def statement(self) -> Statement:
        return self.stated(
            equation=r"p(z) = \mathcal{N}(z;\ 0,\ I)",
            parameters={"loc": "0", "scale": "1"},
            fixed=("loc", "scale"),
        )
