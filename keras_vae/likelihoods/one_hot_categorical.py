"""p(x|z) for words or other categories that are given as one-hot vectors."""

import math

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.likelihoods.likelihood import Likelihood
from keras_vae.likelihoods.multinomial import require_vocabulary
from keras_vae.statement import Statement
from keras_vae.support import ONE_HOT, Support


@keras.saving.register_keras_serializable(package="keras_vae")
class OneHotCategorical(Likelihood):
    """`log p(x|z) = sum_t sum_v x_tv log softmax(logits(z)_t)_v`, one v of each t being 1.

    The last axis of x is the vocabulary; the others are positions, independent given z. The
    mean is the probabilities, a draw is one-hot. `Categorical` is the same density for
    indices, which take less memory.

    Args:
        event_shape: E, the shape of one x, such as `(20, 4)` for twenty bases of four kinds.

    Parameters: `logits` `[B, *E]`.

    Raises:
        ValueError: if `event_shape` is not a tuple of positive integers or has no axis, or when
            data has a vector that is not one-hot.

    Example: `keras_vae.likelihoods.OneHotCategorical((20, 4))`
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

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"logits": raw["logits"]}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        logits = parameters["logits"]
        one = tfd.OneHotCategorical(logits=logits, dtype=logits.dtype)
        return tfd.Independent(one, len(self.event_shape) - 1)

    @property
    def support(self) -> Support:
        return ONE_HOT

    @property
    def code_size(self) -> int | None:
        return math.prod(self.event_shape[:-1])  # positions: a vector is one choice

    def start(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        # A category that is never seen in the training data may be so in the next example.
        return {"logits": tf.math.log(tf.maximum(mean, 1e-3 / self.event_shape[-1]))}

    def statement(self) -> Statement:
        return self.stated(
            equation=(
                r"p(x|z) = \prod_t \prod_v \pi_{tv}(z)^{x_{tv}},\quad "
                r"\pi_t = \mathrm{softmax}(\mathrm{logits}_t)"
            ),
            parameters={"logits": "linear in the decoder's features"},
            learned=("logits(z)",),
            fixed=("positions are independent given z",),
        )
