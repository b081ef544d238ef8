"""What the replicas of a `tf.distribute` strategy need to know of each other."""

import tensorflow as tf


def summed(values: list[tf.Tensor]) -> list[tf.Tensor]:
    """Each value summed over all replicas; as it is where there is one."""
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return values
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, values)
