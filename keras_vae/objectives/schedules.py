"""Schedules of a bound's weights, by the optimizer's step."""

import keras
import tensorflow as tf

from keras_vae.arguments import is_real, positive_integer
from keras_vae.objectives.objective import Schedule


@keras.saving.register_keras_serializable(package="keras_vae")
class LinearWarmUp(Schedule):
    """`start + (end - start) min(step / steps, 1)`.

    A weight of the KL that grows from 0 keeps the posterior from falling back on the prior
    before the decoder has learned to use z (Sonderby et al. 2016).

    Args:
        steps: after how many steps of the optimizer `end` is reached.
        end: the last value, kept from there on.
        start: the first.

    Raises:
        ValueError: if an argument is out of range.

    Example: `keras_vae.objectives.ELBO(beta=keras_vae.objectives.LinearWarmUp(10_000))`

    References: C. K. Sonderby et al., Ladder Variational Autoencoders, NeurIPS 2016.
    """

    def __init__(self, steps: int, end: float = 1.0, start: float = 0.0) -> None:
        self.steps = positive_integer(steps, "steps", self, "the length of the warm-up")
        self.end = _finite(end, "end", self)
        self.start = _finite(start, "start", self)

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        return self.start + (self.end - self.start) * _ramp(_integer(step), self.steps)

    def get_config(self) -> dict:
        return {"steps": self.steps, "end": self.end, "start": self.start}


@keras.saving.register_keras_serializable(package="keras_vae")
class Cyclical(Schedule):
    """`start + (end - start) min(t / rising, 1)`, `t = (step mod period) / period`; then `end`.

    Each cycle opens z again while the decoder keeps what it has learned (Fu et al. 2019).

    Args:
        period: the steps of one cycle: all steps of training / `cycles`.
        rising: the part of a cycle in which the value grows, in (0, 1]; after it the value
            stays at `end` until the next cycle.
        end: the largest value.
        start: the value that each cycle begins with.
        cycles: how many; after them the value stays at `end`.

    Raises:
        ValueError: if an argument is out of range.

    Example: `keras_vae.objectives.ELBO(beta=keras_vae.objectives.Cyclical(period=5_000))`

    References: H. Fu et al., Cyclical Annealing Schedule: A Simple Approach to Mitigating KL
    Vanishing, NAACL 2019.
    """

    def __init__(
        self,
        period: int,
        rising: float = 0.5,
        end: float = 1.0,
        start: float = 0.0,
        cycles: int = 4,
    ) -> None:
        self.period = positive_integer(period, "period", self, "the number of steps of a cycle")
        self.cycles = positive_integer(cycles, "cycles", self, "the number of cycles")
        self.rising = _finite(rising, "rising", self)
        if not 0 < self.rising <= 1:
            raise ValueError(
                "`rising` of Cyclical is a part of a cycle. Expected: a number in (0, 1]. "
                f"Received: {rising!r}."
            )
        self.end = _finite(end, "end", self)
        self.start = _finite(start, "start", self)

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        step = _integer(step)
        ramp = _ramp(step % self.period, self.rising * self.period)
        ramp = tf.where(step < self.cycles * self.period, ramp, tf.ones_like(ramp))
        return self.start + (self.end - self.start) * ramp

    def get_config(self) -> dict:
        return {
            "period": self.period,
            "rising": self.rising,
            "end": self.end,
            "start": self.start,
            "cycles": self.cycles,
        }


def _integer(step: tf.Tensor | int) -> tf.Tensor:
    """The step in whole numbers: float32 can no longer count from 2^24 on."""
    return tf.cast(tf.convert_to_tensor(step), "int64")


def _ramp(step: tf.Tensor, steps: float) -> tf.Tensor:
    """From 0 to 1 in so many steps, in the precision of Keras's own schedules."""
    dtype = keras.config.floatx()
    part = tf.cast(step, "float64") / steps  # which counts to 2^53
    return tf.minimum(tf.cast(part, dtype), tf.ones((), dtype))


def _finite(value: object, argument: str, owner: Schedule) -> float:
    if not is_real(value):
        raise ValueError(
            f"`{argument}` of {type(owner).__name__} is a value of the schedule. Expected: a "
            f"finite number. Received: {value!r}."
        )
    return float(value)  # type: ignore[arg-type]
