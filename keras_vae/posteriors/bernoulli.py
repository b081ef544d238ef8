"""q(z|x) of bits, drawn as they are."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.latents import BITS
from keras_vae.posteriors.posterior import Posterior
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae.posteriors")
class Bernoulli(Posterior):
    """`q(z|x) = prod_d sigmoid(logits_d(x))^z_d (1 - sigmoid(logits_d(x)))^(1 - z_d)`.

    Each z_d is 0 or 1. A draw is no differentiable function of the logits: the objective has
    to estimate the gradient otherwise, `objectives.ELBO(gradient="score", num_samples=2)` or
    more samples. The KL to `priors.UniformBernoulli` is exact: `D log 2` less the entropies.

    Args:
        latent_size: D.

    Parameters: `logits` `[B, D]`, a projection.

    Raises:
        ValueError: if `latent_size` is not a positive integer.

    Example: `keras_vae.posteriors.Bernoulli(200)`

    References: A. Mnih and K. Gregor, Neural Variational Inference and Learning in Belief
    Networks, ICML 2014.
    """

    reparameterised = False

    @property
    def support(self) -> str:
        return BITS

    def projected(self) -> dict[str, tuple[int, ...]]:
        return {"logits": (self.latent_size,)}

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"logits": raw["logits"]}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        logits = parameters["logits"]
        return tfd.Independent(tfd.Bernoulli(logits=logits, dtype=logits.dtype), 1)

    def centre(self, distribution: tfd.Distribution) -> tf.Tensor:
        """The more probable value of each bit: the mean is no bit."""
        return distribution.mode()

    def statement(self) -> Statement:
        return self.stated(
            equation=r"q(z|x) = \prod_{d} \sigma(\mathrm{logits}_d(x))^{z_d}\,(1 - \sigma(\mathrm{logits}_d(x)))^{1 - z_d}",
            parameters={"logits": "linear in the encoder's features"},
            learned=("logits(x)",),
            fixed=("no dependence between latent dimensions given x",),
        )
