"""The interface of p(z)."""

import abc
from collections.abc import Callable
from typing import TypeAlias

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import positive_integer
from keras_vae.latents import REALS
from keras_vae.networks.projection import density_dtype
from keras_vae.statement import Statement

Encode: TypeAlias = Callable[[tf.Tensor], tfd.Distribution]


class Prior(keras.layers.Layer, abc.ABC):
    """A Keras layer that owns what p(z) learns, if anything.

    A new family is one file with `distribution` and `statement` (and `build`, if it has
    weights), and one line in `keras_vae/priors/__init__.py`.

    Args:
        latent_size: D, the number of latent dimensions.

    Attributes:
        conditional: whether p(z) is p(z|condition).
        uses_encoder: whether p(z) is made of posteriors, so that `distribution` needs `encode`.
        xla: whether XLA can compile the distribution's draws and density.
    """

    conditional: bool = False
    uses_encoder: bool = False
    xla: bool = True

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

    def build(self, input_shape: tuple[int | None, ...], condition_size: int = 0) -> None:
        """Makes the weights.

        Args:
            input_shape: of what the encoder is given, `[None, ...]`.
            condition_size: of the condition, 0 if there is none.
        """
        self.built = True

    @abc.abstractmethod
    def distribution(
        self, condition: tf.Tensor | None = None, encode: Encode | None = None
    ) -> tfd.Distribution:
        """p(z), batch `[]`, event `[D]`; if `conditional`, batch `[B]`.

        Args:
            condition: `[B, C]`, or None.
            encode: what the encoder is given, `[N, ...]` -> q(z|.), batch `[N]`: for a prior
                that is made of posteriors. No prior owns an encoder.
        """

    @abc.abstractmethod
    def statement(self) -> Statement:
        """What this family assumes."""

    @property
    def support(self) -> str:
        """The values of z with a density, in words: the posterior's must be the same."""
        return REALS

    def start_from(self, inputs: tf.Tensor) -> None:
        """Called once before training with examples of what the encoder is given, `[N, ...]`."""

    def stated(
        self,
        equation: str,
        parameters: dict[str, str],
        learned: tuple[str, ...] = (),
        fixed: tuple[str, ...] = (),
    ) -> Statement:
        """The statement of this family, for its `statement`."""
        return Statement(
            family=type(self).__name__,
            equation=equation,
            event_shape=(self.latent_size,),
            support=self.support,
            parameters=parameters,
            learned=learned,
            fixed=fixed,
        )

    @property
    def density_dtype(self) -> str:
        """The precision of z and its density: float32 at least, whatever the networks'."""
        return density_dtype(self)

    def get_config(self) -> dict:
        return {**super().get_config(), "latent_size": self.latent_size}
