"""`fit` on an array: several steps in one graph, each of which makes its own batch."""

from typing import Any

import keras
import tensorflow as tf

from keras_vae.data.resident import ResidentRows
from keras_vae.replicas import mean_so_far, part, spans_workers

# Between workers each number that is read of all of them is a message, of 2.5 ms beside a step
# of 17 (two of them on a core each): the loss is read at one step of so many.
REPORTED = 16


class ResidentTraining:
    """What Keras calls for `steps_per_execution` steps of `fit` on an array.

    Keras's own function is fed by tf.data, whose threads take a core from a step that needs
    both; asks before each step whether there is another batch; and does not know how many
    examples a batch has. Here every batch but the last has as many, the last is a function
    of its own, and the metrics are read once for all steps.
    On 784-400-20-400-784 (two cores, batch 128) `fit` goes from 15,500 and 17,900 images a
    second (two rounds in turn) to 21,000 and 21,200, and with `memory.py` to 26,800 and 24,200.

    On several replicas each takes its part of the batch. There Keras's own function costs more:
    the iterator that TensorFlow makes for devices has a thread that tunes it and cannot be
    switched off. It sleeps for 10, 20, 40 ms and so on, and the end of an epoch waits until it
    wakes: an epoch takes 5.1 s, or 10.2, never 6. And workers send four small messages a step
    beside the gradient; here one, and one at some steps.

    XLA compiles the steps' loop too, where it compiles the step: TensorFlow's asks the host
    after each whether there is another, and copies the weights that a step changes. On an H100
    (batch 1,024) `fit` goes from 940,000 images a second to 1,470,000.

    Args:
        model: compiled.
        rows: that its steps gather.
        xla: whether XLA compiles them.
    """

    def __init__(self, model: keras.Model, rows: ResidentRows, xla: bool) -> None:
        self.model, self.rows, self.xla = model, rows, xla
        self._step = tf.function(self._one, jit_compile=xla, autograph=False)
        strategy = model.distribute_strategy
        self._between_workers = spans_workers(strategy)
        # Else each number of rows that is left in a last batch is a graph of its own.
        alone = strategy.num_replicas_in_sync == 1 and not self._between_workers
        self._of_any_size = alone and not xla
        run = self._next_one if self._between_workers else self._loop
        self._several = tf.function(run, autograph=False, jit_compile=xla)
        self._loss = tf.function(self._loss_so_far, autograph=False)
        self._reported: dict[str, tf.Tensor] = {}
        self._batch_size = self._next = 0

    def start(self, batch_size: int) -> tf.data.Dataset:
        """Before a `fit`: as many elements as there will be batches, for Keras to count."""
        self._batch_size = batch_size
        counted = tf.data.Dataset.range(-(-self.rows.size // batch_size))
        if self.model.distribute_strategy.num_replicas_in_sync == 1:
            return counted
        counted, options = counted.batch(1), tf.data.Options()
        # There is no file to divide between workers.
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        return counted.with_options(options)

    def begin(self, seed: Any) -> None:
        """Starts an epoch."""
        self.rows.begin(seed)
        self._next = 0

    def __call__(self, iterator: object) -> dict[str, tf.Tensor]:
        """The coming steps; `iterator` is that of `start`, and not needed."""
        steps = self.model.steps_per_execution
        full = min(steps, (self.rows.size - self._next) // self._batch_size)
        logs = self._run(self._batch_size, full) if full else {}
        left = self.rows.size - self._next
        if full < steps and left:
            logs = self._run(left, 1)
        return logs

    def _run(self, size: int, number: int) -> dict[str, tf.Tensor]:
        first, self._next = self._next, self._next + size * number
        where = tf.constant([first, number, size], tf.int64)
        last = size != self._batch_size
        logs = self._several(where, None if last and self._of_any_size else size)
        if not self._between_workers:
            return logs
        if first // self._batch_size % REPORTED == 0:
            self._reported = {"loss": self._loss()}
        return self._reported

    def _loop(self, where: tf.Tensor, size: int | None) -> dict[str, tf.Tensor]:
        """Steps on the batches that begin at `where[0]`, `where[1]` of them, of `where[2]` rows.

        Their size is a Python number, too, where the graph is of that size.
        """
        first, number, rows = tf.unstack(where)
        places = tf.range(rows if size is None else size, dtype=tf.int64)

        def step(done: tf.Tensor) -> tuple[tf.Tensor]:
            self._step(first + done * rows + places)
            return (done + 1,)

        tf.while_loop(lambda done: done < number, step, [tf.constant(0, tf.int64)])
        return self.model.get_metrics_result()

    def _next_one(self, where: tf.Tensor, size: int) -> None:
        """The step at `where[0]`: between workers there is no loop, as messages are numbered when
        a step is called.
        """
        self._step(where[0] + tf.range(size, dtype=tf.int64))

    def _loss_so_far(self) -> tf.Tensor:
        loss = self.model.metrics[0]
        return self.model.distribute_strategy.run(lambda: mean_so_far(loss))

    def _one(self, places: tf.Tensor) -> None:
        """A step; what it would log is not computed."""
        batch = self.rows.batch(places)
        step = self.model.train_step
        self.model.distribute_strategy.run(lambda: step(part(batch)))
