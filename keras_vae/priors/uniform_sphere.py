"""The prior that prefers no direction."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.latents import SPHERE, require_sphere
from keras_vae.priors.prior import Encode, Prior
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae")
class UniformSphere(Prior):
    """`p(z) = Gamma(D/2) / (2 pi^(D/2))`, one over the area of the unit sphere in D dimensions.

    Unlike the standard Normal it has no centre that draws all posteriors to it (Davidson et
    al. 2018). For `posteriors.VonMisesFisher` and `posteriors.PowerSpherical`.

    Args:
        latent_size: D, of the space that the sphere lies in.

    Raises:
        ValueError: if `latent_size` is not an integer of 2 or more.

    Example: `keras_vae.priors.UniformSphere(20)`

    References: T. R. Davidson, L. Falorsi, N. De Cao, T. Kipf and J. M. Tomczak,
    Hyperspherical Variational Auto-Encoders, UAI 2018.
    """

    def __init__(
        self,
        latent_size: int,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(latent_size, name=name, dtype=dtype, trainable=trainable)
        require_sphere(self.latent_size, self)

    @property
    def support(self) -> str:
        return SPHERE

    def distribution(
        self, condition: tf.Tensor | None = None, encode: Encode | None = None
    ) -> tfd.Distribution:
        return tfd.SphericalUniform(self.latent_size, dtype=tf.as_dtype(self.density_dtype))

    def statement(self) -> Statement:
        return self.stated(
            equation=r"p(z) = \frac{\Gamma(D/2)}{2 \pi^{D/2}},\quad \|z\| = 1",
            parameters={"density": "one over the area of the sphere"},
            fixed=("density",),
        )
