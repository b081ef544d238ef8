"""A prior with several modes."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import positive_integer
from keras_vae.distributions.normal_mixture import NormalMixture
from keras_vae.networks.projection import inverse_positive, positive
from keras_vae.priors.prior import Encode, Prior
from keras_vae.statement import Statement


# Registered under its slot: `posteriors.MixtureOfNormals` has the same name, and Keras keeps one of a name.
@keras.saving.register_keras_serializable(package="keras_vae.priors")
class MixtureOfNormals(Prior):
    """`p(z) = sum_k pi_k prod_d N(z_d; loc_kd, scale_kd^2)`, all of it learned.

    The weights start equal, the scales at 1, and the locs as draws from N(0, I): equal
    components would have equal gradients and stay one for ever. The KL is sampled.

    Args:
        latent_size: D.
        components: the number of Normals.

    Raises:
        ValueError: if `latent_size` or `components` is not a positive integer.

    Example: `keras_vae.priors.MixtureOfNormals(20, components=10)`

    References: N. Dilokthanakul et al., Deep Unsupervised Clustering with Gaussian Mixture
    Variational Autoencoders, 2016. J. M. Tomczak and M. Welling, VAE with a VampPrior,
    AISTATS 2018 (a mixture of Gaussians as the baseline).
    """

    def __init__(
        self,
        latent_size: int,
        components: int = 10,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(latent_size, name=name, dtype=dtype, trainable=trainable)
        self.components = positive_integer(
            components, "components", self, "the number of Normals in the mixture"
        )

    def build(self, input_shape: tuple[int | None, ...], condition_size: int = 0) -> None:
        shape = (self.components, self.latent_size)
        spread = keras.initializers.RandomNormal(stddev=1.0)
        one = keras.initializers.Constant(float(inverse_positive(1.0)))
        self.logits = self.add_weight((self.components,), initializer="zeros", name="logits")
        self.loc = self.add_weight(shape, initializer=spread, name="loc")
        self.raw_scale = self.add_weight(shape, initializer=one, name="raw_scale")
        self.built = True

    def distribution(
        self, condition: tf.Tensor | None = None, encode: Encode | None = None
    ) -> tfd.Distribution:
        return NormalMixture(
            tf.cast(self.logits, self.density_dtype),
            tf.cast(self.loc, self.density_dtype),
            positive(tf.cast(self.raw_scale, self.density_dtype)),
        )

    def statement(self) -> Statement:
        return self.stated(
            equation=(
                r"p(z) = \sum_{k} \pi_k \prod_{d} "
                r"\mathcal{N}(z_d;\ \mathrm{loc}_{kd},\ \mathrm{scale}_{kd}^2)"
            ),
            parameters={
                "logits": "learned, log of the weights pi up to a constant, first equal",
                "loc": "learned, first random",
                "scale_diag": "learned, first 1",
            },
            learned=("logits", "loc", "scale_diag"),
            fixed=(f"{self.components} components",),
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "components": self.components}
