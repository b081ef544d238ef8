"""The interface of q(z|x)."""

from keras_vae.arguments import positive_integer
from keras_vae.head import Head


class Posterior(Head):
    """A head that turns an encoder's features into q(z|x): batch `[B]`, event `[D]`.

    A new family is one file with `build`, `call`, `distribution` and `statement`, and one
    line in `keras_vae/posteriors/__init__.py`.

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

    def get_config(self) -> dict:
        return {**super().get_config(), "latent_size": self.latent_size}
