"""p(x|z) for counts whose variance is their mean."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.likelihoods.counts import SMALLEST_MEAN, CountLikelihood
from keras_vae.networks.projection import inverse_positive, positive
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae")
class Poisson(CountLikelihood):
    """`log p(x|z) = sum_i [x_i log rate_i(z) - rate_i(z) - log x_i!]`.

    The rate is `softplus(raw) + 1e-6`: for small rates the exponential of the usual log-linear
    model, for large ones linear, so that no output of the decoder makes it infinite. Counts
    that vary more than this given z want a `NegativeBinomial`. The encoder is given
    `log(1 + x)`.

    Args:
        event_shape: E, the shape of one x.
        size_factor: whether a factor s > 0, of mean about one, is observed with each x; the
            rate is then `s rate(z)`.

    Parameters: `rate` `[B, *E]`.

    Raises:
        ValueError: if `event_shape` is not a tuple of positive integers, if `size_factor` is
            no bool, or when data has a value that is no whole number >= 0.

    Example: `keras_vae.likelihoods.Poisson((2000,))`
    """

    factored = "rate"

    def projected(self) -> dict[str, tuple[int, ...]]:
        return {"rate": self.event_shape}

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"rate": positive(raw["rate"])}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        # By its logarithm: TFP's gradient of x log(rate) is then finite at x = 0.
        return self.independent_values(tfd.Poisson(log_rate=tf.math.log(parameters["rate"])))

    def start(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"rate": inverse_positive(tf.maximum(mean, SMALLEST_MEAN))}

    def statement(self) -> Statement:
        return self.stated_of_counts(
            equation=r"p(x|z) = \prod_i \mathrm{rate}_i(z)^{x_i} e^{-\mathrm{rate}_i(z)} / x_i!",
            parameters={},
            learned=(),
        )
