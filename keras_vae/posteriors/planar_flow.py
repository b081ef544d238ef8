"""q(z|x) as a Normal that goes through planar layers."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import positive_integer
from keras_vae.distributions import normals
from keras_vae.distributions.planar import Planar
from keras_vae.networks.projection import positive
from keras_vae.posteriors.posterior import Posterior
from keras_vae.statement import Statement

# Of u: an untrained layer is nearly the identity.
FIRST_STEP = 0.01


@keras.saving.register_keras_serializable(package="keras_vae")
class PlanarFlow(Posterior):
    """`z = f_T(...f_1(v; x)...; x)`, `v ~ N(loc(x), diag(scale_diag(x))^2)`.

    `f_t(v) = v + u' tanh(w.v + b)`, with w, u and b of layer t functions of x, and u' the
    nearest to u, along w, that keeps `w.u' > -1`: each layer stretches or squeezes along
    u', around the plane `w.v + b = 0`. Hence
    `log q(z|x) = log N(v; loc, scale_diag) - sum_t log(1 + (1 - tanh^2(w.v + b)) w.u')`.
    The density of a draw costs as much as the draw; of any other z, the root of an
    equation in one unknown for each layer. Before training the layers are nearly the
    identity. The KL is sampled. There is no network in a layer: what it takes from x is
    linear in the features.

    Args:
        latent_size: D.
        layers: T, the number of planes.

    Parameters: `loc` `[B, D]`; `scale_diag` `[B, D]`, `softplus` of a projection; `w` and `u`
        `[B, T, D]`; `b` `[B, T]`.

    Raises:
        ValueError: if `latent_size` or `layers` is not a positive integer.

    Example: `keras_vae.posteriors.PlanarFlow(20, layers=8)`

    References: D. J. Rezende and S. Mohamed, Variational Inference with Normalizing Flows,
    ICML 2015.
    """

    def __init__(
        self,
        latent_size: int,
        layers: int = 8,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(latent_size, name=name, dtype=dtype, trainable=trainable)
        # Not `layers`: Keras takes an attribute of this name for a list of sub-layers.
        self.num_layers = positive_integer(layers, "layers", self, "the number of planes")

    def projected(self) -> dict[str, tuple[int, ...]]:
        vector, vectors = (self.latent_size,), (self.num_layers, self.latent_size)
        return {
            "loc": vector,
            "scale_diag": vector,
            "w": vectors,
            "u": vectors,
            "b": (self.num_layers,),
        }

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {**raw, "scale_diag": positive(raw["scale_diag"]), "u": FIRST_STEP * raw["u"]}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        base = normals.MultivariateNormalDiag(parameters["loc"], parameters["scale_diag"])
        planes = Planar(parameters["w"], parameters["u"], parameters["b"])
        return tfd.TransformedDistribution(base, planes)

    def centre(self, distribution: tfd.Distribution) -> tf.Tensor:
        """The image of the mean of the Normal: the mean of a flow has no closed form."""
        return distribution.bijector.forward(distribution.distribution.mean())

    def statement(self) -> Statement:
        linear = "linear in the encoder's features"
        return self.stated(
            equation=(
                r"q(z|x) = \mathcal{N}(v;\ \mathrm{loc}(x),\ \mathrm{scale}(x)^2) \prod_t "
                r"\left|\det \frac{\partial f_t}{\partial v}\right|^{-1},\quad "
                r"f_t(v) = v + u_t(x) \tanh(w_t(x)^\top v + b_t(x))"
            ),
            parameters={
                "loc": linear,
                "scale_diag": "softplus of a linear function of the encoder's features",
                "w": linear,
                "u": f"{linear}, times {FIRST_STEP}; moved along w where f would not be invertible",
                "b": linear,
            },
            learned=("loc(x)", "scale_diag(x)", "w(x)", "u(x)", "b(x)"),
            fixed=(f"{self.num_layers} planes",),
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "layers": self.num_layers}
