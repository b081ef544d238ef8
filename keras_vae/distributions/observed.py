"""A distribution of independent values, some of which are not observed."""

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.blocks import Blocks


class Observed(tfd.Distribution):
    """`log p(x_o) = sum_{i observed} log p_i(x_i)`, x being NaN where it is not observed.

    Of independent values what is observed has a density of its own: the product of those of
    its values, the others being integrated out. Draws, mean, variance and mode are of all.

    Args:
        whole: `tfd.Independent` of single values, or `Blocks` of such.
        inside: a value of the support, or one for each value of the last axis.
        name: the distribution's name.

    Raises:
        ValueError: if the values are not independent.
    """

    def __init__(
        self,
        whole: tfd.Distribution,
        inside: float | tuple[float, ...] = 0.0,
        name: str = "Observed",
    ) -> None:
        parameters = dict(locals())
        if not of_single_values(whole):
            raise ValueError(
                "What is observed of x has a density of its own where values are independent. "
                f"Expected: tfd.Independent of single values, or Blocks of such. Received: {whole}."
            )
        self.whole = whole
        self.inside = inside
        super().__init__(
            dtype=whole.dtype,
            reparameterization_type=whole.reparameterization_type,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype: object, num_classes: object = None) -> dict:
        return {"whole": tfp.util.BatchedComponentProperties()}

    def _event_shape(self) -> tf.TensorShape:
        return self.whole.event_shape

    def _event_shape_tensor(self) -> tf.Tensor:
        return self.whole.event_shape_tensor()

    def _sample_n(self, n: int | tf.Tensor, seed: object = None) -> tf.Tensor:
        return self.whole.sample(n, seed=seed)

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        # A legal value takes the place of NaN before the density: the gradient of a density
        # at NaN is NaN, and not to choose it afterwards multiplies it with 0, which is NaN.
        known = ~tf.math.is_nan(x)
        filled = tf.where(known, x, tf.constant(self.inside, x.dtype))
        each = value_log_probs(self.whole, filled)
        axes = range(-self.event_shape.rank, 0)
        return tf.reduce_sum(tf.where(known, each, tf.zeros_like(each)), axes)

    def _mean(self) -> tf.Tensor:
        return self.whole.mean()

    def _variance(self) -> tf.Tensor:
        return self.whole.variance()

    def _mode(self) -> tf.Tensor:
        return self.whole.mode()


def of_single_values(distribution: tfd.Distribution) -> bool:
    """Whether this is a distribution of independent values, which it shows by its class."""
    if isinstance(distribution, Blocks):
        return all(of_single_values(block) for block in distribution.blocks)
    # TFP's Independent is of one of two classes, only one of them public: see its arguments.
    independent = "reinterpreted_batch_ndims" in distribution.parameters
    return independent and distribution.distribution.event_shape.rank == 0


def value_log_probs(distribution: Any, x: tf.Tensor) -> tf.Tensor:
    """log p(x_i) of each value, batch and event `[..., *E]`."""
    if not isinstance(distribution, Blocks):
        return distribution.distribution.log_prob(x)
    parts = zip(distribution.blocks, tf.split(x, distribution.sizes, axis=-1), strict=True)
    return tf.concat([value_log_probs(block, part) for block, part in parts], axis=-1)
