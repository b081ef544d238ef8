"""p(x|z) for values in (0, 1): Beta."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.interval import inside_unit
from keras_vae.likelihoods.likelihood import Likelihood
from keras_vae.likelihoods.scaled import spread
from keras_vae.networks.projection import inverse_positive, positive
from keras_vae.statement import Statement
from keras_vae.support import UNIT, Support


@keras.saving.register_keras_serializable(package="keras_vae")
class Beta(Likelihood):
    """`log p(x|z) = sum_i [(a_i - 1) log x_i + (b_i - 1) log(1 - x_i) - log B(a_i, b_i)]`.

    With `a = concentration1(z)` and `b = concentration0(z)`. The mean is `a / (a + b)`; the
    larger `a + b`, the narrower. Below 1 a concentration piles mass up at its end, where the
    density is unbounded: values that are nearly 0 or 1 then dominate the bound.

    Args:
        event_shape: E, the shape of one x.

    Parameters: `concentration1` and `concentration0`, `[B, *E]` each.

    Raises:
        ValueError: if `event_shape` is not a tuple of positive integers, or when data has a
            value outside (0, 1).

    Example: `keras_vae.likelihoods.Beta((28, 28, 1))`
    """

    def projected(self) -> dict[str, tuple[int, ...]]:
        return {"concentration1": self.event_shape, "concentration0": self.event_shape}

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {name: positive(raw[name]) for name in self.projected()}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        return self.independent_values(_Beta(**parameters))

    @property
    def support(self) -> Support:
        return UNIT

    def start(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        # By moments of x: maximum likelihood needs those of log(x) and log(1 - x).
        mean = tf.clip_by_value(mean, 1e-3, 1 - 1e-3)
        most = mean * (1 - mean)  # the variance of what is 0 or 1
        total = most / tf.minimum(spread(variance) ** 2, 0.99 * most) - 1
        return {
            "concentration1": inverse_positive(mean * total),
            "concentration0": inverse_positive((1 - mean) * total),
        }

    def statement(self) -> Statement:
        source = "softplus of a linear function of the decoder's features"
        return self.stated(
            equation=r"p(x|z) = \prod_i \mathrm{Beta}(x_i;\ a_i(z), b_i(z)),\quad "
            r"a = \mathrm{concentration1},\ b = \mathrm{concentration0}",
            parameters={"concentration1": source, "concentration0": source},
            learned=("concentration1(z)", "concentration0(z)"),
        )


class _Beta(tfd.Beta):
    """TFP's, whose draws round to 0 and to 1, where there is no density."""

    def _sample_n(self, n: int, seed: tf.Tensor | None = None) -> tf.Tensor:
        return inside_unit(super()._sample_n(n, seed))
