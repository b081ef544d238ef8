"""p(x|z) for the counts of one bag of words, given how many there are."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions import multinomial
from keras_vae.likelihoods.likelihood import Likelihood
from keras_vae.statement import Statement
from keras_vae.support import COUNTS, Support

# A word that is in no training document may be in the next one.
SMALLEST_SHARE = 1e-4


@keras.saving.register_keras_serializable(package="keras_vae")
class Multinomial(Likelihood):
    """`log p(x|z, n) = log n! - sum_i log x_i! + sum_i x_i log softmax(logits(z))_i`, `n = sum x`.

    The words of a document in any order: E is the vocabulary, however many axes it has. The
    total n is observed and has no distribution of its own, so that this is the density of x
    given n; an x without words has density one. `mean` and draws, which have no x to take n
    from, have the mean total of the training data, or one before there were any. The encoder
    is given `log(1 + x)`.

    Args:
        event_shape: E, the vocabulary, such as `(2000,)`.

    Parameters: `logits` `[B, *E]`; `total_count` `[B]`, of means and draws only. A draw has the
        next whole number of words.

    Raises:
        ValueError: if `event_shape` is not a tuple of positive integers or has no axis, or when
            data has a value that is no whole number >= 0.

    Example: `keras_vae.likelihoods.Multinomial((2000,))`

    References: Y. Miao, L. Yu and P. Blunsom, Neural Variational Inference for Text
    Processing, ICML 2016.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, name=name, dtype=dtype, trainable=trainable)
        require_vocabulary(self)

    def projected(self) -> dict[str, tuple[int, ...]]:
        return {"logits": self.event_shape}

    def build(self, features_shape: tuple[int | None, ...]) -> None:
        super().build(features_shape)
        # Of the data, by `start_from`; no gradient reaches it.
        self.learned["total_count"] = self.add_weight(
            (), initializer="ones", trainable=False, autocast=False, name="total_count"
        )

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"logits": raw["logits"], "total_count": raw["total_count"]}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        return multinomial.Multinomial(
            parameters["total_count"], parameters["logits"], len(self.event_shape)
        )

    @property
    def support(self) -> Support:
        return COUNTS

    def start(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        total = tf.reduce_sum(mean)
        floor = SMALLEST_SHARE * tf.reduce_mean(mean) + 1e-12
        return {"logits": tf.math.log(tf.maximum(mean, floor)), "total_count": total}

    def encoder_input(self, x: tf.Tensor) -> tf.Tensor:
        return keras.ops.log1p(x)

    def statement(self) -> Statement:
        return self.stated(
            equation=(
                r"p(x|z, n) = \frac{n!}{\prod_i x_i!} \prod_i \pi_i(z)^{x_i},\quad "
                r"\pi = \mathrm{softmax}(\mathrm{logits}),\ n = \sum_i x_i"
            ),
            parameters={
                "logits": "linear in the decoder's features",
                "total_count": "observed: in a density that of x, else the training data's mean",
            },
            learned=("logits(z)",),
            fixed=(
                "words are independent given z and their number",
                "the encoder is given log(1 + x)",
            ),
        )


def require_vocabulary(likelihood: Likelihood) -> None:
    """Raises a ValueError for an event without an axis."""
    if not likelihood.event_shape:
        raise ValueError(
            f"`event_shape` of {type(likelihood).__name__} has the vocabulary as its last axis. "
            f"Expected: at least one axis, such as (2000,). Received: {likelihood.event_shape}."
        )
