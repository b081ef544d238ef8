"""Numbers of the open unit interval in finite precision."""

import numpy as np
import tensorflow as tf


def inside_unit(x: tf.Tensor) -> tf.Tensor:
    """`x`, with what rounding has put on 0 or 1 moved to the nearest number inside."""
    limits = np.finfo(x.dtype.as_numpy_dtype)
    return tf.clip_by_value(x, limits.tiny, 1 - limits.epsneg)
