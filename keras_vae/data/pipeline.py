"""The tf.data pipeline that feeds arrays: Keras's own array path is slower.

Order and binarisation are functions of one seed for each epoch, which the model's seed
generator gives: it is saved with the model, so a resumed run sees the data in the order
that the uninterrupted run would have seen it in.
"""

from collections.abc import Callable, Iterator, Mapping

import keras
import numpy as np
import tensorflow as tf

from keras_vae.data.source import Source


class EpochSeed:
    """The seed of the coming epoch; set before each one."""

    def __init__(self) -> None:
        self.value = np.zeros(2, "int32")

    def __call__(self) -> Iterator[np.ndarray]:
        yield self.value

    def begin(self, seed: np.ndarray) -> None:
        """The seed of the coming epoch."""
        self.value = seed


class NewOrder(keras.callbacks.Callback):
    """Gives each epoch a seed of its own, from the generator that is saved with the model.

    Args:
        begin: is called with the seed before each epoch.
    """

    def __init__(self, begin: Callable[[np.ndarray], None]) -> None:
        super().__init__()
        self.begin = begin

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        seed = self.model.seed_generator.next()
        self.begin(np.asarray(seed).astype("int64").astype("int32"))


def batches(
    source: Source,
    batch_size: int,
    sample_weight: np.ndarray | None = None,
    epoch_seed: EpochSeed | None = None,
    shuffle: bool = True,
) -> tf.data.Dataset:
    """Batches of `x`, or of dicts where something goes with it: see `packed`.

    Args:
        source: the rows.
        batch_size: B; the last batch may be smaller.
        sample_weight: `[N]` or None.
        epoch_seed: for new bits and a new order each epoch; without it both stay the same.
        shuffle: whether the rows come in a new order.
    """
    size = len(source)
    take_x = source.gatherer()
    beside = {name: tf.constant(value) for name, value in source.beside().items()}
    if sample_weight is not None:
        beside["sample_weight"] = tf.constant(sample_weight)

    def rows_of(start: tf.Tensor, order: tf.Tensor | None, seed: tf.Tensor) -> object:
        stop = tf.minimum(start + batch_size, size)
        batch_seed = tf.random.fold_in(seed, tf.cast(start, tf.int32))

        rows = tf.range(start, stop) if order is None else order[start:stop]
        x = source.batch(take_x(rows), batch_seed)
        return packed(x, {name: tf.gather(value, rows) for name, value in beside.items()})

    starts = tf.data.Dataset.range(0, size, batch_size)
    if epoch_seed is None:
        made = starts.map(lambda start: rows_of(start, None, tf.zeros(2, tf.int32)))
    else:

        def epoch(seed: tf.Tensor) -> tf.data.Dataset:
            rows = tf.range(size)
            order = tf.random.experimental.stateless_shuffle(rows, seed) if shuffle else None
            return starts.map(lambda start: rows_of(start, order, seed))

        seeds = tf.data.Dataset.from_generator(
            epoch_seed, output_signature=tf.TensorSpec((2,), tf.int32)
        )
        made = seeds.flat_map(epoch)
    made = made.apply(tf.data.experimental.assert_cardinality(-(-size // batch_size)))
    return made.prefetch(2).with_options(_options())


def _options() -> tf.data.Options:
    """Without tf.data's autotuning: there is nothing to tune, and its thread at times holds an
    epoch up for a second.

    Several workers cut each batch: every one makes the whole of it, with the bits that one
    process would have drawn, and takes its part. That costs little beside a step.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return options


def packed(x: object, beside: Mapping[str, object]) -> object:
    """A batch as the model's step takes it: x alone, or a dict of x and what goes with it.

    Not `(x, None, sample_weight)`: neither a `tf.distribute` strategy nor a PyDataset can
    feed the None.
    """
    return {"x": x, **beside} if beside else x
