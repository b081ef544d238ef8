"""A logistic that is rounded to whole numbers, with the tails in the two last ones."""

from collections.abc import Callable

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

THRESHOLDS_AT_ONCE = 16  # each takes the memory of x


class DiscretisedLogistic(tfd.Distribution):
    """`P(x) = F((u + h - loc) / scale) - F((u - h - loc) / scale)`, F the logistic function.

    x is one of 0, 1, ..., levels - 1, and `u = 2 x / (levels - 1) - 1` is where it lies in
    [-1, 1], `h = 1 / (levels - 1)` half the distance between two of them. The first and the
    last x take the tails, so that the masses add up to 1.

    Args:
        loc: on the scale of u, `[...]`.
        scale: positive, of a shape that broadcasts with it.
        levels: how many values x has.
    """

    def __init__(
        self, loc: tf.Tensor, scale: tf.Tensor, levels: int = 256, name: str = "DiscretisedLogistic"
    ) -> None:
        parameters = dict(locals())
        self.loc = tf.convert_to_tensor(loc)
        self.scale = tf.convert_to_tensor(scale)
        self.levels = levels
        super().__init__(
            dtype=self.loc.dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype: tf.DType, num_classes: int | None = None) -> dict:
        properties = tfp.util.ParameterProperties
        return {"loc": properties(), "scale": properties()}

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([], tf.int32)

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        """With `a > b` the two arguments of F: `F(a) - F(b) = F(a) F(-b) (1 - e^(b - a))`.

        Three factors, none of them a difference of numbers near 1, so that their logarithms
        are exact in either tail and for any scale.
        """
        half = 1 / (self.levels - 1)
        u = 2 * half * x - 1
        below = tf.math.log_sigmoid((u + half - self.loc) / self.scale)
        above = tf.math.log_sigmoid((self.loc - u + half) / self.scale)
        between = tf.math.log(-tf.math.expm1(-2 * half / self.scale))
        first, last = x <= 0, x >= self.levels - 1
        return tf.where(first, below, tf.where(last, above, below + above + between))

    def _mean(self) -> tf.Tensor:
        return self._sum_over_thresholds(tf.ones_like)

    def _variance(self) -> tf.Tensor:
        second = self._sum_over_thresholds(lambda k: 2 * k - 1)
        return tf.maximum(second - self.mean() ** 2, 0)

    def _sum_over_thresholds(self, weight: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        """`sum_{k=1} weight(k) P(x >= k)`: E[x] for a weight of 1, E[x^2] for one of 2k - 1.

        A few thresholds at a time, because all at once would take `levels` times the memory
        of x.
        """
        loc, scale = self.loc[..., None], self.scale[..., None]
        last = tf.constant(self.levels - 1, self.dtype)

        def add(first: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            k = first + tf.range(THRESHOLDS_AT_ONCE, dtype=self.dtype)
            threshold = (2 * k - 1) / last - 1
            weights = tf.where(k <= last, weight(k), 0)
            return first + THRESHOLDS_AT_ONCE, total + tf.reduce_sum(
                weights * tf.sigmoid((loc - threshold) / scale), axis=-1
            )

        start = (tf.ones([], self.dtype), tf.zeros_like(self.loc * self.scale))
        steps = -(-(self.levels - 1) // THRESHOLDS_AT_ONCE)
        return tf.while_loop(lambda first, _: first <= last, add, start, maximum_iterations=steps)[
            1
        ]

    def _sample_n(self, n: tf.Tensor, seed: object = None) -> tf.Tensor:
        u = tfd.Logistic(self.loc, self.scale).sample(n, seed=seed)
        x = tf.round((u + 1) * ((self.levels - 1) / 2))
        return tf.clip_by_value(x, 0, self.levels - 1)
