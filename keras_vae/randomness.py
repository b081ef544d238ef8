"""Seeds: one generator in the model, a stateless seed for each draw."""

import keras
import tensorflow as tf


def draw_seed(generator: keras.random.SeedGenerator, seed: int | None = None) -> tf.Tensor:
    """A stateless seed `[2]`: of `seed` if there is one, else the generator's next.

    Under a `tf.distribute` strategy every replica holds the same generator state, so the
    replica's number is folded in: equal noise on all replicas would not be the noise of
    one device on the whole batch.
    """
    if seed is None:
        state = tf.cast(generator.next(), tf.int32)
    else:
        state = stateless_seed(tf.constant(seed, tf.int64))
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return state
    return tf.random.fold_in(state, replica.replica_id_in_sync_group)


def stateless_seed(seed: tf.Tensor) -> tf.Tensor:
    """The stateless seed `[2]` of an int64: its low and its high half."""
    return tf.bitcast(seed, tf.int32)


def split_seed(seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Two independent seeds from one."""
    first, second = tf.unstack(tf.random.split(seed, 2))
    return first, second
