"""The multinomial given a total that each x brings with it."""

import math

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd


class Multinomial(tfd.Distribution):
    """`log p(x | n) = log n! - sum_i log x_i! + sum_i x_i log softmax(logits)_i`, `n = sum x`.

    The total n is observed with x: `log_prob` takes it from the x that it is asked about, where
    `tfd.Multinomial` is given one total for every x. Mean and draws, which have no x, have
    the total `total_count`.

    Args:
        total_count: of mean and draws, `[...]`; draws take the next whole number.
        logits: `[..., *E]`.
        event_rank: how many axes E has.
    """

    def __init__(
        self,
        total_count: tf.Tensor,
        logits: tf.Tensor,
        event_rank: int = 1,
        name: str = "Multinomial",
    ) -> None:
        parameters = dict(locals())
        self.total_count = tf.convert_to_tensor(total_count)
        self.logits = tf.convert_to_tensor(logits)
        self.event_rank = event_rank
        super().__init__(
            dtype=self.logits.dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype: tf.DType, num_classes: int | None = None) -> dict:
        properties = tfp.util.ParameterProperties
        return {
            "total_count": properties(),
            "logits": properties(event_ndims=lambda self: self.event_rank),
        }

    def _event_shape(self) -> tf.TensorShape:
        return self.logits.shape[-self.event_rank :]

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.shape(self.logits)[-self.event_rank :]

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        axes = range(-self.event_rank, 0)
        # What the logits do not change is computed once per x, not once per draw of z.
        orders = tf.math.lgamma(tf.reduce_sum(x, axes) + 1)
        orders -= tf.reduce_sum(tf.math.lgamma(x + 1), axes)
        return orders + tf.reduce_sum(x * self._log_probs(), axes)

    def _mean(self) -> tf.Tensor:
        return self._total() * tf.exp(self._log_probs())

    def _variance(self) -> tf.Tensor:
        probs = tf.exp(self._log_probs())
        return self._total() * probs * (1 - probs)

    def _sample_n(self, n: tf.Tensor, seed: object = None) -> tf.Tensor:
        shape = tf.shape(self.logits)
        leading = shape[: tf.rank(self.logits) - self.event_rank]
        size = math.prod(self.event_shape)
        flat = tf.reshape(self.logits, tf.concat([leading, [size]], 0))
        x = tfd.Multinomial(tf.round(self.total_count), logits=flat).sample(n, seed=seed)
        return tf.reshape(x, tf.concat([[n], shape], 0))

    def _total(self) -> tf.Tensor:
        return tf.reshape(
            self.total_count, tf.concat([tf.shape(self.total_count), [1] * self.event_rank], 0)
        )

    def _log_probs(self) -> tf.Tensor:
        axes = range(-self.event_rank, 0)
        return self.logits - tf.reduce_logsumexp(self.logits, axes, keepdims=True)
