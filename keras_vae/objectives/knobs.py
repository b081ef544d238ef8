"""What the bounds share: checks of their arguments, schedules, and means in the log domain."""

import tensorflow as tf

from keras_vae.arguments import is_real, positive_integer
from keras_vae.objectives.objective import Objective, Schedule


def keep_samples(objective: Objective) -> None:
    """Checks `num_samples` and keeps it as Python's integer, which JSON knows."""
    meaning = "the number of draws of z"
    keep(
        objective,
        num_samples=positive_integer(objective.num_samples, "num_samples", objective, meaning),
    )


def keep_weight(objective: Objective, argument: str, meaning: str, schedule: bool = False) -> None:
    """Checks that an argument is a number >= 0, or a schedule where it may be one, and keeps it.

    Args:
        objective: whose argument it is.
        argument: its name.
        meaning: the end of the sentence that says what it is.
        schedule: whether it may be a schedule.
    """
    value = getattr(objective, argument)
    if schedule and isinstance(value, Schedule):
        return
    if not is_real(value) or value < 0:
        or_schedule = ", or a keras.optimizers.schedules.LearningRateSchedule" if schedule else ""
        raise ValueError(
            f"`{argument}` of {type(objective).__name__} is {meaning}. Expected: a finite number "
            f">= 0{or_schedule}. Received: {value!r}."
        )
    keep(objective, **{argument: float(value)})


def require_choice(objective: Objective, argument: str, options: tuple[object, ...]) -> None:
    """Raises a ValueError if an argument is none of the options."""
    value = getattr(objective, argument)
    if not any(value is option or value == option for option in options):
        raise ValueError(
            f"`{argument}` of {type(objective).__name__} is unknown. Expected: "
            f"{', '.join(map(repr, options))}. Received: {value!r}."
        )


def keep(objective: Objective, **values: object) -> None:
    """Sets arguments in their normal form, while a frozen value is being made."""
    for argument, value in values.items():
        object.__setattr__(objective, argument, value)


def at(value: float | Schedule, step: tf.Tensor | int, dtype: tf.DType) -> tf.Tensor:
    """A number, or a schedule's number at this step, as a tensor."""
    if isinstance(value, Schedule):
        return tf.cast(value(step), dtype)
    return tf.constant(value, dtype)


def log_mean_exp(values: tf.Tensor, axis: int = 0) -> tf.Tensor:
    """`log 1/K sum_k exp(values_k)` over an axis of size K."""
    count = tf.cast(tf.shape(values)[axis], values.dtype)
    return tf.reduce_logsumexp(values, axis) - tf.math.log(count)


def keep_groups(objective: Objective, groups: int) -> None:
    """Checks that `groups` divides `num_samples`, and keeps it as Python's integer."""
    count = positive_integer(groups, "groups", objective, "the number of groups of draws")
    if objective.num_samples % count:
        raise ValueError(
            f"`groups` of {type(objective).__name__} are of equal size. Expected: a divisor of "
            f"num_samples={objective.num_samples}. Received: groups={count}."
        )
    keep(objective, groups=count)


def split_draws(values: tf.Tensor, groups: int) -> tf.Tensor:
    """`[K, B] -> [M, K / M, B]`."""
    return tf.reshape(values, (groups, tf.shape(values)[0] // groups, -1))
