"""What the machine computes on."""

import os

import tensorflow as tf


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU that it may use."""
    return bool(tf.config.list_logical_devices("GPU"))


def num_cores() -> int:
    """How many cores TensorFlow computes one operation on."""
    variable = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    asked = tf.config.threading.get_intra_op_parallelism_threads()
    asked = asked or (int(variable) if variable.isdecimal() else 0)
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux can keep a process to some of the cores
        allowed = os.cpu_count() or 1
    return min(asked or allowed, allowed)
