"""Small SavedModels written by hand, whose answers are known without running them."""

import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

_SCRATCH = tempfile.TemporaryDirectory()


class Toy(tf.Module):
    """`encode` multiplies by `factor`, `slow` counts to `rounds`, `zoo` has a type of each kind."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = tf.Variable(float(factor))

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def encode(self, x):
        legal = tf.reduce_all(tf.math.is_finite(x))
        with tf.control_dependencies([tf.debugging.Assert(legal, ["`x` is not finite."])]):
            return {"mean": x * self.factor, "first": x[:, 0]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, name="rounds")])
    def slow(self, rounds):
        most = tf.reduce_max(rounds)
        count = tf.while_loop(lambda i: i < most, lambda i: [i + 1], [tf.zeros([], tf.int64)])[0]
        return {"count": tf.fill(tf.shape(rounds), count)}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.bool, name="flag"),
            tf.TensorSpec([None, 2], tf.uint8, name="pixel"),
            tf.TensorSpec([None], tf.float64, name="wide"),
        ]
    )
    def zoo(self, flag, pixel, wide):
        return {"flag": tf.logical_not(flag), "pixel": pixel, "wide": wide / 3}


@functools.cache
def _saved(factor: float) -> Path:
    """Saved once in a process, for all the tests that ask for it."""
    path = Path(_SCRATCH.name, str(factor))
    toy = Toy(factor)
    signatures = {"encode": toy.encode, "slow": toy.slow, "zoo": toy.zoo}
    tf.saved_model.save(toy, str(path), {**signatures, "serving_default": toy.encode})
    return path


def write_toy(folder: Path, number: int, factor: float = 2.0, warm_up: bytes | None = None) -> Path:
    """A version in one rename. `warm_up` is the record of a warm-up request."""
    hidden = folder / f"writing-{number}"
    shutil.copytree(_saved(factor), hidden)
    if warm_up is not None:
        (hidden / "assets.extra").mkdir()
        with tf.io.TFRecordWriter(
            str(hidden / "assets.extra" / "tf_serving_warmup_requests")
        ) as writer:
            writer.write(warm_up)
    return hidden.rename(folder / str(number))


X = np.array([[1.0, -2.0], [0.25, 3.5]], np.float32)
