"""The interface of p(z)."""

import abc

import keras
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import positive_integer
from keras_vae.networks.projection import density_dtype
from keras_vae.statement import Statement


class Prior(keras.layers.Layer, abc.ABC):
    """A Keras layer that owns what p(z) learns, if anything.

    A new family is one file with `distribution` and `statement` (and `build`, if it has
    weights), and one line in `keras_vae/priors/__init__.py`.

    Args:
        latent_size: D, the number of latent dimensions.
    """

    def __init__(
        self,
        latent_size: int,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, dtype=dtype, trainable=trainable)
        self.latent_size = positive_integer(
            latent_size, "latent_size", self, "the number of latent dimensions"
        )

    @abc.abstractmethod
    def distribution(self) -> tfd.Distribution:
        """p(z), batch `[]`, event `[D]`."""

    @abc.abstractmethod
    def statement(self) -> Statement:
        """What this family assumes."""

    @property
    def density_dtype(self) -> str:
        """The precision of z and its density: float32 at least, whatever the networks'."""
        return density_dtype(self)

    def get_config(self) -> dict:
        return {**super().get_config(), "latent_size": self.latent_size}
