"""p(x|z) for values in (0, 1): a Normal of their log odds."""

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.logit_normal import LogitNormal as LogitNormalDistribution
from keras_vae.likelihoods.scaled import ScaledLikelihood, spread
from keras_vae.statement import Statement
from keras_vae.support import UNIT, Support

STEPS = 40  # of the search for the moments of the data
LARGEST = 10.0  # of log odds: 99 % of such draws round to black or white already


@keras.saving.register_keras_serializable(package="keras_vae")
class LogitNormal(ScaledLikelihood):
    """`log p(x|z) = sum_i [log N(logit x_i; loc_i(z), scale_i^2) - log x_i(1 - x_i)]`.

    Squared error of the log odds, as a density of x. The mean has no closed form; `mean` is
    exact to 2e-8. The median is `sigmoid(loc)`.

    Args:
        event_shape: E, the shape of one x.
        scale: of logit(x): a positive number, fixed; `"shared"`, one learned number;
            `"per_channel"`, one for each channel, the last axis of x; or `"per_value"`, a
            function of z for each value.

    Parameters: `loc` `[B, *E]`; `scale`, `[B, *E]` where it depends on z, else `[B, 1, ...]`,
        with the channels last where each has its own.

    Raises:
        ValueError: if `event_shape` is not a tuple of positive integers, if `scale` is none
            of the four, or when data has a value outside (0, 1): 0 and 1 have no log odds.

    Example: `keras_vae.likelihoods.LogitNormal((28, 28, 1), scale="shared")`

    References: J. Aitchison and S. M. Shen, Logistic-normal distributions: Some properties
    and uses, Biometrika 1980.
    """

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"loc": raw["loc"], "scale": self.scale_from(raw)}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        values = LogitNormalDistribution(parameters["loc"], parameters["scale"])
        return self.independent_values(values)

    @property
    def support(self) -> Support:
        return UNIT

    def start(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        # By moments of x: maximum likelihood needs those of logit(x).
        mean = tf.clip_by_value(mean, 1e-3, 1 - 1e-3)
        most = mean * (1 - mean)  # the variance of what is 0 or 1
        variance = tf.minimum(spread(variance) ** 2, 0.9 * most)
        _, scale = _matched(mean.numpy(), variance.numpy(), None)
        raw = self.start_scale(tf.constant(scale, mean.dtype))
        loc, _ = _matched(mean.numpy(), variance.numpy(), self.own_scale(raw, mean).numpy())
        return {"loc": tf.constant(loc, mean.dtype), **raw}

    def statement(self) -> Statement:
        return self.stated_with_scale(
            r"p(x|z) = \prod_i \frac{1}{x_i (1 - x_i)} "
            r"\mathcal{N}(\mathrm{logit}\,x_i;\ \mathrm{loc}_i(z),\ \mathrm{scale}_i^2)"
        )


def _matched(
    mean: np.ndarray, variance: np.ndarray, scale: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """loc and scale of this mean and this variance, or for a given scale of this mean.

    Small x are nearly log-normal, of which `stretched` gives the scale's square at once; as
    the scale grows, x being 0 or 1, it grows with that square, too. Steps of a half of the
    difference go nowhere too far.
    """
    loc = np.log(mean) - np.log1p(-mean)
    most = mean * (1 - mean)

    def stretched(variance: np.ndarray) -> np.ndarray:
        return np.log1p(variance / most**2) / (1 - variance / most) ** 2

    squared = np.log1p(variance / most**2) if scale is None else scale**2
    for _ in range(STEPS):
        found, found_variance = _moments(loc, np.sqrt(squared))
        loc = loc + np.log(mean / found) - np.log((1 - mean) / (1 - found))
        if scale is None:
            step = (stretched(variance) - stretched(np.minimum(found_variance, 0.99 * most))) / 2
            squared = np.clip(squared + step, squared / 4, LARGEST**2)
    return loc, np.sqrt(squared)


def _moments(loc: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance by the trapezoid rule."""
    noise = np.linspace(-6, 6, 81)
    weights = np.exp(-(noise**2) / 2)
    weights /= weights.sum()
    x = (1 + np.tanh((loc[..., None] + scale[..., None] * noise) / 2)) / 2  # the sigmoid
    mean = x @ weights
    return mean, (x - mean[..., None]) ** 2 @ weights
