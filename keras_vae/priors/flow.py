"""What the normalising flows for p(z) have in common."""

import abc

import keras
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import positive_integer
from keras_vae.distributions import normals
from keras_vae.priors.prior import Encode, Prior


class NetworkFlow(Prior):
    """A standard Normal that goes through invertible layers with networks in them.

    Args:
        latent_size: D.
        layers: how many.
        units: the width of the hidden layers of each network.
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
        """The network of one layer, `(z, None) -> (shift, log_scale)`, not built."""

    @abc.abstractmethod
    def bijector(self, index: int) -> tfb.Bijector:
        """One layer, by `self.networks[index]`, from the Normal's side towards z."""

    def build(self, input_shape: tuple[int | None, ...], condition_size: int = 0) -> None:
        self.networks = [self.network(index) for index in range(self.num_layers)]
        for network in self.networks:
            network.build((None, self.latent_size))
        super().build(input_shape, condition_size)

    def distribution(
        self, condition: tf.Tensor | None = None, encode: Encode | None = None
    ) -> tfd.Distribution:
        shape = (self.latent_size,)
        base = normals.MultivariateNormalDiag(
            tf.zeros(shape, self.density_dtype), tf.ones(shape, self.density_dtype)
        )
        # A chain applies its last bijector first.
        layers = [self.bijector(index) for index in reversed(range(self.num_layers))]
        return tfd.TransformedDistribution(base, tfb.Chain(layers))

    def get_config(self) -> dict:
        return {**super().get_config(), "layers": self.num_layers, "units": self.units}
