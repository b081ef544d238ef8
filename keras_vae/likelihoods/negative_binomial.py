"""p(x|z) for counts that vary more than their mean."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions import negative_binomial
from keras_vae.likelihoods.counts import DISPERSION, DispersedLikelihood
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae")
class NegativeBinomial(DispersedLikelihood):
    """`p(x|z) = prod_i NB(x_i; rate_i(z), t_i)`, of variance `rate_i + rate_i^2 / t_i`.

    NB(x; m, t) is a Poisson whose rate is itself drawn, from a Gamma distribution of mean m
    and variance m^2 / t. The inverse dispersion t says how much the counts vary beyond a
    Poisson, which is the limit of large t. Mean and t are `softplus(raw) + 1e-6`. The encoder
    is given `log(1 + x)`.

    Args:
        event_shape: E, the shape of one x.
        dispersion: `"shared"`, one learned t for each value of x, whatever z; or
            `"per_value"`, a function of z.
        size_factor: whether a factor s > 0, of mean about one, is observed with each x, such
            as the library size of a cell; the mean is then `s rate(z)`.

    Parameters: `rate` and `inverse_dispersion`, `[B, *E]`.

    Raises:
        ValueError: if `event_shape` is not a tuple of positive integers, if `dispersion` is
            none of the two or `size_factor` no bool, or when data has a value that is no
            whole number >= 0.

    Example: `keras_vae.likelihoods.NegativeBinomial((2000,), size_factor=True)`

    References: R. Lopez, J. Regier, M. B. Cole, M. I. Jordan and N. Yosef, Deep Generative
    Modeling for Single-Cell Transcriptomics, Nature Methods 2018.
    """

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        return self.independent_values(negative_binomial.NegativeBinomial(**parameters))

    def start(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.start_counts(mean, variance)

    def statement(self) -> Statement:
        return self.stated_of_counts(
            equation=(
                r"p(x|z) = \prod_i \mathrm{NB}(x_i;\ \mathrm{rate}_i(z),\ t_i),\quad "
                r"\mathrm{Var}(x_i|z) = \mathrm{rate}_i + \mathrm{rate}_i^2 / t_i,\quad "
                r"t = \mathrm{inverse\_dispersion}"
            ),
            parameters={"inverse_dispersion": DISPERSION[self.dispersion]},
            learned=(self.of_dispersion(),),
        )
