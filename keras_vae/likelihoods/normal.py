"""p(x|z) for real values: where squared error comes from."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.likelihoods.likelihood import mean_to_shape
from keras_vae.likelihoods.scaled import ScaledLikelihood, spread
from keras_vae.networks.projection import SCALE_FLOOR, positive
from keras_vae.replicas import summed
from keras_vae.statement import Statement
from keras_vae.support import REAL, Support

MEMORY = 100  # steps of training, whose mean squared error is the optimal scale at evaluation


@keras.saving.register_keras_serializable(package="keras_vae")
class Normal(ScaledLikelihood):
    """`log p(x|z) = -sum_i [(x_i - loc_i(z))^2 / 2 scale_i^2 + log scale_i + 1/2 log 2 pi]`.

    With a fixed scale this is squared error with the weight `1 / 2 scale^2`, and a constant
    `-d/2 log(2 pi scale^2)`. It is the error of the *mean* `loc(z)`, never of a draw from
    p(x|z), whose squared error is larger by `d scale^2` in expectation and trains nothing
    better. The smaller the scale, the more latent directions are worth their KL.

    `"optimal"` is the scale that maximises the mean of log p(x|z) over a batch and its draws
    of z: `scale^2` is the mean squared error. No gradient passes through it, and none is
    lost: at a maximum over the scale the derivative by the scale is zero, so the total
    derivative of the maximised bound by any other weight is the partial one (the envelope
    theorem). This is exact for the ELBO; for another bound, or with sample weights, the
    scale is still the one that fits the errors. Evaluation takes the mean squared error of
    about the last 100 steps, a weight that no optimizer changes. Here sigma-VAE's objective
    is `-d/2 log(mean squared error)` up to a constant.

    Args:
        event_shape: E, the shape of one x.
        scale: a positive number, fixed; `"shared"`, one learned number; `"per_channel"`, one
            for each channel, the last axis of x; `"per_value"`, a function of z for each
            value; or `"optimal"`, the analytic optimum of `"shared"` (Rybkin et al. 2021).

    Parameters: `loc` `[B, *E]`; `scale`, `[B, *E]` where it depends on z, else `[B, 1, ...]`,
        with the channels last where each has its own.

    Raises:
        ValueError: if `event_shape` is not a tuple of positive integers, if `scale` is none
            of the five, or when data is NaN or infinite.

    Example: `keras_vae.likelihoods.Normal((28, 28, 1), scale="shared")`

    References: O. Rybkin, K. Daniilidis and S. Levine, Simple and Effective VAE Training
    with Calibrated Decoders, ICML 2021.
    """

    words = (*ScaledLikelihood.words, "optimal")

    def build(self, features_shape: tuple[int | None, ...]) -> None:
        super().build(features_shape)
        if self.scale == "optimal":
            self.learned["variance"] = self._statistic("variance", (1,) * len(self.event_shape))
            self.steps = self._statistic("steps", ())

    def _statistic(self, name: str, shape: tuple[int, ...]) -> keras.Variable:
        first = "ones" if name == "variance" else "zeros"
        return self.add_weight(
            shape,
            initializer=first,
            trainable=False,
            autocast=False,  # a small variance is none in half precision
            aggregation="mean",
            name=name,
        )

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        if self.scale == "optimal":
            return {"loc": raw["loc"], "scale": _root(raw["variance"])}
        return {"loc": raw["loc"], "scale": self.scale_from(raw)}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        return self.independent_values(tfd.Normal(parameters["loc"], parameters["scale"]))

    def adapt(
        self, distribution: tfd.Distribution, x: tf.Tensor, weight: tf.Tensor | None = None
    ) -> tfd.Distribution:
        """With `"optimal"`, p(x|z) at the batch's optimal scale, which is also remembered."""
        if self.scale != "optimal" or not self.trainable:
            return distribution
        loc = distribution.distribution.loc
        squared = tf.stop_gradient((x - loc) ** 2)  # [K, B, *E]
        variance = _mean_of_all_replicas(squared, self._weights(weight, squared))
        self._remember(variance)
        return self.distribution({"loc": loc, "scale": self.filled(_root(variance), loc)})

    def _weights(self, weight: tf.Tensor | None, like: tf.Tensor) -> tf.Tensor:
        if weight is None:
            return tf.ones_like(like)
        weight = tf.reshape(tf.cast(weight, like.dtype), (-1, *(1,) * len(self.event_shape)))
        return tf.broadcast_to(weight, tf.shape(like))

    def _remember(self, variance: tf.Tensor) -> None:
        """A mean of all steps at first, so that the first sets it, then a moving one."""
        old = self.learned["variance"]
        steps = tf.convert_to_tensor(self.steps) + 1
        rate = tf.maximum(1 / steps, 1 / MEMORY)
        old.assign(old + rate * (tf.cast(variance, steps.dtype) - old))
        self.steps.assign(steps)

    def one_scale(self) -> float | None:
        """The scale of every value, fixed or as learned so far; None where values differ in it."""
        if self.scale in ("per_value", "per_channel"):
            return None
        if self.scale == "shared":
            return float(positive(tf.reshape(self.learned["scale"], ())))
        if self.scale == "optimal":
            return float(_root(tf.reshape(self.learned["variance"], ())))
        return float(self.scale)

    @property
    def support(self) -> Support:
        return REAL

    def start(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        if self.scale == "optimal":
            common = mean_to_shape(variance, self.scale_shape)
            return {"loc": mean, "variance": tf.broadcast_to(common, tf.shape(variance))}
        own = spread(variance) if self.scale == "per_value" else tf.sqrt(variance + 1e-12)
        return {"loc": mean, **self.start_scale(own)}

    def noise_variance(self, mean: tf.Tensor, variance: tf.Tensor) -> tf.Tensor | None:
        if self.scale in ("shared", "optimal"):
            return None
        if self.scale == "per_channel":  # each channel's scale shrinks on its own
            return super().noise_variance(mean, variance)
        if self.scale == "per_value":
            return variance
        return tf.fill(self.event_shape, tf.constant(self.scale, variance.dtype) ** 2)

    def statement(self) -> Statement:
        return self.stated_with_scale(
            r"p(x|z) = \prod_i \mathcal{N}(x_i;\ \mathrm{loc}_i(z),\ \mathrm{scale}_i^2)"
        )


def _root(variance: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.maximum(variance, SCALE_FLOOR**2))


def _mean_of_all_replicas(values: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """The weighted mean, a scalar; over the whole batch where replicas hold parts of it.

    What is NaN is missing (`likelihoods.Missing`) and does not count.
    """
    known = ~tf.math.is_nan(values)
    total = tf.reduce_sum(tf.where(known, weights * values, tf.zeros_like(values)))
    size = tf.reduce_sum(tf.where(known, weights, tf.zeros_like(values)))
    total, size = summed([total, size])
    return tf.math.divide_no_nan(total, size)
