"""What a posterior and a likelihood have in common: features in, a distribution out."""

import abc

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.networks.projection import Projection, density_dtype
from keras_vae.statement import Statement


class Head(keras.layers.Layer, abc.ABC):
    """A Keras layer from a network's features to the parameters of a distribution.

    `head(features)` gives a dict of float32 tensors under TFP's names, each `[B, ...]`.
    `head.distribution(parameters)` gives the distribution with its event dimensions
    inside, so that `log_prob` and `kl_divergence` are already sums over the event. Two
    methods, because layers may return tensors only: a Keras graph rejects distributions.

    The head owns the last projection, hence any network fits any family.
    """

    @abc.abstractmethod
    def call(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
        """Features `[B, ...]` -> the parameters, each `[B, ...]`."""

    @abc.abstractmethod
    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        """The parameters -> the distribution, batch `[B]` or `[K, B]`."""

    @abc.abstractmethod
    def statement(self) -> Statement:
        """What this family assumes."""

    @property
    def density_dtype(self) -> str:
        """The precision of parameters and densities: float32 at least, whatever the network's."""
        return density_dtype(self)

    def projection(
        self, name: str, shape: tuple[int, ...], features_shape: tuple[int | None, ...]
    ) -> Projection:
        """A built `Projection` of the features to `shape`, for a family's `build`."""
        layer = Projection(shape, name=name, dtype=self.dtype_policy)
        layer.build(features_shape)
        return layer
