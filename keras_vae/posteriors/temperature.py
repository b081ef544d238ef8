"""The temperature of relaxed posteriors: a number, or a schedule over the steps of training."""

from typing import Any, TypeAlias

import keras
import tensorflow as tf

from keras_vae.latents import require_temperature

Schedule = keras.optimizers.schedules.LearningRateSchedule
Temperature: TypeAlias = Any  # a float or a Schedule

# Lower, a draw is one-hot in all of its digits; a schedule that decays to 0 stops here.
LOWEST = 0.01


def checked(temperature: object, owner: keras.layers.Layer) -> Temperature:
    """The argument as it is, if it is a positive number or a schedule."""
    if not isinstance(temperature, Schedule):
        require_temperature(temperature, owner, "a Keras LearningRateSchedule over the steps")
    return temperature


def make_weight(layer: keras.layers.Layer, temperature: Temperature) -> keras.Variable:
    """The temperature now, as a weight that is saved with the model and that nothing trains."""
    with tf.init_scope():
        first = temperature(0) if isinstance(temperature, Schedule) else temperature
        return layer.add_weight(
            (),
            initializer=keras.initializers.Constant(float(first)),
            trainable=False,
            autocast=False,  # half precision has no place in a density
            aggregation="only_first_replica",
            name="temperature",
        )


def set_weight(weight: keras.Variable, temperature: Temperature, step: tf.Tensor | int) -> None:
    """The value of a schedule at a step of training; a number stays as it is."""
    if isinstance(temperature, Schedule):
        weight.assign(tf.cast(temperature(step), weight.dtype))


def for_each(weight: keras.Variable, like: tf.Tensor) -> tf.Tensor:
    """The temperature for each of `like` `[B, ...]`: `[B]`, in its precision."""
    now = tf.maximum(tf.cast(tf.convert_to_tensor(weight), like.dtype), LOWEST)
    return tf.fill(tf.shape(like)[:1], now)


def source(temperature: Temperature) -> str:
    """Where the temperature comes from, for a statement."""
    if isinstance(temperature, Schedule):
        return f"t, {type(temperature).__name__} over the steps of training"
    return f"t = {temperature}"
