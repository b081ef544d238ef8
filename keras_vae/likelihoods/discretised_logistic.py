"""p(x|z) for bytes, and for other whole numbers from 0 to a largest one."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions import discretised_logistic
from keras_vae.likelihoods.levels import at_least_two, logistic_moments, scaled, support_of
from keras_vae.likelihoods.scaled import ScaledLikelihood
from keras_vae.statement import Statement
from keras_vae.support import Support


@keras.saving.register_keras_serializable(package="keras_vae")
class DiscretisedLogistic(ScaledLikelihood):
    """`log p(x|z) = sum_i log [F((u_i + h - loc_i) / scale_i) - F((u_i - h - loc_i) / scale_i)]`.

    F is the logistic function, `u = 2 x / (levels - 1) - 1` is x in [-1, 1], and
    `h = 1 / (levels - 1)` half the distance between two levels. The first and the last level
    take the tails. It is a distribution of the bytes themselves, so that its negative logarithm
    is a code length, and compares in bits per dimension (`evaluation.bits_per_dimension`). The
    encoder is given u.

    Args:
        event_shape: E, the shape of one x.
        levels: how many whole numbers, from 0 on, x may be.
        scale: in units of u: `"per_value"`, a function of z; `"shared"`, one learned number;
            `"per_channel"`, one for each channel; or a positive number, fixed.

    Parameters: `loc` `[B, *E]`, in units of u; `scale`, `[B, *E]` where it depends on z, else
        ones in place of the axes that share it.

    Raises:
        ValueError: if `event_shape` is not a tuple of positive integers, if `levels` is no
            integer above one, if `scale` is none of the four, or when data has a value that is
            no level.

    Example: `keras_vae.likelihoods.DiscretisedLogistic((32, 32, 3))`

    References: D. P. Kingma et al., Improving Variational Inference with Inverse
    Autoregressive Flow, NeurIPS 2016. T. Salimans, A. Karpathy, X. Chen and D. P. Kingma,
    PixelCNN++, ICLR 2017.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...] = (),
        levels: int = 256,
        scale: float | str = "per_value",
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, scale, name=name, dtype=dtype, trainable=trainable)
        self.levels = at_least_two(levels, "levels", self, "the number of values that x may have")

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"loc": raw["loc"], "scale": self.scale_from(raw)}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        return self.independent_values(
            discretised_logistic.DiscretisedLogistic(**parameters, levels=self.levels)
        )

    @property
    def support(self) -> Support:
        return support_of(self.levels)

    def start(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        # By the moments of the logistic: rounding and the two ends change them a little.
        loc, scale = logistic_moments(mean, variance, self.levels)
        return {"loc": loc, **self.start_scale(scale)}

    def encoder_input(self, x: tf.Tensor) -> tf.Tensor:
        return scaled(x, self.levels)

    def statement(self) -> Statement:
        return self.stated_with_scale(
            equation=(
                r"p(x|z) = \prod_i \left[F\left(\frac{u_i + h - \mathrm{loc}_i(z)}"
                r"{\mathrm{scale}_i}\right) - F\left(\frac{u_i - h - \mathrm{loc}_i(z)}"
                r"{\mathrm{scale}_i}\right)\right],\quad F(a) = \frac{1}{1 + e^{-a}},\ "
                rf"u = \frac{{2 x}}{{{self.levels - 1}}} - 1,\ h = \frac{{1}}{{{self.levels - 1}}}"
            ),
            fixed=(
                "the two tails belong to the first and the last level",
                "the encoder is given u",
            ),
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "levels": self.levels}
