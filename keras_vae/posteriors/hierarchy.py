"""What the posteriors of several layers of latents have in common."""

from collections.abc import Sequence

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions import chain
from keras_vae.posteriors.posterior import Posterior


class Hierarchy(Posterior):
    """Heads in the order in which their layers of z are drawn, and networks between them.

    Args:
        heads: from `keras_vae.posteriors`: the first reads the encoder's features, each
            other one its network's.
        networks: for each head after the first a Keras model.
    """

    def __init__(
        self,
        heads: Sequence[Posterior],
        networks: Sequence[keras.layers.Layer],
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        chain.require_heads(type(self).__name__, heads, networks, first=1, kind=Posterior)
        sizes = [chain.size_of(head) for head in heads]
        super().__init__(sum(sizes), name=name, dtype=dtype, trainable=trainable)
        chain.require_precision(self, self.density_dtype, heads)
        self.heads = list(heads)
        self.networks = list(networks)
        self.sizes = sizes
        self.reparameterised = all(head.reparameterised for head in heads)
        self.xla = all(head.xla for head in heads)

    def build_layers(self, features_shape: tuple[int | None, ...], beside: int) -> None:
        """Makes the weights, of networks that read so many values beside their block of z."""
        if not self.heads[0].built:
            self.heads[0].build(features_shape)
        for head, network, size in zip(self.heads[1:], self.networks, self.sizes, strict=False):
            chain.build_given(head, network, size + beside)

    def projected(self) -> dict[str, tuple[int, ...]]:
        return self.heads[0].projected()

    def raw(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.heads[0].raw(features)

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return self.heads[0].link(raw)

    def centre(self, distribution: tfd.Distribution) -> tf.Tensor:
        """Each layer's centre, given the centre of the layer before: not the mean of q(z|x)."""
        return distribution.walk([head.centre for head in self.heads])

    def anneal(self, step: tf.Tensor | int) -> None:
        for head in self.heads:
            head.anneal(step)

    def families(self, given: Sequence[str]) -> tuple[str, ...]:
        """What each head is, for a statement, from what it is given."""
        return tuple(
            f"{what}: {type(head).__name__}, {size} values"
            for what, head, size in zip(given, self.heads, self.sizes, strict=True)
        )

    def get_config(self) -> dict:
        config = super().get_config()
        del config["latent_size"]  # the sum of the heads'
        for name in ("heads", "networks"):
            config[name] = keras.saving.serialize_keras_object(getattr(self, name))
        return config

    @classmethod
    def from_config(cls, config: dict) -> "Hierarchy":
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("heads", "networks")
        }
        return super().from_config({**config, **parts})
