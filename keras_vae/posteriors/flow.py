"""What the normalising flows for q(z|x) have in common that have networks inside."""

import abc

import keras
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import positive_integer
from keras_vae.distributions import normals
from keras_vae.networks.projection import positive
from keras_vae.posteriors.posterior import Posterior
from keras_vae.statement import Statement


class NetworkFlow(Posterior):
    """A Normal `N(loc(x), diag(scale_diag(x))^2)` that goes through invertible layers.

    A family says what a layer is: a network, and the bijector that uses it. The networks'
    weights are the head's; x enters them as `context`, `[B, units]`.

    Args:
        latent_size: D.
        layers: how many.
        units: the width of the hidden layers of each network, and of the context.
    """

    def __init__(
        self,
        latent_size: int,
        layers: int,
        units: int,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(latent_size, name=name, dtype=dtype, trainable=trainable)
        # Not `layers`: Keras takes an attribute of this name for a list of sub-layers.
        self.num_layers = positive_integer(layers, "layers", self, "the number of invertible maps")
        self.units = positive_integer(units, "units", self, "the width of each hidden layer")

    @abc.abstractmethod
    def network(self, index: int) -> keras.layers.Layer:
        """The network of one layer, `(z, context) -> (shift, log_scale)`, not built."""

    @abc.abstractmethod
    def bijector(self, index: int, context: tf.Tensor) -> tfb.Bijector:
        """One layer, by `self.networks[index]`."""

    def projected(self) -> dict[str, tuple[int, ...]]:
        vector = (self.latent_size,)
        return {"loc": vector, "scale_diag": vector, "context": (self.units,)}

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {**raw, "scale_diag": positive(raw["scale_diag"])}

    def build(self, features_shape: tuple[int | None, ...]) -> None:
        super().build(features_shape)
        self.networks = [self.network(index) for index in range(self.num_layers)]
        for network in self.networks:
            network.build((None, self.latent_size), (None, self.units))

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        base = normals.MultivariateNormalDiag(parameters["loc"], parameters["scale_diag"])
        # A chain applies its last bijector first.
        layers = [self.bijector(i, parameters["context"]) for i in reversed(range(self.num_layers))]
        return tfd.TransformedDistribution(base, tfb.Chain(layers))

    def centre(self, distribution: tfd.Distribution) -> tf.Tensor:
        """The image of the mean of the Normal: the mean of a flow has no closed form."""
        return distribution.bijector.forward(distribution.distribution.mean())

    def stated_flow(self, equation: str, fixed: tuple[str, ...]) -> Statement:
        """The statement of a family, for its `statement`."""
        return self.stated(
            equation=equation,
            parameters={
                "loc": "linear in the encoder's features",
                "scale_diag": "softplus of a linear function of the encoder's features",
                "context": "linear in the encoder's features, an input of each layer's network",
            },
            learned=("loc(x)", "scale_diag(x)", "context(x)", "the networks of the layers"),
            fixed=(f"{self.num_layers} layers", *fixed),
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "layers": self.num_layers, "units": self.units}
