"""Nats per example as a code length for each value."""

import math
from typing import Any

from keras_vae.arguments import event_shape_of


def bits_per_dimension(log_prob: Any, event_shape: tuple[int, ...]) -> Any:
    """`-log_prob / (d log 2)`, d the number of values of one x: smaller is better.

    It is the length of a code for x only where x is discrete, as bytes are under a
    `DiscretisedLogistic`. For a density of values that were scaled it depends on the scale:
    for x / 256 it is smaller by 8 bits than for x.

    Args:
        log_prob: log p(x) or a bound on it, in nats per example: a number or an array.
        event_shape: E, the shape of one x.

    Raises:
        ValueError: if `event_shape` is none.
    """
    size = math.prod(event_shape_of(event_shape, "bits_per_dimension"))
    return -log_prob / (size * math.log(2))
