"""p(x|z) for real values with heavy tails."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import is_real
from keras_vae.likelihoods.scaled import ScaledLikelihood, spread
from keras_vae.networks.projection import inverse_positive, positive
from keras_vae.statement import Statement
from keras_vae.support import REAL, Support

# At and below two degrees of freedom the variance is infinite (at and below one there is no
# mean): the moments of data could not start it, and draws of x would have no spread to compare.
DF_FLOOR = 2.0
DF_START = 5.0  # clearly heavier tails than a Normal, and a finite fourth moment


@keras.saving.register_keras_serializable(package="keras_vae")
class StudentT(ScaledLikelihood):
    """`log p(x|z) = -sum_i [(df + 1)/2 log(1 + y_i^2 / df) + log scale_i + log c(df)]`.

    With `y_i = (x_i - loc_i(z)) / scale_i` and `c(df) = sqrt(df) B(1/2, df/2)`. The tails
    fall as a power, so that the pull of a value on `loc` vanishes the further off it is. A
    large df is a Normal. The variance of x given z is `scale^2 df / (df - 2)`.

    Args:
        event_shape: E, the shape of one x.
        scale: a positive number, fixed; `"shared"`, one learned number; `"per_channel"`, one
            for each channel, the last axis of x; or `"per_value"`, a function of z for each
            value.
        df: the degrees of freedom, a number above 2, fixed; or `"shared"`, one learned
            number, `2 + softplus`, which starts at 5.

    Parameters: `loc` `[B, *E]`; `scale`, `[B, *E]` where it depends on z, else `[B, 1, ...]`,
        with the channels last where each has its own; `df` `[B, 1, ...]`. `mean` is `loc`.

    Raises:
        ValueError: if `event_shape` is not a tuple of positive integers, if `scale` is none
            of the four, if `df` is neither above 2 nor `"shared"`, or when data is NaN or
            infinite.

    Example: `keras_vae.likelihoods.StudentT((10,), scale="shared", df=4.0)`

    References: K. L. Lange, R. J. A. Little and J. M. G. Taylor, Robust Statistical Modeling
    Using the t Distribution, JASA 1989.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...] = (),
        scale: float | str = 1.0,
        df: float | str = "shared",
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, scale, name=name, dtype=dtype, trainable=trainable)
        if df != "shared" and not (is_real(df) and float(df) > DF_FLOOR):
            raise ValueError(
                "`df` of StudentT is its degrees of freedom. Expected: a number above 2, where "
                f'the variance is finite, or "shared". Received: {df!r}.'
            )
        self.df = df if isinstance(df, str) else float(df)

    def shared(self) -> dict[str, tuple[tuple[int, ...], float]]:
        if self.df != "shared":
            return super().shared()
        first = float(inverse_positive(DF_START - DF_FLOOR))
        return {**super().shared(), "df": ((1,) * len(self.event_shape), first)}

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        df = DF_FLOOR + positive(raw["df"]) if "df" in raw else self.filled(self.df, raw["loc"])
        return {"loc": raw["loc"], "scale": self.scale_from(raw), "df": df}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        df, loc, scale = (parameters[name] for name in ("df", "loc", "scale"))
        return self.independent_values(tfd.StudentT(df, loc, scale))

    @property
    def support(self) -> Support:
        return REAL

    def start(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        # By moments, which say nothing of the tails: maximum likelihood has no closed form.
        df = self.df if isinstance(self.df, float) else DF_START
        raw = {"loc": mean, **self.start_scale(spread(variance) * ((df - 2) / df) ** 0.5)}
        if self.df == "shared":
            raw["df"] = inverse_positive(tf.fill(tf.shape(mean), tf.cast(df - 2, mean.dtype)))
        return raw

    def statement(self) -> Statement:
        learned = self.df == "shared"
        source = "one learned number, 2 + softplus" if learned else f"fixed at {self.df}"
        return self.stated_with_scale(
            r"p(x|z) = \prod_i \mathrm{StudentT}(x_i;\ \mathrm{df}, \mathrm{loc}_i(z), "
            r"\mathrm{scale}_i)",
            parameters={"df": source},
            learned=("df",) if learned else (),
            fixed=() if learned else ("df",),
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "df": self.df}
