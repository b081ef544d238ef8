"""A decoder's view of the first block of z."""

import keras
import tensorflow as tf

from keras_vae.arguments import positive_integer


@keras.saving.register_keras_serializable(package="keras_vae")
class First(keras.layers.Layer):
    """The first values of the last axis, and the last `condition_size` of them.

    In a hierarchy `z = [z_1, z_2, ...]` the decoder of `p(x|z_1)` reads `z_1` alone:

        decoder = keras.Sequential([keras_vae.networks.First(50), keras_vae.networks.mlp([200])])

    Args:
        size: how many.
        condition_size: of a conditional model, whose condition is appended to z.

    Raises:
        ValueError: if `size` is not a positive integer.
    """

    def __init__(
        self,
        size: int,
        condition_size: int = 0,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, dtype=dtype, trainable=trainable)
        self.size = positive_integer(size, "size", self, "the number of values that are read")
        self.condition_size = condition_size

    def call(self, z: tf.Tensor) -> tf.Tensor:
        first = z[..., : self.size]
        if not self.condition_size:
            return first
        return keras.ops.concatenate([first, z[..., -self.condition_size :]], axis=-1)

    def get_config(self) -> dict:
        config = {"size": self.size, "condition_size": self.condition_size}
        return {**super().get_config(), **config}
