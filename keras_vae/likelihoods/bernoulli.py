"""p(x|z) for binary values."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.bits import Bits, IndependentBits
from keras_vae.likelihoods.likelihood import Likelihood
from keras_vae.statement import Statement
from keras_vae.support import BINARY, Support


@keras.saving.register_keras_serializable(package="keras_vae")
class Bernoulli(Likelihood):
    """`log p(x|z) = sum_i [x_i log m_i(z) + (1 - x_i) log(1 - m_i(z))]`, `m = sigmoid(logits)`.

    Defined for x in {0, 1} only. On grey values the same formula is no log density: it
    lacks the constant that makes a density on [0, 1] integrate to one (Loaiza-Ganem and
    Cunningham 2019), so such data is refused.

    Args:
        event_shape: E, the shape of one x.

    Parameters: `logits` `[B, *E]`. `mean` is `sigmoid(logits)`, a draw is binary.

    Raises:
        ValueError: if `event_shape` is not a tuple of positive integers, or when data has a
            value other than 0 and 1.

    Example: `keras_vae.likelihoods.Bernoulli((28, 28, 1))`

    References: G. Loaiza-Ganem and J. P. Cunningham, The continuous Bernoulli, NeurIPS 2019.
    """

    def projected(self) -> dict[str, tuple[int, ...]]:
        return {"logits": self.event_shape}

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"logits": raw["logits"]}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        logits = parameters["logits"]
        return IndependentBits(Bits(logits=logits, dtype=logits.dtype), len(self.event_shape))

    @property
    def support(self) -> Support:
        return BINARY

    def start(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        # A pixel that is never on in the training data may be on in the next example.
        mean = tf.clip_by_value(mean, 1e-3, 1 - 1e-3)
        return {"logits": tf.math.log(mean) - tf.math.log1p(-mean)}

    def noise_variance(self, mean: tf.Tensor, variance: tf.Tensor) -> tf.Tensor | None:
        return variance  # m(1 - m), which is the variance of binary data of mean m

    def statement(self) -> Statement:
        return self.stated(
            equation=r"p(x|z) = \prod_i m_i(z)^{x_i} (1 - m_i(z))^{1 - x_i},\quad m = \mathrm{sigmoid}(\mathrm{logits})",
            parameters={"logits": "linear in the decoder's features"},
            learned=("logits(z)",),
        )
