"""p(z) as a standard Normal that goes through coupling layers."""

import keras
from tensorflow_probability import bijectors as tfb

from keras_vae.distributions.affine_flows import AffineCoupling
from keras_vae.networks.conditioner import Conditioner
from keras_vae.priors.flow import NetworkFlow
from keras_vae.statement import Statement


# Registered under its slot: `posteriors.CouplingFlow` has the same name, and Keras keeps one of a name.
@keras.saving.register_keras_serializable(package="keras_vae.priors")
class CouplingFlow(NetworkFlow):
    """`z = f_T(...f_1(u))`, `u ~ N(0, I)`, a RealNVP.

    `f_t(a, b) = (a, b exp(s_t(a)) + m_t(a))`: one half of the dimensions moves by a shift and a
    scale that a network finds in the other half; the next layer exchanges the halves. Hence
    `log p(z) = log N(u; 0, I) - sum_t sum s_t`, in one pass of each network for a density as
    for a draw. `|s| <= 2`. Before training the layers are nearly the identity, and p(z)
    nearly a standard Normal. The KL is sampled.

    Args:
        latent_size: D, at least 2.
        layers: T, the number of coupling layers.
        units: the width of the two hidden layers of each network.

    Raises:
        ValueError: if an argument is not a positive integer, or `latent_size` is 1.

    Example: `keras_vae.priors.CouplingFlow(20, layers=4)`

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
                "Received: latent_size=1. For one dimension use another prior."
            )

    def network(self, index: int) -> keras.layers.Layer:
        still = self.latent_size // 2
        return Conditioner(still, self.latent_size - still, self.units, dtype=self.density_dtype)

    def bijector(self, index: int) -> tfb.Bijector:
        return AffineCoupling(
            self.networks[index], None, self.latent_size // 2, flipped=index % 2 == 1
        )

    def statement(self) -> Statement:
        return self.stated(
            equation=(
                r"p(z) = \mathcal{N}(u;\ 0,\ I) \prod_t \left|\det \frac{\partial f_t}{\partial u}"
                r"\right|^{-1},\quad f_t(a, b) = (a,\ b\, e^{s_t(a)} + m_t(a))"
            ),
            parameters={
                "m": "the shifts of each layer, a network's function of one half of z",
                "s": "the log scales of each layer, from the same network",
            },
            learned=("the networks of the layers",),
            fixed=(f"{self.num_layers} layers", "u is a standard Normal"),
        )
