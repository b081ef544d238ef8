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
        state = tf.constant([seed & 0x7FFFFFFF, 0], tf.int32)
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return state
    return tf.random.fold_in(state, replica.replica_id_in_sync_group)


def split_seed(seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Two independent seeds from one."""
    first, second = tf.unstack(tf.random.split(seed, 2))
    return first, second
