"""p(x|z) for counts with more zeros than a negative binomial has."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions import negative_binomial
from keras_vae.likelihoods.counts import DISPERSION, SMALLEST_MEAN, DispersedLikelihood
from keras_vae.statement import Statement

# The share of extra zeros to start from: two moments do not tell them from dispersion.
FIRST_SHARE = 0.05


@keras.saving.register_keras_serializable(package="keras_vae")
class ZeroInflatedNegativeBinomial(DispersedLikelihood):
    """`p(x|z) = prod_i [w_i(z) [x_i = 0] + (1 - w_i(z)) NB(x_i; rate_i(z), t_i)]`.

    A value is 0 with the probability `w = sigmoid(inflated_loc_logits)`, whatever its mean,
    as where a measurement missed it; else it is a count of `NegativeBinomial`. `rate` is the mean
    of the counts: the expected x is `(1 - w) rate`. The encoder is given `log(1 + x)`.

    Args:
        event_shape: E, the shape of one x.
        dispersion: `"shared"`, one learned t for each value of x, whatever z; or
            `"per_value"`, a function of z.
        size_factor: whether a factor s > 0, of mean about one, is observed with each x, such
            as the library size of a cell; the mean of the counts is then `s rate(z)`.

    Parameters: `rate`, `inverse_dispersion` and `inflated_loc_logits`, `[B, *E]`.

    Raises:
        ValueError: if `event_shape` is not a tuple of positive integers, if `dispersion` is
            none of the two or `size_factor` no bool, or when data has a value that is no
            whole number >= 0.

    Example: `keras_vae.likelihoods.ZeroInflatedNegativeBinomial((2000,), size_factor=True)`

    References: R. Lopez, J. Regier, M. B. Cole, M. I. Jordan and N. Yosef, Deep Generative
    Modeling for Single-Cell Transcriptomics, Nature Methods 2018.
    """

    def projected(self) -> dict[str, tuple[int, ...]]:
        return {**super().projected(), "inflated_loc_logits": self.event_shape}

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {**super().link(raw), "inflated_loc_logits": raw["inflated_loc_logits"]}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        return self.independent_values(negative_binomial.ZeroInflatedNegativeBinomial(**parameters))

    def start(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        kept = 1 - FIRST_SHARE
        counted = tf.maximum(mean, SMALLEST_MEAN) / kept
        # variance = kept * (that of the counts + FIRST_SHARE * counted^2)
        raw = self.start_counts(counted, variance / kept - FIRST_SHARE * counted**2)
        logit = tf.math.log(tf.constant(FIRST_SHARE / kept, mean.dtype))
        return {**raw, "inflated_loc_logits": tf.fill(tf.shape(mean), logit)}

    def statement(self) -> Statement:
        return self.stated_of_counts(
            equation=(
                r"p(x|z) = \prod_i \left[w_i(z)\,[x_i = 0] + "
                r"(1 - w_i(z))\,\mathrm{NB}(x_i;\ \mathrm{rate}_i(z),\ t_i)\right],\quad "
                r"w = \mathrm{sigmoid}(\mathrm{inflated\_loc\_logits}),\ "
                r"t = \mathrm{inverse\_dispersion}"
            ),
            parameters={
                "inverse_dispersion": DISPERSION[self.dispersion],
                "inflated_loc_logits": "linear in the decoder's features",
            },
            learned=(self.of_dispersion(), "inflated_loc_logits(z)"),
        )
