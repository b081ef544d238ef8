"""A Normal prior that training moves."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions import normals
from keras_vae.networks.projection import inverse_positive, positive
from keras_vae.priors.prior import Encode, Prior
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae")
class LearnedNormal(Prior):
    """`p(z) = prod_d N(z_d; loc_d, scale_d^2)`, loc and scale learned, from N(0, I) on.

    At the optimum its mean and variances are those of the aggregate posterior, the mean of
    q(z|x) over the data. With a decoder that begins with an affine map the model is no
    larger than with a standard Normal, only scaled otherwise. The KL of a Normal posterior
    to it is exact.

    Args:
        latent_size: D.

    Raises:
        ValueError: if `latent_size` is not a positive integer.

    Example: `keras_vae.priors.LearnedNormal(20)`
    """

    def build(self, input_shape: tuple[int | None, ...], condition_size: int = 0) -> None:
        shape = (self.latent_size,)
        one = keras.initializers.Constant(float(inverse_positive(1.0)))
        self.loc = self.add_weight(shape, initializer="zeros", name="loc")
        self.raw_scale = self.add_weight(shape, initializer=one, name="raw_scale")
        self.built = True

    def distribution(
        self, condition: tf.Tensor | None = None, encode: Encode | None = None
    ) -> tfd.Distribution:
        return normals.MultivariateNormalDiag(
            tf.cast(self.loc, self.density_dtype),
            positive(tf.cast(self.raw_scale, self.density_dtype)),
        )

    def statement(self) -> Statement:
        return self.stated(
            equation=r"p(z) = \prod_{d} \mathcal{N}(z_d;\ \mathrm{loc}_d,\ \mathrm{scale}_d^2)",
            parameters={"loc": "learned, first 0", "scale_diag": "learned, first 1"},
            learned=("loc", "scale_diag"),
            fixed=("no correlation between latent dimensions",),
        )
