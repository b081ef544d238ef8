"""p(x|z) for real values: where squared error comes from."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import is_real
from keras_vae.likelihoods.likelihood import Likelihood
from keras_vae.networks.projection import inverse_positive, positive
from keras_vae.statement import Statement
from keras_vae.support import REAL, Support


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
        event_shape: tuple[int, ...] = (),
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

    def projected(self) -> dict[str, tuple[int, ...]]:
        shapes = {"loc": self.event_shape}
        return {**shapes, "scale": self.event_shape} if self.scale == "per_value" else shapes

    def shared(self) -> dict[str, tuple[tuple[int, ...], float]]:
        one = float(inverse_positive(1.0))
        return {"scale": ((1,) * len(self.event_shape), one)} if self.scale == "shared" else {}

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        if "scale" in raw:
            return {"loc": raw["loc"], "scale": positive(raw["scale"])}
        return {"loc": raw["loc"], "scale": self.filled(self.scale, raw["loc"])}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        return self.independent_values(tfd.Normal(parameters["loc"], parameters["scale"]))

    def one_scale(self) -> float | None:
        """The scale of every value, fixed or as learned so far; None where it depends on z."""
        if self.scale == "per_value":
            return None
        if self.scale == "shared":
            return float(positive(tf.reshape(self.learned["scale"], ())))
        return float(self.scale)

    @property
    def support(self) -> Support:
        return REAL

    def start(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        if self.scale == "per_value":
            # A value that is constant in the training data still has a density: give it
            # a hundredth of the spread of the others.
            floor = 1e-4 * tf.reduce_mean(variance) + 1e-12
            scale = tf.sqrt(tf.maximum(variance, floor))
        elif self.scale == "shared":
            scale = tf.fill(tf.shape(mean), tf.sqrt(tf.reduce_mean(variance) + 1e-12))
        else:
            return {"loc": mean}
        return {"loc": mean, "scale": inverse_positive(scale)}

    def noise_variance(self, mean: tf.Tensor, variance: tf.Tensor) -> tf.Tensor | None:
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
        return self.stated(
            equation=r"p(x|z) = \prod_i \mathcal{N}(x_i;\ \mathrm{loc}_i(z),\ \mathrm{scale}_i^2)",
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
