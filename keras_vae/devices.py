"""What the machine computes on."""

import tensorflow as tf


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU that it may use."""
    return bool(tf.config.list_logical_devices("GPU"))
