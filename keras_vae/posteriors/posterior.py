"""The interface of q(z|x)."""

import tensorflow as tf

from keras_vae.arguments import positive_integer
from keras_vae.head import Head
from keras_vae.latents import REALS
from keras_vae.statement import Statement


class Posterior(Head):
    """A head that turns an encoder's features into q(z|x): batch `[B]`, event `[D]`.

    A new family is one file with `projected`, `link`, `distribution` and `statement`, and
    one line in `keras_vae/posteriors/__init__.py`.

    Args:
        latent_size: D, the number of latent dimensions.

    Attributes:
        reparameterised: whether a draw is a differentiable function of the parameters.
        xla: whether XLA compiles its draws and densities.
    """

    reparameterised: bool = True
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

    @property
    def support(self) -> str:
        """The values of z with a density, in words: the prior's must be the same."""
        return REALS

    def anneal(self, step: tf.Tensor | int) -> None:
        """Called before each step of training: a family with a schedule takes its value."""

    def stated(
        self,
        equation: str,
        parameters: dict[str, str],
        learned: tuple[str, ...],
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

    def get_config(self) -> dict:
        return {**super().get_config(), "latent_size": self.latent_size}
