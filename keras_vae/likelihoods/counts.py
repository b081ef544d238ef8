"""What the likelihoods for counts have in common: the size factor and the dispersion."""

import keras
import tensorflow as tf

from keras_vae.likelihoods.likelihood import Likelihood
from keras_vae.networks.projection import inverse_positive, positive
from keras_vae.statement import Statement
from keras_vae.support import COUNTS, Support

# A count that is always 0 in the training data may be more in the next example.
SMALLEST_MEAN = 1e-4
# Inverse dispersions to start from: below the first nearly all counts are 0, above the
# second the family is a Poisson to many digits and no gradient says which t is better.
SMALLEST, LARGEST = 1e-2, 1e3

MEAN = "softplus of a linear function of the decoder's features"
DISPERSION = {
    "shared": "one learned number for each value of x, through softplus",
    "per_value": MEAN,
}


class CountLikelihood(Likelihood):
    """A likelihood of counts whose mean is `softplus(raw) + 1e-6`, times a size factor if any.

    For small means softplus is the exponential of the usual log-linear model; for large ones
    it is linear, so that no output of the decoder makes the mean infinite. The encoder is
    given `log(1 + x)`, as in scvi-tools: counts span orders of magnitude, a network's inputs
    should not.

    Args:
        event_shape: E, the shape of one x.
        size_factor: whether a factor s > 0, of mean about one, is observed with each x.

    Raises:
        ValueError: if `event_shape` is not a tuple of positive integers, or `size_factor` no
            bool.

    Attributes:
        factored: the parameter that the size factor multiplies.
    """

    factored = "rate"

    def __init__(
        self,
        event_shape: tuple[int, ...] = (),
        size_factor: bool = False,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, name=name, dtype=dtype, trainable=trainable)
        if not isinstance(size_factor, bool):
            raise ValueError(
                f"`size_factor` of {type(self).__name__} says whether a size factor is observed "
                f"with each x. Expected: True or False. Received: {size_factor!r}. The factors "
                "themselves are given with the data."
            )
        self.size_factor = size_factor
        self.takes_size_factor = size_factor

    def observed(
        self, parameters: dict[str, tf.Tensor], size_factor: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        if size_factor is None:
            return parameters
        mean = parameters[self.factored]
        factor = tf.reshape(tf.cast(size_factor, mean.dtype), (-1,) + (1,) * len(self.event_shape))
        return {**parameters, self.factored: factor * mean}

    @property
    def support(self) -> Support:
        return COUNTS

    def encoder_input(self, x: tf.Tensor) -> tf.Tensor:
        return keras.ops.log1p(x)

    def stated_of_counts(
        self, equation: str, parameters: dict[str, str], learned: tuple[str, ...]
    ) -> Statement:
        """The statement of this family, with what is to be said of its mean and of x."""
        source = f"{MEAN}, times the observed size factor" if self.size_factor else MEAN
        return self.stated(
            equation=equation,
            parameters={self.factored: source, **parameters},
            learned=(f"{self.factored}(z)", *learned),
            fixed=("values are independent given z", "the encoder is given log(1 + x)"),
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "size_factor": self.size_factor}


class DispersedLikelihood(CountLikelihood):
    """A likelihood of counts with a `rate`, their mean, and an `inverse_dispersion`, which is one of:

    - `"shared"`, one learned number for each value of x, whatever z;
    - `"per_value"`, a function of z for each value of x.

    Args:
        event_shape: E, the shape of one x.
        dispersion: one of the two.
        size_factor: whether a factor s > 0, of mean about one, is observed with each x.

    Raises:
        ValueError: if `event_shape` is not a tuple of positive integers, if `dispersion` is
            none of the two, or `size_factor` no bool.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...] = (),
        dispersion: str = "shared",
        size_factor: bool = False,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, size_factor, name=name, dtype=dtype, trainable=trainable)
        if dispersion not in tuple(DISPERSION):  # of a dict, a list would be a TypeError
            raise ValueError(
                f"`dispersion` of {type(self).__name__} says what the inverse dispersion depends "
                'on. Expected: "shared", one learned number for each value of x, or "per_value", '
                f"a function of z. Received: {dispersion!r}."
            )
        self.dispersion = dispersion

    def projected(self) -> dict[str, tuple[int, ...]]:
        shapes = {"rate": self.event_shape}
        if self.dispersion == "per_value":
            shapes["inverse_dispersion"] = self.event_shape
        return shapes

    def shared(self) -> dict[str, tuple[tuple[int, ...], float]]:
        if self.dispersion == "per_value":
            return {}
        return {"inverse_dispersion": (self.event_shape, float(inverse_positive(1.0)))}

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {name: positive(raw[name]) for name in ("rate", "inverse_dispersion")}

    def start_counts(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        """The raw rate and inverse dispersion t of counts of these moments, for `start`.

        `variance = mean + mean^2 / t` gives t, which is cut off at `SMALLEST` and `LARGEST`.
        """
        mean = tf.maximum(mean, SMALLEST_MEAN)
        excess = tf.maximum(variance - mean, mean**2 / LARGEST)
        dispersion = tf.maximum(mean**2 / excess, SMALLEST)
        return {
            "rate": inverse_positive(mean),
            "inverse_dispersion": inverse_positive(dispersion),
        }

    def of_dispersion(self) -> str:
        """The inverse dispersion in words, for what a statement says is learned."""
        return "inverse_dispersion" + "(z)" * (self.dispersion == "per_value")

    def get_config(self) -> dict:
        return {**super().get_config(), "dispersion": self.dispersion}
