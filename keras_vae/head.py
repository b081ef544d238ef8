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

    The head owns the last projection, hence any network fits any family. What comes before
    the link functions is called raw: affine in the features (`projected`), or a learned
    number that no feature changes (`shared`).

    Attributes:
        xla: whether XLA can compile the distribution's draws and density.
    """

    xla = True

    @abc.abstractmethod
    def projected(self) -> dict[str, tuple[int, ...]]:
        """The shapes, for one example, of the raw values that are affine in the features."""

    @abc.abstractmethod
    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Raw values, those of `projected` and of `shared`, `[B, ...]` -> the parameters."""

    @abc.abstractmethod
    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        """The parameters -> the distribution, batch `[B]` or `[K, B]`."""

    @abc.abstractmethod
    def statement(self) -> Statement:
        """What this family assumes."""

    def shared(self) -> dict[str, tuple[tuple[int, ...], float]]:
        """The shape and the first raw value of numbers that are learned but not from features."""
        return {}

    def centre(self, distribution: tfd.Distribution) -> tf.Tensor:
        """One value that stands for the distribution: its mean.

        A family whose mean has no closed form, or is no value of its support, says in its
        own `centre` what it gives instead.
        """
        return distribution.mean()

    def build(self, features_shape: tuple[int | None, ...]) -> None:
        self.projections = {
            name: self.projection(name, shape, features_shape)
            for name, shape in self.projected().items()
        }
        self.learned = {
            name: self.add_weight(
                shape,
                initializer=keras.initializers.Constant(first),
                trainable=self.trainable,
                autocast=False,
                name=f"shared_{name}",
            )
            for name, (shape, first) in self.shared().items()
        }

    def call(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.link(self.raw(features))

    def raw(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
        """What `link` takes of each example, `[B, ...]`."""
        raw = {name: project(features) for name, project in self.projections.items()}
        for name, weight in self.learned.items():
            raw[name] = self.repeated(tf.cast(weight, self.density_dtype), features)
        return raw

    def repeated(self, value: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """`value` for each example, `[B, ...]`: every parameter leads with the batch axis."""
        return tf.repeat(value[None], tf.shape(features)[0], axis=0)

    @property
    def density_dtype(self) -> str:
        """The precision of parameters and densities: float32 at least, whatever the network's."""
        return density_dtype(self)

    def projection(
        self, name: str, shape: tuple[int, ...], features_shape: tuple[int | None, ...]
    ) -> Projection:
        """A built `Projection` of the features to `shape`, for a family's `build`."""
        layer = Projection(shape, name, self.dtype_policy, self.trainable)
        layer.build(features_shape)
        return layer
