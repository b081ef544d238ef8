"""p(x|z) for values in [0, 1]: a Normal that is cut at both ends."""

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.truncated_normal import UnitTruncatedNormal
from keras_vae.likelihoods.scaled import ScaledLikelihood, spread
from keras_vae.statement import Statement
from keras_vae.support import CLOSED_UNIT, Support

STEPS = 60  # of the search for the moments of the data
SMALLEST = 1e-2  # of a standard deviation to start with
LARGEST = 1.0  # of a scale to start with: over [0, 1] a larger one is nearly a flat density


@keras.saving.register_keras_serializable(package="keras_vae")
class TruncatedNormal(ScaledLikelihood):
    """`log p(x|z) = sum_i [log N(x_i; loc_i(z), scale_i^2) - log Z_i]`, x in [0, 1].

    `Z_i = integral over [0, 1] of N(x; loc_i(z), scale_i^2) dx` makes it a density of grey
    values: an untruncated Normal gives mass to values that none can have. The mean is not
    loc, which may be outside the interval, but between loc and the interval's middle.

    Args:
        event_shape: E, the shape of one x.
        scale: of the Normal: a positive number, fixed; `"shared"`, one learned number;
            `"per_channel"`, one for each channel, the last axis of x; or `"per_value"`, a
            function of z for each value.

    Parameters: `loc` `[B, *E]`; `scale`, `[B, *E]` where it depends on z, else `[B, 1, ...]`,
        with the channels last where each has its own.

    Raises:
        ValueError: if `event_shape` is not a tuple of positive integers, if `scale` is none
            of the four, or when data has a value outside [0, 1].

    Example: `keras_vae.likelihoods.TruncatedNormal((28, 28, 1), scale="shared")`
    """

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"loc": raw["loc"], "scale": self.scale_from(raw)}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        values = UnitTruncatedNormal(parameters["loc"], parameters["scale"])
        return self.independent_values(values)

    @property
    def support(self) -> Support:
        return CLOSED_UNIT

    def start(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        # Maximum likelihood is a match of the moments, which the family has for variances
        # below those of an exponential density; for others the scale is the largest.
        mean = tf.clip_by_value(mean, 1e-3, 1 - 1e-3)
        variance = tf.maximum(spread(variance) ** 2, SMALLEST**2)
        _, scale = _matched(mean.numpy(), variance.numpy(), None)
        raw = self.start_scale(tf.constant(scale, mean.dtype))
        loc, _ = _matched(mean.numpy(), variance.numpy(), self.own_scale(raw, mean).numpy())
        return {"loc": tf.constant(loc, mean.dtype), **raw}

    def statement(self) -> Statement:
        return self.stated_with_scale(
            r"p(x|z) = \prod_i \frac{1}{Z_i} \mathcal{N}(x_i;\ \mathrm{loc}_i(z),\ "
            r"\mathrm{scale}_i^2),\quad Z_i = \int_0^1 \mathcal{N}(x;\ \mathrm{loc}_i(z),\ "
            r"\mathrm{scale}_i^2)\,dx"
        )


def _matched(
    mean: np.ndarray, variance: np.ndarray, scale: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """loc and scale of this mean and this variance, or for a given scale of this mean.

    Newton's method for the log odds of the mean, of which the derivative by loc is
    `variance / (mean (1 - mean) scale^2)`, and a fixed point for the variance.
    """
    loc, squared = mean, variance if scale is None else scale**2
    for step in range(STEPS):
        found, found_variance = _moments(loc, squared)
        ratio = np.log(mean / found) - np.log((1 - mean) / (1 - found))
        loc = loc + squared * ratio * found * (1 - found) / found_variance
        if scale is None and step % 2:
            factor = np.clip(variance / found_variance, 0.5, 2.0)
            squared = np.minimum(squared * factor, LARGEST**2)
    return loc, np.sqrt(squared)


def _moments(loc: np.ndarray, squared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance for a scale's square, by sums over points that are dense at both ends."""
    angle = (np.arange(200) + 0.5) * (np.pi / 200)
    x = (1 - np.cos(angle)) / 2
    exponent = np.log(np.sin(angle)) - (x - loc[..., None]) ** 2 / (2 * squared[..., None])
    weights = np.exp(exponent - exponent.max(-1, keepdims=True))
    total = weights.sum(-1)
    mean = weights @ x / total
    return mean, (weights * (x - mean[..., None]) ** 2).sum(-1) / total
