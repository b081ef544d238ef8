"""p(x|z) for real values with outliers: where absolute error comes from."""

import math

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.likelihoods.scaled import ScaledLikelihood, spread
from keras_vae.statement import Statement
from keras_vae.support import REAL, Support


@keras.saving.register_keras_serializable(package="keras_vae")
class Laplace(ScaledLikelihood):
    """`log p(x|z) = -sum_i [|x_i - loc_i(z)| / scale_i + log 2 scale_i]`.

    With a fixed scale this is absolute error with the weight `1 / scale`, and a constant
    `-d log 2 scale`. The best loc is a median, not a mean: a few values far off do not move
    it. The standard deviation of x given z is `sqrt(2) scale`.

    Args:
        event_shape: E, the shape of one x.
        scale: a positive number, fixed; `"shared"`, one learned number; `"per_channel"`, one
            for each channel, the last axis of x; or `"per_value"`, a function of z for each
            value.

    Parameters: `loc` `[B, *E]`; `scale`, `[B, *E]` where it depends on z, else `[B, 1, ...]`,
        with the channels last where each has its own. `mean` is `loc`.

    Raises:
        ValueError: if `event_shape` is not a tuple of positive integers, if `scale` is none
            of the four, or when data is NaN or infinite.

    Example: `keras_vae.likelihoods.Laplace((10,), scale="per_value")`
    """

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"loc": raw["loc"], "scale": self.scale_from(raw)}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        return self.independent_values(tfd.Laplace(parameters["loc"], parameters["scale"]))

    @property
    def support(self) -> Support:
        return REAL

    def start(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        # By moments: maximum likelihood needs the median and the mean absolute deviation.
        return {"loc": mean, **self.start_scale(spread(variance) / math.sqrt(2))}

    def statement(self) -> Statement:
        return self.stated_with_scale(
            r"p(x|z) = \prod_i \frac{1}{2\,\mathrm{scale}_i} "
            r"\exp\left(-\frac{|x_i - \mathrm{loc}_i(z)|}{\mathrm{scale}_i}\right)"
        )
