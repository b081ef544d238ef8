"""q(z|x) with several modes."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import positive_integer
from keras_vae.distributions.normal_mixture import NormalMixture
from keras_vae.networks.projection import positive
from keras_vae.posteriors.posterior import Posterior
from keras_vae.statement import Statement


# Registered under its slot: `priors.MixtureOfNormals` has the same name, and Keras keeps one of a name.
@keras.saving.register_keras_serializable(package="keras_vae.posteriors")
class MixtureOfNormals(Posterior):
    """`q(z|x) = sum_c w_c(x) prod_d N(z_d; loc_cd(x), scale_cd(x)^2)`, `w = softmax(logits)`.

    A draw is a differentiable function of the weights too, by implicit reparameterisation:
    with F the conditional distribution functions of z, one dimension after another,
    `F(z; parameters)` is uniform whatever the parameters, hence
    `dz = -(dF/dz)^-1 dF/dparameters` (Figurnov et al. 2018). There is no second
    derivative of a draw: asking for it is an error. The KL is sampled.

    Args:
        latent_size: D.
        components: C, the number of Normals.

    Parameters: `logits` `[B, C]`; `loc` `[B, C, D]`; `scale_diag` `[B, C, D]`, `softplus` of
        a projection.

    Raises:
        ValueError: if `latent_size` or `components` is not a positive integer.

    Example: `keras_vae.posteriors.MixtureOfNormals(20, components=4)`

    References: M. Figurnov, S. Mohamed and A. Mnih, Implicit Reparameterization Gradients,
    NeurIPS 2018.
    """

    def __init__(
        self,
        latent_size: int,
        components: int = 2,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(latent_size, name=name, dtype=dtype, trainable=trainable)
        self.components = positive_integer(
            components, "components", self, "the number of Normals in the mixture"
        )

    def projected(self) -> dict[str, tuple[int, ...]]:
        vectors = (self.components, self.latent_size)
        return {"logits": (self.components,), "loc": vectors, "scale_diag": vectors}

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {**raw, "scale_diag": positive(raw["scale_diag"])}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        return NormalMixture(parameters["logits"], parameters["loc"], parameters["scale_diag"])

    def statement(self) -> Statement:
        return self.stated(
            equation=(
                r"q(z|x) = \sum_{c} w_c(x) \prod_{d} \mathcal{N}(z_d;\ \mathrm{loc}_{cd}(x),"
                r"\ \mathrm{scale}_{cd}(x)^2)"
            ),
            parameters={
                "logits": "linear in the encoder's features; w is their softmax",
                "loc": "linear in the encoder's features",
                "scale_diag": "softplus of a linear function of the encoder's features",
            },
            learned=("w(x)", "loc(x)", "scale(x)"),
            fixed=(
                f"{self.components} components",
                "no correlation between latent dimensions within a component",
            ),
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "components": self.components}
