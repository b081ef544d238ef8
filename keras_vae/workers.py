"""Training on several machines: who takes part, and what they must agree on.

Every worker runs the same program on the same data. Of each batch it computes its part, the
gradients are summed over all of them, so the weights are the same everywhere, and the chief
alone writes. The run folder lies on a disk that all of them see: from its checkpoint all go on.
"""

import collections
import dataclasses
import hashlib
import json
import os

import keras
import tensorflow as tf

from keras_vae.data import DataSet
from keras_vae.feed import check_source
from keras_vae.recipe import Recipe
from keras_vae.runs import Recorder, Run, fit

# What TensorFlow raises on a worker when another is gone, has come back, or cannot be reached.
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
)


@dataclasses.dataclass(frozen=True)
class Workers:
    """The processes that train one model together, and which of them this one is.

    Args:
        addresses: `host:port` of each: the same list, in the same order, for all.
        index: this one's place in the list, from 0. Worker 0 is the chief: it writes the run.

    Raises:
        ValueError: if the list is none of two or more different addresses, or the index is not
            one of it.

    Example:
        workers = Workers(("10.0.0.1:2222", "10.0.0.2:2222"), index=0)
    """

    addresses: tuple[str, ...]
    index: int

    def __post_init__(self) -> None:
        for address in self.addresses:
            _require_host_and_port(address)
        (most, times), *_ = collections.Counter(self.addresses).most_common(1)
        if times > 1:
            raise ValueError(
                f"--workers names each worker once. Expected: different addresses. Received: {most} "
                f"{times} times. Give each process on one machine a port of its own."
            )
        if len(self.addresses) < 2:
            raise ValueError(
                "--workers names all the processes that train together. Expected: two or more "
                f"addresses, host1:port,host2:port. Received: one, {self.addresses[0]}. Leave "
                "--workers and --worker-index out to train in one process."
            )
        if not 0 <= self.index < len(self.addresses):
            raise ValueError(
                "--worker-index is this process's place in --workers, from 0. Expected: 0 to "
                f"{len(self.addresses) - 1}. Received: {self.index}."
            )

    @property
    def is_chief(self) -> bool:
        """Whether this is the worker that writes the run."""
        return self.index == 0

    def join(self) -> tf.distribute.Strategy:
        """The strategy of these workers; returns when all of them have called this.

        To be called before TensorFlow has run anything: the network is set up with its runtime.
        """
        task = {"type": "worker", "index": self.index}
        cluster = {"worker": list(self.addresses)}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
        return tf.distribute.MultiWorkerMirroredStrategy()


def workers_of(addresses: str | None, index: int | None) -> Workers | None:
    """The workers of `host1:port,host2:port` and of a number; None of neither.

    Raises:
        ValueError: if one is given without the other, and as `Workers`.
    """
    if addresses is None and index is None:
        return None
    if addresses is None or index is None:
        words = ("--workers", "--worker-index")
        given, missing = words if index is None else words[::-1]
        raise ValueError(
            "--workers names all processes, and --worker-index says which of them this one is. "
            f"Expected: both, or neither. Received: {given} without {missing}."
        )
    return Workers(tuple(addresses.split(",")), index)


def train_together(
    workers: Workers,
    run: Run,
    recipe: Recipe,
    data: DataSet,
    callbacks: list[keras.callbacks.Callback],
) -> None:
    """Trains from the run's checkpoint, if there is one, to the last epoch; no results yet.

    Returns on each worker when the chief has written the last checkpoint, so that none of them
    is needed again whatever happens then.

    Args:
        workers: who trains.
        run: the folder, on a disk that all workers see.
        recipe: with its defaults filled in.
        data: what the recipe names.
        callbacks: further ones, of this worker.

    Raises:
        ValueError: if the workers have different recipes or see different checkpoints.
        One of LOST: if another worker is gone.
    """
    strategy = workers.join()
    with strategy.scope():
        vae = recipe.build(data)
    check_source(vae.likelihood, data.train, f"--data {recipe.data}")
    done = run.load_checkpoint(vae)
    _require_agreement(strategy, done, recipe)
    if workers.is_chief:
        run.start(recipe)
        callbacks = [Recorder(run, done), *callbacks]
    fit(recipe, data, vae, done, callbacks)
    _of_all(strategy, done)


def _require_agreement(strategy: tf.distribute.Strategy, done: int, recipe: Recipe) -> None:
    words = dataclasses.asdict(dataclasses.replace(recipe, data_dir=None))
    digest = hashlib.sha256(json.dumps(words, sort_keys=True).encode()).digest()
    recipes = _of_all(strategy, int.from_bytes(digest[:7]))
    if len(set(recipes)) > 1:
        raise ValueError(
            "All workers train the same model. Expected: the same options on each, but for "
            "--worker-index and --data-dir. Received: different ones."
        )
    epochs = _of_all(strategy, done)
    if len(set(epochs)) > 1:
        raise ValueError(
            "All workers go on from the same checkpoint. Expected: as many epochs done on each. "
            f"Received: {', '.join(map(str, epochs))}, in the workers' order. Put --run on a disk "
            "that all of them see."
        )


def _of_all(strategy: tf.distribute.Strategy, value: int) -> list[int]:
    """The value on each worker, on all of them; each waits for the others."""
    return strategy.gather(tf.constant([value], tf.int64), axis=0).numpy().tolist()


def _require_host_and_port(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(
            "--workers is a list of addresses, separated by commas. Expected: host:port, the port "
            f"from 1 to 65535. Received: {address!r}."
        )
