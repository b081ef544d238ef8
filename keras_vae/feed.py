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

from keras_vae.data.pipeline import EpochSeed, batches
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
    ) -> Any:
        """What Keras is to be fed for `x`: batches, checked."""
        refuse_target(y, argument)
        if isinstance(x, tf.data.Dataset):
            return self._dataset(x, argument)
        if isinstance(x, keras.utils.PyDataset):
            return _CheckedPyDataset(x, self, argument)
        if isinstance(x, Iterator):
            # Keras takes no bare array from a generator, only tuples.
            return (_as_tuple(self.checked(batch, argument)) for batch in x)
        if isinstance(x, tf.distribute.DistributedDataset):
            return x  # its batches lie on the replicas, out of reach of a check
        return self._array(x, sample_weight, batch_size, argument, epoch_seed)

    @contextlib.contextmanager
    def reported(self) -> Iterator[None]:
        """Within it, data refused inside a pipeline raises the ValueError that says why."""
        try:
            yield
        except Exception:
            if self.refused:
                raise self.refused[0] from None
            raise

    def checked(self, batch: Any, argument: str) -> Any:
        """`batch`, `x` or `(x, None, sample_weight)`, if its x is in the support."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
        try:
            refuse_target(y, argument)
            self.likelihood.check(np.asarray(x), argument)
        except ValueError as error:
            self.refused.append(error)
            raise
        return batch

    def _array(
        self,
        x: object,
        sample_weight: object,
        batch_size: int | None,
        argument: str,
        epoch_seed: EpochSeed | None,
    ) -> tf.data.Dataset:
        source = as_source(x)
        self._check_source(source, argument)
        weights = None if sample_weight is None else _weights(sample_weight, len(source))
        return batches(source, batch_size or 32, weights, epoch_seed)

    def _check_source(self, source: Source, argument: str) -> None:
        if source.dynamic:
            self.likelihood.check(source.array(limit=1), argument)
        elif source.divisor != 1.0:
            self.likelihood.check(source.values / source.divisor, argument)
        else:
            self.likelihood.check(source.values, argument)
        if len(source) == 0:
            raise ValueError(
                f"`{argument}` has no examples. Received: shape {source.values.shape}."
            )

    def _dataset(self, dataset: tf.data.Dataset, argument: str) -> tf.data.Dataset:
        for batch in dataset.take(1):
            self.checked(batch, argument)

        def refuse(x: np.ndarray, index: np.int64) -> np.bool_:
            self.checked(x, f"batch {index} of {argument}")
            return np.True_

        def check(index: tf.Tensor, batch: Any) -> Any:
            x = keras.utils.unpack_x_y_sample_weight(batch)[0]
            tf.cond(
                self.likelihood.contains(x),
                lambda: True,
                lambda: tf.numpy_function(refuse, [x, index], tf.bool),
            )
            return batch

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
        return self.feed.checked(self.inner[index], self.argument)

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


def _weights(sample_weight: object, size: int) -> np.ndarray:
    weights = np.asarray(sample_weight, dtype=keras.config.floatx())
    if weights.shape != (size,) or not (weights >= 0).all() or not np.isfinite(weights).all():
        raise ValueError(
            "`sample_weight` is one finite number >= 0 for each example. Expected: shape "
            f"({size},). Received: shape {weights.shape}"
            + (f", values from {weights.min()} to {weights.max()}." if weights.size else ".")
        )
    return weights
