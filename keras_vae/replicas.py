"""What the replicas of a `tf.distribute` strategy need to know of each other."""

from typing import Any

import keras
import tensorflow as tf

from keras_vae.running_means import RunningMean


def part(batch: Any) -> Any:
    """This replica's rows of a batch; all of them where there is one."""
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return batch
    own, count = replica.replica_id_in_sync_group, replica.num_replicas_in_sync

    def rows(value: tf.Tensor) -> tf.Tensor:
        size = value.shape[0]
        return value[size * own // count : size * (own + 1) // count]

    return keras.tree.map_structure(rows, batch)


def mean_so_far(mean: RunningMean) -> tf.Tensor:
    """A metric over the rows of all replicas, in one message."""
    total, count = summed(list(mean.total_and_count()))
    return total / count


def summed(values: list[tf.Tensor]) -> list[tf.Tensor]:
    """Each value summed over all replicas; as it is where there is one."""
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return values
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, values)


def mean_of_batch(values: tf.Tensor, sample_weight: tf.Tensor | None) -> tf.Tensor:
    """This replica's share of the mean over the whole batch, from its own `[B]`.

    Gradients are summed over replicas, so each divides by the examples of all of them: right
    also where a batch does not divide evenly.
    """
    if sample_weight is not None:
        values = values * tf.cast(sample_weight, values.dtype)
    return tf.reduce_sum(values) / tf.cast(summed([tf.shape(values)[0]])[0], values.dtype)


def spans_workers(strategy: tf.distribute.Strategy) -> bool:
    """Whether the replicas lie in several processes: the question that Keras itself asks."""
    multi_worker = tf.distribute.MultiWorkerMirroredStrategy
    return isinstance(strategy, multi_worker) and strategy.extended._in_multi_worker_mode()


def reported(logs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The logs of a step; between workers the loss alone, `[1]`.

    There Keras takes the mean of each over all workers' axis 0, at each step: two messages a
    number, which everybody waits for. What is reported of an epoch is read from the metrics.
    """
    replica = tf.distribute.get_replica_context()
    if replica is None or not spans_workers(replica.strategy):
        return logs
    return {"loss": tf.reshape(logs["loss"], [1])}


def require_possible(
    strategy: tf.distribute.Strategy, jit_compile: bool | str, steps_per_execution: int | str
) -> None:
    """Refuses what TensorFlow cannot do on several replicas.

    Raises:
        ValueError: for XLA, whatever the replicas; and for a loop of steps between workers, of
            which each collective needs a number of its own, given when a step is called.
    """
    name = type(strategy).__name__
    if jit_compile is True and strategy.num_replicas_in_sync > 1:
        raise ValueError(
            "XLA cannot compile a step that spans devices. Expected: jit_compile=False or "
            f'"auto" under {name}. Received: True.'
        )
    if steps_per_execution not in (1, "auto") and spans_workers(strategy):
        raise ValueError(
            "Workers cannot run several steps for one call. Expected: steps_per_execution=1 or "
            f'"auto" under {name}. Received: {steps_per_execution}.'
        )
