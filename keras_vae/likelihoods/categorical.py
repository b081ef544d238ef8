"""p(x|z) for categories that are given by their index."""

import keras
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from keras_vae.likelihoods.levels import apart, at_least_two, side_by_side
from keras_vae.likelihoods.likelihood import Likelihood
from keras_vae.statement import Statement
from keras_vae.support import Support, category_indices

# A category that is never seen in the training data may be so in the next example.
SMALLEST_SHARE = 1e-3


@keras.saving.register_keras_serializable(package="keras_vae")
class Categorical(Likelihood):
    """`log p(x|z) = sum_i log softmax(logits_i(z))_{x_i}`, x_i one of 0, 1, ..., classes - 1.

    The order of the categories means nothing, so neither does the mean of their indices: what
    stands for the distribution is its mode. The encoder is given the categories one-hot,
    those of the last axis side by side: `[B, *E[:-1], E[-1] * classes]`.

    Training starts from the mean and the variance of the indices, which say little of how
    frequent each of many categories is; of two they say all.

    Args:
        classes: how many categories there are, at least two.
        event_shape: E, the shape of one x.

    Parameters: `logits` `[B, *E, classes]`.

    Raises:
        ValueError: if `classes` is no integer above one, if `event_shape` is not a tuple of
            positive integers, or when data has a value that is no index.

    Example: `keras_vae.likelihoods.Categorical(5, (28, 28, 1))`
    """

    def __init__(
        self,
        classes: int,
        event_shape: tuple[int, ...] = (),
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, name=name, dtype=dtype, trainable=trainable)
        self.classes = at_least_two(classes, "classes", self, "the number of categories")

    def projected(self) -> dict[str, tuple[int, ...]]:
        return {"logits": side_by_side(self.event_shape, self.classes)}

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"logits": apart(raw["logits"], self.event_shape, self.classes)}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        logits = parameters["logits"]
        return self.independent_values(tfd.Categorical(logits=logits, dtype=logits.dtype))

    def centre(self, distribution: tfd.Distribution) -> tf.Tensor:
        """The most likely category, because the mean of indices is none."""
        return distribution.mode()

    def average(self, distribution: tfd.Distribution, weights: tf.Tensor) -> tf.Tensor:
        """The most likely category of the mixture."""
        probs = tf.nn.softmax(distribution.distribution.logits)
        weights = tf.reshape(
            weights, tf.concat([tf.shape(weights), [1] * (len(self.event_shape) + 1)], 0)
        )
        return tf.cast(tf.argmax(tf.reduce_sum(weights * probs, axis=0), axis=-1), probs.dtype)

    @property
    def support(self) -> Support:
        return category_indices(self.classes)

    def start(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        """The beta-binomial of these moments, mixed with a little of the uniform."""
        log_mass = _beta_binomial(mean, variance, self.classes)
        mass = (1 - SMALLEST_SHARE) * tf.nn.softmax(log_mass) + SMALLEST_SHARE / self.classes
        shape = side_by_side(self.event_shape, self.classes)
        return {"logits": tf.reshape(tf.math.log(mass), shape)}

    def encoder_input(self, x: tf.Tensor) -> tf.Tensor:
        indices = keras.ops.cast(x, "int32")
        one_hot = keras.ops.one_hot(indices, self.classes, dtype=self.density_dtype)
        return keras.ops.reshape(one_hot, (-1, *side_by_side(self.event_shape, self.classes)))

    def statement(self) -> Statement:
        return self.stated(
            equation=(
                r"p(x|z) = \prod_i \pi_{i x_i}(z),\quad "
                r"\pi_i = \mathrm{softmax}(\mathrm{logits}_i)"
            ),
            parameters={"logits": "linear in the decoder's features"},
            learned=("logits(z)",),
            fixed=("values are independent given z", "the encoder is given one-hot vectors"),
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "classes": self.classes}


def _beta_binomial(mean: tf.Tensor, variance: tf.Tensor, classes: int) -> tf.Tensor:
    """Its log mass at 0, 1, ..., classes - 1 but for a constant, `[*E, classes]`.

    The mean is n p and the variance n p (1 - p) (1 + (n - 1) rho), with n = classes - 1.
    """
    n = classes - 1
    p = tf.clip_by_value(mean / n, SMALLEST_SHARE, 1 - SMALLEST_SHARE)[..., None]
    excess = variance[..., None] / (n * p * (1 - p)) - 1
    rho = tf.clip_by_value(excess / max(n - 1, 1), 1e-3, 1 - 1e-3)
    a, b = p * (1 / rho - 1), (1 - p) * (1 / rho - 1)
    k = tf.range(classes, dtype=mean.dtype)
    choices = tf.math.lgamma(k + 1) + tf.math.lgamma(n - k + 1)
    return tfp.math.lbeta(k + a, n - k + b) - choices
