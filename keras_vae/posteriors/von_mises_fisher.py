"""q(z|x) on the sphere."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions import sphere
from keras_vae.distributions import von_mises_fisher as vmf
from keras_vae.latents import SPHERE, require_sphere
from keras_vae.posteriors.posterior import Posterior
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae")
class VonMisesFisher(Posterior):
    """`q(z|x) = exp(kappa(x) <mu(x), z>) / Z(kappa(x))`, z and mu unit vectors.

    The Normal of the sphere, with one concentration kappa for all directions (Davidson et
    al. 2018). Its KL to `priors.UniformSphere` is exact and, unlike that of a Normal, says
    nothing about where on the sphere mu is: a whole sphere of means costs the same. The
    draws are by rejection, their gradient by kappa is unbiased in any dimension.

    Log densities and the KL are within 1e-5 of their size, in single precision.
    `posteriors.PowerSpherical` is much the same without rejection, and takes a third of the
    time.

    Args:
        latent_size: D, of the space that the sphere lies in.

    Parameters: `mean_direction` `[B, D]`, unit vectors; `concentration` `[B]`, `softplus` of a
    projection, bent to stay below 1e6.

    Raises:
        ValueError: if `latent_size` is not an integer of 2 or more.

    Example: `keras_vae.posteriors.VonMisesFisher(20)`

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

    def projected(self) -> dict[str, tuple[int, ...]]:
        return {"mean_direction": (self.latent_size,), "concentration": (1,)}

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {
            "mean_direction": sphere.direction(raw["mean_direction"]),
            "concentration": sphere.concentration(raw["concentration"][..., 0]),
        }

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        return vmf.VonMisesFisher(parameters["mean_direction"], parameters["concentration"])

    def centre(self, distribution: tfd.Distribution) -> tf.Tensor:
        """The mean direction: the mean itself lies inside the sphere, not on it."""
        return distribution.mean_direction

    def statement(self) -> Statement:
        return self.stated(
            equation=r"q(z|x) = \frac{\exp(\kappa(x)\, \mu(x)^\top z)}{Z(\kappa(x))},\quad \|z\| = \|\mu(x)\| = 1",
            parameters={
                "mean_direction": "mu, the direction of a linear function of the encoder's features",
                "concentration": "kappa, softplus of a linear function of the encoder's features",
            },
            learned=("mean_direction(x)", "concentration(x)"),
            fixed=("one concentration for all directions", "a concentration below 1e6"),
        )
