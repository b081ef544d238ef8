"""q(z|x) as a Normal that goes through autoregressive layers."""

import keras
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from keras_vae.distributions.affine_flows import AffineAutoregressive
from keras_vae.networks.conditioner import Conditioner
from keras_vae.posteriors.flow import NetworkFlow
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae")
class InverseAutoregressiveFlow(NetworkFlow):
    """`z = f_T(...f_1(u; x)...; x)`, `u ~ N(loc(x), diag(scale_diag(x))^2)`.

    `f_t(u)_d = u_d exp(s_td(u_<d, x)) + m_td(u_<d, x)`: each dimension moves by a shift and a
    scale that a masked network (MADE) finds in the dimensions before it and in x; every
    other layer takes them in reverse order. Hence
    `log q(z|x) = log N(u; loc, scale_diag) - sum_t sum_d s_td`. A draw, and the density of
    a draw, take one pass of each network; the density of any other z takes D passes, one
    after another. `|s| <= 2`. Before training the layers are nearly the identity. The KL is
    sampled.

    Args:
        latent_size: D.
        layers: T, the number of autoregressive layers.
        units: the width of the two hidden layers of each network, and of the context.

    Parameters: `loc` `[B, D]`; `scale_diag` `[B, D]`, `softplus` of a projection; `context`
        `[B, units]`.

    Raises:
        ValueError: if an argument is not a positive integer.

    Example: `keras_vae.posteriors.InverseAutoregressiveFlow(20, layers=2)`

    References: D. P. Kingma, T. Salimans, R. Jozefowicz, X. Chen, I. Sutskever and M.
    Welling, Improved Variational Inference with Inverse Autoregressive Flow, NeurIPS 2016.
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

    def bijector(self, index: int, context: tf.Tensor) -> tfb.Bijector:
        return AffineAutoregressive(self.networks[index], context)

    def statement(self) -> Statement:
        return self.stated_flow(
            equation=(
                r"q(z|x) = \mathcal{N}(u;\ \mathrm{loc}(x),\ \mathrm{scale}(x)^2) \prod_t "
                r"\left|\det \frac{\partial f_t}{\partial u}\right|^{-1},\quad "
                r"f_t(u)_d = u_d\, e^{s_{td}(u_{<d}, x)} + m_{td}(u_{<d}, x)"
            ),
            fixed=("each moves a dimension by a function of those before it",),
        )
