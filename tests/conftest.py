"""What every test shares: quiet, reproducible, two cores."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import pytest
import tensorflow as tf

# Tests run in parallel processes: one thread each beats all of them fighting for two cores.
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
# Two devices, for the tests of data parallelism; everything else uses the first.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration(), tf.config.LogicalDeviceConfiguration()],
)


@pytest.fixture(autouse=True)
def _seeded():
    """Each test starts from the same seeds, layer names and precision."""
    keras.utils.clear_session(free_memory=False)  # collecting garbage takes a second
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def two_devices():
    """One strategy for the process: TensorFlow's collectives count from 1 in each strategy."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
