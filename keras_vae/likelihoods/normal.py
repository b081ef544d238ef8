"""p(x|z) for real values: where squared error comes from."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import is_real
from keras_vae.likelihoods.likelihood import Likelihood
from keras_vae.likelihoods.support import REAL, Support
from keras_vae.networks.projection import inverse_positive, positive
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae")
class Normal(Likelihood):
    """`log p(x|z) = -sum_i [(x_i - loc_i(z))^2 / 2 scale_i^2 + log scale_i + 1/2 log 2 pi]`.

    With a fixed scale this is squared error with the weight `1 / 2 scale^2`, and a constant
    `-d/2 log(2 pi scale^2)`. It is the error of the *mean* `loc(z)`, never of a draw from
    p(x|z), whose squared error is larger by `d scale^2` in expectation and trains nothing
    better. The smaller the scale, the more latent directions are worth their KL.

    Args:
        event_shape: E, the shape of one x.
        scale: a positive number, fixed; `"shared"`, one learned number (Rybkin et al. 2021);
            or `"per_value"`, a function of z for each value.

    Parameters: `loc` `[B, *E]`; `scale`, `[B, *E]` where it depends on z, else `[B, 1, ...]`.

    Raises:
        ValueError: if `event_shape` is not a tuple of positive integers, if `scale` is none
            of the three, or when data is NaN or infinite.

    Example: `keras_vae.likelihoods.Normal((28, 28, 1), scale="shared")`

    References: O. Rybkin, K. Daniilidis and S. Levine, Simple and Effective VAE Training
    with Calibrated Decoders, ICML 2021.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        scale: float | str = 1.0,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, name=name, dtype=dtype, trainable=trainable)
        if scale not in ("shared", "per_value") and not (is_real(scale) and float(scale) > 0):
            raise ValueError(
                "`scale` of Normal is the standard deviation of x given z. Expected: a "
                f'positive number, "shared" or "per_value". Received: {scale!r}.'
            )
        self.scale = scale if isinstance(scale, str) else float(scale)

    def build(self, features_shape: tuple[int | None, ...]) -> None:
        self.loc = self.projection("loc", self.event_shape, features_shape)
        if self.scale == "per_value":
            self.raw_scale = self.projection("scale", self.event_shape, features_shape)
        elif self.scale == "shared":
            start = keras.initializers.Constant(float(inverse_positive(1.0)))
            self.raw_scale = self.add_weight((), initializer=start, name="scale")

    def call(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
        loc = self.loc(features)
        if self.scale == "per_value":
            return {"loc": loc, "scale": positive(self.raw_scale(features))}
        # One number, but with the batch axis that every parameter leads with.
        ones = tf.ones_like(tf.reshape(loc, (tf.shape(loc)[0], -1))[:, :1])
        ones = tf.reshape(ones, (-1, *(1 for _ in self.event_shape)))
        if self.scale == "shared":
            return {"loc": loc, "scale": ones * positive(tf.cast(self.raw_scale, loc.dtype))}
        return {"loc": loc, "scale": ones * tf.constant(self.scale, loc.dtype)}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        return tfd.Independent(
            tfd.Normal(parameters["loc"], parameters["scale"]), len(self.event_shape)
        )

    def one_scale(self) -> float | None:
        """The scale of every value, fixed or as learned so far; None where it depends on z."""
        if self.scale == "per_value":
            return None
        return float(positive(self.raw_scale.value) if self.scale == "shared" else self.scale)

    @property
    def support(self) -> Support:
        return REAL

    def independent(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        if self.scale == "per_value":
            # A value that is constant in the training data still has a density: give it
            # a hundredth of the spread of the others.
            floor = 1e-4 * tf.reduce_mean(variance) + 1e-12
            return {"loc": mean, "scale": tf.sqrt(tf.maximum(variance, floor))}
        if self.scale == "shared":
            scale = tf.sqrt(tf.reduce_mean(variance) + 1e-12)
        else:
            scale = tf.constant(self.scale, mean.dtype)
        return {"loc": mean, "scale": tf.fill(self.event_shape, scale)}

    @property
    def untrained(self) -> bool:
        return self.loc.untrained

    def start_from(self, mean: tf.Tensor, variance: tf.Tensor) -> None:
        parameters = self.independent(*self.loc.shared_moments(mean, variance))
        self.loc.set_bias(parameters["loc"])
        if self.scale == "per_value":
            self.raw_scale.set_bias(inverse_positive(parameters["scale"]))
        elif self.scale == "shared":
            self.raw_scale.assign(inverse_positive(tf.reduce_mean(parameters["scale"])))

    def fixed_variance(self, variance: tf.Tensor) -> tf.Tensor | None:
        if self.scale == "shared":
            return None
        if self.scale == "per_value":
            return variance
        return tf.fill(self.event_shape, tf.constant(self.scale, variance.dtype) ** 2)

    def statement(self) -> Statement:
        sources = {
            "shared": "one learned number, through softplus",
            "per_value": "softplus of a linear function of the decoder's features",
        }
        learned = {"shared": ("loc(z)", "scale"), "per_value": ("loc(z)", "scale(z)")}
        return Statement(
            family="Normal",
            equation=r"p(x|z) = \prod_i \mathcal{N}(x_i;\ \mathrm{loc}_i(z),\ \mathrm{scale}_i^2)",
            event_shape=self.event_shape,
            support=self.support.name,
            parameters={
                "loc": "linear in the decoder's features",
                "scale": sources.get(str(self.scale), f"fixed at {self.scale}"),
            },
            learned=learned.get(str(self.scale), ("loc(z)",)),
            fixed=("values are independent given z",)
            + (() if isinstance(self.scale, str) else ("scale",)),
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "scale": self.scale}
