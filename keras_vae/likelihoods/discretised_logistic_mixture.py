"""p(x|z) for bytes with several likely values."""

import math

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import positive_integer
from keras_vae.distributions import discretised_logistic_mixture
from keras_vae.distributions.discretised_logistic import DiscretisedLogistic
from keras_vae.likelihoods.levels import (
    apart,
    at_least_two,
    logistic_moments,
    scaled,
    side_by_side,
    support_of,
)
from keras_vae.likelihoods.likelihood import Likelihood
from keras_vae.networks.projection import inverse_positive, positive
from keras_vae.statement import Statement
from keras_vae.support import Support


@keras.saving.register_keras_serializable(package="keras_vae")
class DiscretisedLogisticMixture(Likelihood):
    """`p(x|z) = prod_i sum_k softmax(logits_i(z))_k DL(x_i; loc_ik(z), scale_ik(z))`.

    DL is the `DiscretisedLogistic`, and each value of x has a mixture of its own: channels are
    independent given z, where PixelCNN++ makes each depend on the ones before. The encoder
    is given `u = 2 x / (levels - 1) - 1`.

    Args:
        event_shape: E, the shape of one x.
        components: how many logistics each mixture has.
        levels: how many whole numbers, from 0 on, x may be.

    Parameters: `logits`, `loc` and `scale`, `[B, *E, components]`; the last two in units of u.

    Raises:
        ValueError: if `event_shape` is not a tuple of positive integers, if `components` is no
            positive integer or `levels` no integer above one, or when data has a value that is
            no level.

    Example: `keras_vae.likelihoods.DiscretisedLogisticMixture((32, 32, 3), components=5)`

    References: T. Salimans, A. Karpathy, X. Chen and D. P. Kingma, PixelCNN++, ICLR 2017.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...] = (),
        components: int = 10,
        levels: int = 256,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, name=name, dtype=dtype, trainable=trainable)
        self.components = positive_integer(
            components, "components", self, "the number of logistics in each mixture"
        )
        self.levels = at_least_two(levels, "levels", self, "the number of values that x may have")

    def projected(self) -> dict[str, tuple[int, ...]]:
        shape = side_by_side(self.event_shape, self.components)
        return {"logits": shape, "loc": shape, "scale": shape}

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        parameters = {
            name: apart(raw[name], self.event_shape, self.components) for name in self.projected()
        }
        return {**parameters, "scale": positive(parameters["scale"])}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        components = DiscretisedLogistic(parameters["loc"], parameters["scale"], self.levels)
        weights = tfd.Categorical(logits=parameters["logits"])
        mixture = discretised_logistic_mixture.DiscretisedLogisticMixture(weights, components)
        return self.independent_values(mixture)

    @property
    def support(self) -> Support:
        return support_of(self.levels)

    def start(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        """Equal weights; half of the variance is between the components, if they are several."""
        loc, scale = logistic_moments(mean, variance, self.levels)
        within = math.sqrt(0.5) if self.components > 1 else 1.0
        places = self._places(mean.dtype) * (math.pi / math.sqrt(3) * math.sqrt(1 - within**2))
        loc = loc[..., None] + scale[..., None] * places
        scale = within * scale[..., None] * tf.ones_like(places)
        shape = side_by_side(self.event_shape, self.components)
        return {
            "logits": tf.zeros(shape, mean.dtype),
            "loc": tf.reshape(loc, shape),
            "scale": tf.reshape(inverse_positive(scale), shape),
        }

    def _places(self, dtype: tf.DType) -> tf.Tensor:
        """Equally spaced places of mean 0 and variance 1, one for each component."""
        places = np.arange(self.components) - (self.components - 1) / 2
        return tf.constant(places / max(places.std(), 0.5), dtype)

    def encoder_input(self, x: tf.Tensor) -> tf.Tensor:
        return scaled(x, self.levels)

    def statement(self) -> Statement:
        linear = "linear in the decoder's features"
        return self.stated(
            equation=(
                r"p(x|z) = \prod_i \sum_k \pi_{ik}(z) \left[F\left(\frac{u_i + h - \mathrm{loc}_{ik}(z)}"
                r"{\mathrm{scale}_{ik}(z)}\right) - F\left(\frac{u_i - h - \mathrm{loc}_{ik}(z)}"
                r"{\mathrm{scale}_{ik}(z)}\right)\right],\quad \pi = \mathrm{softmax}(\mathrm{logits}),\ "
                rf"u = \frac{{2 x}}{{{self.levels - 1}}} - 1,\ h = \frac{{1}}{{{self.levels - 1}}}"
            ),
            parameters={
                "logits": linear,
                "loc": linear,
                "scale": "softplus of a linear function of the decoder's features",
            },
            learned=("logits(z)", "loc(z)", "scale(z)"),
            fixed=(
                "values are independent given z",
                "the two tails belong to the first and the last level",
                "the encoder is given u",
            ),
        )

    def get_config(self) -> dict:
        own = {"components": self.components, "levels": self.levels}
        return {**super().get_config(), **own}
