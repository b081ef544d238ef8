"""q(z|x) of choices, relaxed so that a draw is differentiable."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.concrete import Concrete
from keras_vae.distributions.groups import Groups
from keras_vae.latents import groups_of, simplices
from keras_vae.posteriors import temperature as temperatures
from keras_vae.posteriors.posterior import Posterior
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae")
class RelaxedOneHot(Posterior):
    """`z_n = softmax((logits_n(x) + g_n) / t)`, g_n Gumbel noise, t the temperature.

    N groups of C positive numbers that sum to 1: the Concrete, or Gumbel-softmax,
    distribution (Maddison et al. 2017, Jang et al. 2017), with the density

        q(z_n|x) = (C-1)! t^(C-1) prod_c z_nc^-1 softmax(logits_n - t log z_n)_c.

    As t falls to 0 a draw tends to the one-hot draw of `OneHot`, and the variance of its
    gradient grows. For a bound the prior has to be relaxed too:
    `priors.UniformCategorical(D, C, temperature=...)`. Their KL is sampled.

    A number below 1e-30 is taken for 1e-30, in draws of posterior and prior alike, and its
    density is the probability of all that is smaller. So the bound stays one at any logits
    and temperature. In the KL's gradient the draws that cross the limit are left out: they
    are seen only where logits differ by about 69 t. Log densities are within 1e-4 nats for
    logits up to 50.

    Args:
        latent_size: D = N * C, the groups one after the other.
        classes: C.
        temperature: t, a positive number, or a Keras `LearningRateSchedule`, which is read at
            each step of training; below 0.01 it is taken for 0.01. Its value is saved with
            the model.

    Parameters: `logits` `[B, N, C]`, a projection; `temperature` `[B]`, one value for all.

    Raises:
        ValueError: if `latent_size` is not a positive integer, `classes` not an integer of 2
            or more that divides it, or `temperature` neither a positive number nor a
            schedule.

    Example:
        keras_vae.posteriors.RelaxedOneHot(
            200,
            classes=10,
            temperature=keras.optimizers.schedules.ExponentialDecay(1.0, 1000, 0.9),
        )

    References: C. J. Maddison, A. Mnih and Y. W. Teh, The Concrete Distribution: A Continuous
    Relaxation of Discrete Random Variables, ICLR 2017. E. Jang, S. Gu and B. Poole,
    Categorical Reparameterization with Gumbel-Softmax, ICLR 2017.
    """

    def __init__(
        self,
        latent_size: int,
        classes: int,
        temperature: temperatures.Temperature = 0.5,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(latent_size, name=name, dtype=dtype, trainable=trainable)
        self.groups = groups_of(self.latent_size, classes, self)
        self.classes = int(classes)
        self.temperature = temperatures.checked(temperature, self)

    @property
    def support(self) -> str:
        return simplices(self.classes)

    def build(self, features_shape: tuple[int | None, ...]) -> None:
        super().build(features_shape)
        self.temperature_now = temperatures.make_weight(self, self.temperature)

    def anneal(self, step: tf.Tensor | int) -> None:
        temperatures.set_weight(self.temperature_now, self.temperature, step)

    def projected(self) -> dict[str, tuple[int, ...]]:
        return {"logits": (self.latent_size,)}

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        logits = tf.reshape(raw["logits"], (-1, self.groups, self.classes))
        return {
            "logits": logits,
            "temperature": temperatures.for_each(self.temperature_now, logits),
        }

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        # One temperature for all groups: [..., 1].
        return Groups(Concrete(parameters["logits"], parameters["temperature"][..., None]))

    def centre(self, distribution: tfd.Distribution) -> tf.Tensor:
        """The probabilities of the classes: the mean has no closed form."""
        logits = distribution.groups.logits
        return tf.reshape(
            tf.nn.softmax(logits), tf.concat([tf.shape(logits)[:-2], [self.latent_size]], 0)
        )

    def statement(self) -> Statement:
        return self.stated(
            equation=r"q(z|x) = \prod_{n} (C-1)!\, t^{C-1} \prod_{c} z_{nc}^{-1}\, \mathrm{softmax}(\mathrm{logits}_n(x) - t \log z_n)_c",
            parameters={
                "logits": "linear in the encoder's features",
                "temperature": temperatures.source(self.temperature),
            },
            learned=("logits(x)",),
            fixed=(
                "temperature",
                "no dependence between groups given x",
                f"{self.groups} groups of {self.classes} classes",
            ),
        )

    def get_config(self) -> dict:
        temperature = keras.saving.serialize_keras_object(self.temperature)
        return {**super().get_config(), "classes": self.classes, "temperature": temperature}

    @classmethod
    def from_config(cls, config: dict) -> "RelaxedOneHot":
        temperature = keras.saving.deserialize_keras_object(config["temperature"])
        return super().from_config({**config, "temperature": temperature})
