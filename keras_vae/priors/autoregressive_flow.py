"""p(z) as a standard Normal that goes through autoregressive layers."""

import keras
from tensorflow_probability import bijectors as tfb

from keras_vae.distributions.affine_flows import AffineAutoregressive
from keras_vae.networks.conditioner import Conditioner
from keras_vae.priors.flow import NetworkFlow
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae")
class AutoregressiveFlow(NetworkFlow):
    """`z = f_T(...f_1(u))`, `u ~ N(0, I)`, a masked autoregressive flow (MAF).

    `f_t^-1(z)_d = z_d exp(s_td(z_<d)) + m_td(z_<d)`: the shift and the scale of a dimension are
    what a masked network (MADE) finds in the dimensions before it; every other layer takes
    them in reverse order. Each conditional of a layer, of z_d given z_<d, is the Normal
    `N(-m exp(-s), exp(-s)^2)`. Hence
    `log p(z) = log N(u; 0, I) + sum_t sum_d s_td`, in one pass of each network; a draw takes
    D passes, one after another. `|s| <= 2`. Before training p(z) is nearly a standard
    Normal. The KL is sampled.

    Args:
        latent_size: D.
        layers: T, the number of autoregressive layers.
        units: the width of the two hidden layers of each network.

    Raises:
        ValueError: if an argument is not a positive integer.

    Example: `keras_vae.priors.AutoregressiveFlow(20, layers=2)`

    References: G. Papamakarios, T. Pavlakou and I. Murray, Masked Autoregressive Flow for
    Density Estimation, NeurIPS 2017.
    """

    def __init__(
        self,
        latent_size: int,
        layers: int = 2,
        units: int = 64,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(latent_size, layers, units, name=name, dtype=dtype, trainable=trainable)

    def network(self, index: int) -> keras.layers.Layer:
        size = self.latent_size
        order = tuple(range(size))
        return Conditioner(
            size,
            size,
            self.units,
            order=order[::-1] if index % 2 else order,
            dtype=self.density_dtype,
        )

    def bijector(self, index: int) -> tfb.Bijector:
        return tfb.Invert(AffineAutoregressive(self.networks[index], None))

    def statement(self) -> Statement:
        return self.stated(
            equation=(
                r"p(z) = \mathcal{N}(u;\ 0,\ I) \prod_t \left|\det \frac{\partial f_t}{\partial u}"
                r"\right|^{-1},\quad f_t^{-1}(z)_d = z_d\, e^{s_{td}(z_{<d})} + m_{td}(z_{<d})"
            ),
            parameters={
                "m": "the shifts of each layer, a masked network's function of z",
                "s": "the log scales of each layer, from the same network",
            },
            learned=("the networks of the layers",),
            fixed=(f"{self.num_layers} layers", "u is a standard Normal"),
        )
