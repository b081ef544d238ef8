"""Every kind of data that Keras takes, checked against the likelihood's support on its way in.

Arrays are checked whole, before the first step. Of a `tf.data.Dataset` the first batch is
checked before the first step and the rest in the graph of the data pipeline, off the
training step. Batches of Python generators are checked as they come.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae.data.pipeline import EpochSeed, batches, weighted
from keras_vae.data.sets import DataSet
from keras_vae.data.source import Source, as_source
from keras_vae.likelihoods import Likelihood


class Feed:
    """Checks and feeds the data of one call of `fit`, `evaluate` or `predict`.

    Args:
        likelihood: whose event shape and support the data must have.

    Attributes:
        refused: the errors that came up while batches were made. TensorFlow turns an
            exception inside a pipeline into one of its own; `reported` undoes that.
    """

    def __init__(self, likelihood: Likelihood) -> None:
        self.likelihood = likelihood
        self.refused: list[ValueError] = []

    def __call__(
        self,
        x: Any,
        y: object = None,
        sample_weight: object = None,
        batch_size: int | None = None,
        argument: str = "x",
        epoch_seed: EpochSeed | None = None,
        shuffle: bool = False,
    ) -> Any:
        """What Keras is to be fed for `x`: batches, checked."""
        refuse_target(y, argument)
        if isinstance(x, tf.data.Dataset):
            return self._dataset(x, argument)
        if isinstance(x, keras.utils.PyDataset):
            return _CheckedPyDataset(x, self, argument)
        if isinstance(x, Iterator):
            # Keras takes no bare array from a generator, only tuples.
            return (_as_tuple(self.checked(*item, argument)) for item in enumerate(x))
        if isinstance(x, tf.distribute.DistributedDataset):
            return x  # its batches lie on the replicas, out of reach of a check
        if isinstance(x, tuple):
            refuse_target(x[1:], argument)
        if x is None or isinstance(x, DataSet | dict | str):
            raise ValueError(
                f"`{argument}` is not data. Expected: an array, a source such as "
                "keras_vae.data.load(...).train, a tf.data.Dataset, a PyDataset or a generator. "
                f"Received: {type(x).__name__}."
            )
        source = as_source(x)
        check_source(self.likelihood, source, argument)
        weights = None if sample_weight is None else as_weights(sample_weight, len(source))
        return batches(source, batch_size or 32, weights, epoch_seed, shuffle)

    @contextlib.contextmanager
    def reported(self) -> Iterator[None]:
        """Within it, data refused inside a pipeline raises the ValueError that says why."""
        try:
            yield
        except Exception:
            if self.refused:
                raise self.refused[0] from None
            raise

    def checked(self, index: int, batch: Any, argument: str) -> Any:
        """`batch`, `x` or `(x, None, sample_weight)`, if x and weights are what they should be."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        argument = f"batch {index} of {argument}"
        try:
            refuse_target(y, argument)
            self.likelihood.check(np.asarray(x), argument)
            if sample_weight is not None:
                as_weights(sample_weight, len(x), argument)
        except ValueError as error:
            self.refused.append(error)
            raise
        return batch

    def _dataset(self, dataset: tf.data.Dataset, argument: str) -> tf.data.Dataset:
        first = list(dataset.take(1))
        if not first:
            raise ValueError(f"`{argument}` holds no examples: it is a dataset without a batch.")
        self.checked(0, first[0], argument)

        def refuse(index: np.int64, x: np.ndarray, *weights: np.ndarray) -> np.bool_:
            self.checked(int(index), (x, None, *weights) if weights else x, argument)
            return np.True_

        def check(index: tf.Tensor, batch: Any) -> Any:
            x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
            weights = [] if sample_weight is None else [tf.convert_to_tensor(sample_weight)]
            legal = self.likelihood.contains(x)
            for weight in weights:
                legal &= tf.reduce_all((weight >= 0) & (weight < weight.dtype.max))
            tf.cond(
                legal,
                lambda: True,
                lambda: tf.numpy_function(refuse, [index, x, *weights], tf.bool),
            )
            return x if sample_weight is None else weighted(x, sample_weight)

        return dataset.enumerate().map(check).prefetch(2)


class _CheckedPyDataset(keras.utils.PyDataset):
    """A PyDataset whose batches are checked as they are made."""

    def __init__(self, inner: keras.utils.PyDataset, feed: Feed, argument: str) -> None:
        super().__init__(
            workers=inner.workers,
            use_multiprocessing=inner.use_multiprocessing,
            max_queue_size=inner.max_queue_size,
        )
        self.inner = inner
        self.feed = feed
        self.argument = argument

    @property
    def num_batches(self) -> int | None:
        return self.inner.num_batches

    def __getitem__(self, index: int) -> Any:
        batch = self.feed.checked(index, self.inner[index], self.argument)
        x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        return (x,) if sample_weight is None else (weighted(x, sample_weight),)

    def on_epoch_begin(self) -> None:
        self.inner.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.inner.on_epoch_end()


def _as_tuple(batch: Any) -> tuple:
    return batch if isinstance(batch, tuple) else (batch,)


def refuse_target(y: object, argument: str = "x") -> None:
    """Raises a ValueError if there is a target: the model is of x alone."""
    if y is not None:
        raise ValueError(
            f"A VAE has no target: it models `{argument}` alone. Expected: y=None. Received: y of "
            f"type {type(y).__name__}. Drop it (of a dataset: ds.map(lambda x, y: x)); "
            "weights go with sample_weight, or as (x, None, sample_weight)."
        )


def check_source(likelihood: Likelihood, source: Source, argument: str = "x") -> None:
    """Raises a ValueError if what the source gives is not in the likelihood's support."""
    if source.divisor == 1 and not source.dynamic:
        likelihood.check(source.values, argument)
        return
    first = source.array(limit=1)
    if source.dynamic:  # bits, whatever the grey values
        likelihood.check(first, argument)
    elif source.values.dtype != np.uint8:
        likelihood.check(source.values / source.divisor, argument)
    else:
        likelihood.check(first, argument)
        levels = np.flatnonzero(np.bincount(source.values.reshape(-1))) / source.divisor
        if not np.all(likelihood.support.contains(levels)):  # which one, and where?
            likelihood.check(source.values / source.divisor, argument)


def as_weights(sample_weight: object, size: int, argument: str = "x") -> np.ndarray:
    """The weights as floats `[size]`.

    Raises:
        ValueError: if they are not one finite number >= 0 for each example.
    """
    weights = np.asarray(sample_weight, dtype=keras.config.floatx())
    if weights.shape != (size,) or not ((weights >= 0) & (weights < np.inf)).all():
        values = f", values from {weights.min()} to {weights.max()}" if weights.size else ""
        raise ValueError(
            f"`sample_weight` is one finite number >= 0 for each example of `{argument}`. "
            f"Expected: shape ({size},). Received: shape {weights.shape}{values}."
        )
    return weights


def as_sample(x: Any, batches_read: int = 10) -> Source:
    """An array or a source as a source; of a dataset its first batches."""
    if not isinstance(x, tf.data.Dataset):
        return as_source(x)
    read = [keras.utils.unpack_x_y_sample_weight(b)[0] for b in x.take(batches_read)]
    return as_source(np.concatenate([np.asarray(batch) for batch in read]))


def is_array(x: object) -> bool:
    """Whether all of `x` is in memory."""
    return isinstance(x, Source | np.ndarray | list) or tf.is_tensor(x)


def num_batches(fed: Any) -> int | None:
    """How many batches an epoch of what `Feed` gave has, or None where that is not known."""
    if isinstance(fed, keras.utils.PyDataset):
        return fed.num_batches
    if not isinstance(fed, tf.data.Dataset):
        return None
    steps = int(fed.cardinality())
    return steps if steps > 0 else None  # negative where unknown or infinite


def split(x: Any, sample_weight: Any, fraction: float) -> tuple[tuple, tuple]:
    """The last fraction of the rows is for validation, as in Keras."""
    if not is_array(x):
        raise ValueError(
            "`validation_split` cuts arrays. Expected: x as an array or a source. Received: "
            f"{type(x).__name__}. Pass validation_data instead."
        )
    source = as_source(x)
    first = int(len(source) * (1 - fraction))
    if not 0 < first < len(source):
        raise ValueError(
            "`validation_split` must leave examples on both sides. Expected: a fraction "
            f"between 0 and 1. Received: {fraction} of {len(source)} examples."
        )
    weights = None if sample_weight is None else as_weights(sample_weight, len(source))
    if weights is None:
        return (source[:first], None), (source[first:],)
    return (source[:first], weights[:first]), (source[first:], None, weights[first:])
