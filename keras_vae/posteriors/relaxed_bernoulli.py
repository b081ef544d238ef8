"""q(z|x) of bits, relaxed so that a draw is differentiable."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.concrete import BinaryConcrete
from keras_vae.latents import CUBE
from keras_vae.posteriors import temperature as temperatures
from keras_vae.posteriors.posterior import Posterior
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae")
class RelaxedBernoulli(Posterior):
    """`z_d = sigmoid((logits_d(x) + l_d) / t)`, l_d logistic noise, t the temperature.

    Numbers in (0, 1): the binary Concrete distribution (Maddison et al. 2017), with the
    density

        q(z_d|x) = t s(w) s(-w) / (z_d (1 - z_d)),  w = logits_d - t log(z_d / (1 - z_d)),

    s the sigmoid. As t falls to 0 a draw tends to the bit of `Bernoulli`, and the variance of
    its gradient grows. For a bound the prior has to be relaxed too:
    `priors.UniformBernoulli(D, temperature=...)`. Their KL is sampled.

    A draw within 1e-6 of 0 or 1 is taken for 1e-6 from it, in posterior and prior alike, and
    its density is the probability of all that is nearer. So the bound stays one at any
    logits and temperature, and no number has more than about 14 t + log 2 nats of KL. In the
    KL's gradient the draws that cross the limit are left out: they are seen only where
    logits are beyond about 14 t. Log densities are within 0.05 nats, and within 1e-4 where z
    is not within 1e-3 of 1.

    Args:
        latent_size: D.
        temperature: t, a positive number, or a Keras `LearningRateSchedule`, which is read at
            each step of training; below 0.01 it is taken for 0.01. Its value is saved with
            the model.

    Parameters: `logits` `[B, D]`, a projection; `temperature` `[B]`, one value for all.

    Raises:
        ValueError: if `latent_size` is not a positive integer, or `temperature` neither a
            positive number nor a schedule.

    Example: `keras_vae.posteriors.RelaxedBernoulli(200, temperature=0.5)`

    References: C. J. Maddison, A. Mnih and Y. W. Teh, The Concrete Distribution: A Continuous
    Relaxation of Discrete Random Variables, ICLR 2017.
    """

    def __init__(
        self,
        latent_size: int,
        temperature: temperatures.Temperature = 0.5,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(latent_size, name=name, dtype=dtype, trainable=trainable)
        self.temperature = temperatures.checked(temperature, self)

    @property
    def support(self) -> str:
        return CUBE

    def build(self, features_shape: tuple[int | None, ...]) -> None:
        super().build(features_shape)
        self.temperature_now = temperatures.make_weight(self, self.temperature)

    def anneal(self, step: tf.Tensor | int) -> None:
        temperatures.set_weight(self.temperature_now, self.temperature, step)

    def projected(self) -> dict[str, tuple[int, ...]]:
        return {"logits": (self.latent_size,)}

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {
            "logits": raw["logits"],
            "temperature": temperatures.for_each(self.temperature_now, raw["logits"]),
        }

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        temperature = parameters["temperature"][..., None]  # one for all dimensions
        return tfd.Independent(BinaryConcrete(parameters["logits"], temperature), 1)

    def centre(self, distribution: tfd.Distribution) -> tf.Tensor:
        """The probabilities of a 1: the mean has no closed form."""
        return tf.sigmoid(distribution.distribution.logits)

    def statement(self) -> Statement:
        return self.stated(
            equation=r"q(z|x) = \prod_{d} \frac{t\, \sigma(w_d)\, \sigma(-w_d)}{z_d (1 - z_d)},\quad w_d = \mathrm{logits}_d(x) - t \log \frac{z_d}{1 - z_d}",
            parameters={
                "logits": "linear in the encoder's features",
                "temperature": temperatures.source(self.temperature),
            },
            learned=("logits(x)",),
            fixed=("temperature", "no dependence between latent dimensions given x"),
        )

    def get_config(self) -> dict:
        temperature = keras.saving.serialize_keras_object(self.temperature)
        return {**super().get_config(), "temperature": temperature}

    @classmethod
    def from_config(cls, config: dict) -> "RelaxedBernoulli":
        temperature = keras.saving.deserialize_keras_object(config["temperature"])
        return super().from_config({**config, "temperature": temperature})
