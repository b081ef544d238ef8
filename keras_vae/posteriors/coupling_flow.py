"""q(z|x) as a Normal that goes through coupling layers."""

import keras
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from keras_vae.distributions.affine_flows import AffineCoupling
from keras_vae.networks.conditioner import Conditioner
from keras_vae.posteriors.flow import NetworkFlow
from keras_vae.statement import Statement


# Registered under its slot: `priors.CouplingFlow` has the same name, and Keras keeps one of a name.
@keras.saving.register_keras_serializable(package="keras_vae.posteriors")
class CouplingFlow(NetworkFlow):
    """`z = f_T(...f_1(u; x)...; x)`, `u ~ N(loc(x), diag(scale_diag(x))^2)`, a RealNVP.

    `f_t(a, b) = (a, b exp(s_t(a, x)) + m_t(a, x))`: one half of the dimensions moves by a
    shift and a scale that a network finds in the other half and in x; the next layer
    exchanges the halves. Hence
    `log q(z|x) = log N(u; loc, scale_diag) - sum_t sum s_t`, in one pass of each network for
    a draw as for a density. `|s| <= 2`. Before training the layers are nearly the identity.
    The KL is sampled.

    Args:
        latent_size: D, at least 2.
        layers: T, the number of coupling layers.
        units: the width of the two hidden layers of each network, and of the context.

    Parameters: `loc` `[B, D]`; `scale_diag` `[B, D]`, `softplus` of a projection; `context`
        `[B, units]`.

    Raises:
        ValueError: if an argument is not a positive integer, or `latent_size` is 1.

    Example: `keras_vae.posteriors.CouplingFlow(20, layers=4)`

    References: L. Dinh, J. Sohl-Dickstein and S. Bengio, Density Estimation using Real NVP,
    ICLR 2017.
    """

    def __init__(
        self,
        latent_size: int,
        layers: int = 4,
        units: int = 64,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(latent_size, layers, units, name=name, dtype=dtype, trainable=trainable)
        if self.latent_size == 1:
            raise ValueError(
                "`latent_size` of CouplingFlow is split into two halves. Expected: at least 2. "
                "Received: latent_size=1. For one dimension use PlanarFlow or MixtureOfNormals."
            )

    def network(self, index: int) -> keras.layers.Layer:
        still = self.latent_size // 2
        return Conditioner(still, self.latent_size - still, self.units, dtype=self.density_dtype)

    def bijector(self, index: int, context: tf.Tensor) -> tfb.Bijector:
        return AffineCoupling(
            self.networks[index], context, self.latent_size // 2, flipped=index % 2 == 1
        )

    def statement(self) -> Statement:
        return self.stated_flow(
            equation=(
                r"q(z|x) = \mathcal{N}(u;\ \mathrm{loc}(x),\ \mathrm{scale}(x)^2) \prod_t "
                r"\left|\det \frac{\partial f_t}{\partial u}\right|^{-1},\quad "
                r"f_t(a, b) = (a,\ b\, e^{s_t(a, x)} + m_t(a, x))"
            ),
            fixed=("each moves one half of the dimensions by a function of the other",),
        )
