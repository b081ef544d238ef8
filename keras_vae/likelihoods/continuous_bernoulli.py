"""p(x|z) for values in [0, 1]: the Bernoulli formula made a density."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.likelihoods.likelihood import Likelihood
from keras_vae.statement import Statement
from keras_vae.support import CLOSED_UNIT, Support

NEWTON_STEPS = 8


@keras.saving.register_keras_serializable(package="keras_vae")
class ContinuousBernoulli(Likelihood):
    """`log p(x|z) = sum_i [x_i logits_i - log((exp(logits_i) - 1) / logits_i)]`.

    The cross-entropy `x log m + (1 - x) log(1 - m)`, `m = sigmoid(logits)`, of grey values
    is no log density: it lacks the logarithm of
    `C(m) = logits / tanh(logits / 2)`, which is at least 2. With it the density
    integrates to one over [0, 1]. The mean is `1 / (1 - exp(-logits)) - 1 / logits`, not m.

    Args:
        event_shape: E, the shape of one x.

    Parameters: `logits` `[B, *E]`.

    Raises:
        ValueError: if `event_shape` is not a tuple of positive integers, or when data has a
            value outside [0, 1].

    Example: `keras_vae.likelihoods.ContinuousBernoulli((28, 28, 1))`

    References: G. Loaiza-Ganem and J. P. Cunningham, The continuous Bernoulli: fixing a
    pervasive error in variational autoencoders, NeurIPS 2019.
    """

    def projected(self) -> dict[str, tuple[int, ...]]:
        return {"logits": self.event_shape}

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"logits": raw["logits"]}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        return self.independent_values(_of(parameters["logits"]))

    @property
    def support(self) -> Support:
        return CLOSED_UNIT

    def start(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        # A pixel that is never on in the training data may be on in the next example.
        mean = tf.clip_by_value(mean, 1e-3, 1 - 1e-3)
        # The mean is (1 + L(logits / 2)) / 2 with Langevin's L, inverted by A. Cohen's formula
        # (Rheologica Acta 1991) to 5 %, and then by Newton's method.
        y = 2 * mean - 1
        logits = 2 * y * (3 - y**2) / (1 - y**2)
        for _ in range(NEWTON_STEPS):
            logits = logits + (mean - _of(logits).mean()) / _of(logits).variance()
        return {"logits": logits}

    def noise_variance(self, mean: tf.Tensor, variance: tf.Tensor) -> tf.Tensor | None:
        return _of(self.start(mean, variance)["logits"]).variance()

    def statement(self) -> Statement:
        return self.stated(
            equation=r"p(x|z) = \prod_i C(m_i) m_i^{x_i} (1 - m_i)^{1 - x_i},\quad m = "
            r"\mathrm{sigmoid}(\mathrm{logits}(z)),\quad C(m) = \frac{2\,\mathrm{artanh}(1 - 2m)}{1 - 2m}",
            parameters={"logits": "linear in the decoder's features"},
            learned=("logits(z)",),
        )


def _of(logits: tf.Tensor) -> tfd.Distribution:
    return tfd.ContinuousBernoulli(logits=logits, dtype=logits.dtype)
