"""The prior of fair coins."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.concrete import BinaryConcrete
from keras_vae.latents import BITS, CUBE, require_temperature
from keras_vae.priors.prior import Encode, Prior
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae")
class UniformBernoulli(Prior):
    """`p(z) = 2^-D` over bits; or its binary Concrete relaxation.

    For `posteriors.Bernoulli` without a temperature t; for `posteriors.RelaxedBernoulli` with
    one: then each z_d lies in (0, 1), with the density, s the sigmoid,

        p(z_d) = t s(w) s(-w) / (z_d (1 - z_d)),  w = t log(z_d / (1 - z_d)).

    Both densities have to be relaxed for the bound to be one (Maddison et al. 2017); the two
    temperatures may differ.

    Args:
        latent_size: D.
        temperature: t, a positive number, or None for bits as they are.

    Raises:
        ValueError: if `latent_size` is not a positive integer, or `temperature` neither a
            positive number nor None.

    Example: `keras_vae.priors.UniformBernoulli(200, temperature=0.5)`

    References: C. J. Maddison, A. Mnih and Y. W. Teh, The Concrete Distribution: A Continuous
    Relaxation of Discrete Random Variables, ICLR 2017.
    """

    def __init__(
        self,
        latent_size: int,
        temperature: float | None = None,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(latent_size, name=name, dtype=dtype, trainable=trainable)
        if temperature is not None:
            require_temperature(temperature, self, "None for bits")
        self.temperature = temperature

    @property
    def support(self) -> str:
        return BITS if self.temperature is None else CUBE

    def distribution(
        self, condition: tf.Tensor | None = None, encode: Encode | None = None
    ) -> tfd.Distribution:
        fair = tf.zeros((self.latent_size,), self.density_dtype)
        if self.temperature is None:
            return tfd.Independent(tfd.Bernoulli(logits=fair, dtype=fair.dtype), 1)
        temperature = tf.constant(self.temperature, fair.dtype)
        return tfd.Independent(BinaryConcrete(fair, temperature), 1)

    def statement(self) -> Statement:
        if self.temperature is None:
            return self.stated(
                equation=r"p(z) = 2^{-D}",
                parameters={"probabilities": "1/2"},
                fixed=("probabilities",),
            )
        return self.stated(
            equation=r"p(z) = \prod_{d} \frac{t\, \sigma(w_d)\, \sigma(-w_d)}{z_d (1 - z_d)},\quad w_d = t \log \frac{z_d}{1 - z_d}",
            parameters={"probabilities": "1/2", "temperature": f"t = {self.temperature}"},
            fixed=("probabilities", "temperature"),
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "temperature": self.temperature}
