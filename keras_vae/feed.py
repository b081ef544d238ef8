"""Every kind of data that Keras takes, checked against the likelihood's support on its way in.

Arrays are checked whole, before the first step. Of a `tf.data.Dataset` the first batch is
checked before the first step and the rest in the graph of the data pipeline, off the
training step. Batches of Python generators are checked as they come.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae.beside import Beside, named, refuse_target
from keras_vae.conditions import Condition
from keras_vae.data.pipeline import batches, packed
from keras_vae.data.sets import DataSet
from keras_vae.data.source import Source, as_source
from keras_vae.data.sparse import dense, is_sparse
from keras_vae.likelihoods import Likelihood

BATCH_SIZE = 32  # Keras's own default
CHUNK = 10_000_000  # values that are made dense at once
COUNTED = 2**16  # bytes that are counted at once: NumPy makes int64 of them, which stay in cache


class Feed:
    """Checks and feeds the data of one call of `fit`, `evaluate` or `predict`.

    Args:
        likelihood: whose event shape and support the data must have.
        condition: of the model, or None.
        optional: names of what may be missing beside x.

    Attributes:
        refused: the errors that came up while batches were made. TensorFlow turns an
            exception inside a pipeline into one of its own; `reported` undoes that.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        condition: Condition | None = None,
        optional: tuple[str, ...] = (),
    ) -> None:
        self.likelihood = likelihood
        self.beside = Beside(likelihood, condition)
        self.optional = optional
        self.refused: list[ValueError] = []

    def __call__(
        self,
        x: Any,
        y: Any = None,
        sample_weight: object = None,
        batch_size: int | None = None,
        argument: str = "x",
    ) -> Any:
        """What Keras is to be fed for `x`: batches, checked."""
        if not holds_rows(x):
            self._refuse_beside(y, argument)
        if isinstance(x, tf.data.Dataset):
            return self._dataset(x, argument)
        if isinstance(x, keras.utils.PyDataset):
            return _CheckedPyDataset(x, self, argument)
        if isinstance(x, Iterator):
            # Keras takes no bare array from a generator, only tuples.
            return (_as_tuple(self.checked(*item, argument)) for item in enumerate(x))
        if isinstance(x, tf.distribute.DistributedDataset):
            return x  # its batches lie on the replicas, out of reach of a check
        source, weights = self.rows(x, y, sample_weight, argument)
        return batches(source, batch_size or BATCH_SIZE, weights)

    def rows(
        self, x: Any, y: Any = None, sample_weight: object = None, argument: str = "x"
    ) -> tuple[Source, np.ndarray | None]:
        """Rows in memory and their weights, checked."""
        source = self.source(x, y, argument)
        check_source(self.likelihood, source, argument)
        beside = self.beside(source.beside(), len(source), argument, self.optional)
        weights = None if sample_weight is None else as_weights(sample_weight, len(source))
        return dataclasses.replace(source, **beside), weights

    def source(self, x: Any, y: Any = None, argument: str = "x") -> Source:
        """Rows in memory, and what goes with them, as a source; not yet checked."""
        if isinstance(x, tuple):
            refuse_target(x[1:], argument)
        # SciPy's dok_matrix is a dict, of entries.
        columns = isinstance(x, dict) and not (self.likelihood.takes_columns or is_sparse(x))
        if x is None or columns or isinstance(x, DataSet | str):
            raise ValueError(
                f"`{argument}` is not data. Expected: an array, a source such as "
                "keras_vae.data.load(...).train, a tf.data.Dataset, a PyDataset or a generator. "
                f"Received: {type(x).__name__}."
            )
        source = self.likelihood.as_source(x)
        given = self.beside.repeated(named(y, argument), len(source))
        return dataclasses.replace(source, **given)

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
        """`batch`, as Keras takes one, if all that is in it is what it should be."""
        argument = f"batch {index} of {argument}"
        try:
            values = as_batch(batch, argument)
            x, sample_weight = np.asarray(values.pop("x")), values.pop("sample_weight", None)
            self.likelihood.check(x, argument)
            self.beside(values, len(x), argument, self.optional)
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

        def check(index: tf.Tensor, *batch: Any) -> Any:
            values = as_batch(batch[0] if len(batch) == 1 else batch, argument)
            names = list(values)

            def refuse(index: np.int64, *arrays: np.ndarray) -> np.bool_:
                self.checked(int(index), dict(zip(names, arrays, strict=True)), argument)
                return np.True_

            legal = self._contains(values)
            tf.cond(
                legal,
                lambda: True,
                lambda: tf.numpy_function(refuse, [index, *values.values()], tf.bool),
            )
            return packed(values.pop("x"), values)

        return dataset.enumerate().map(lambda i, batch: check(i, batch)).prefetch(2)

    def _contains(self, values: dict[str, tf.Tensor]) -> tf.Tensor:
        legal = self.likelihood.contains(values["x"]) & self.beside.contains(values)
        if "sample_weight" in values:
            weight = values["sample_weight"]
            legal &= tf.reduce_all((weight >= 0) & (weight < weight.dtype.max))
        return legal

    def _refuse_beside(self, y: object, argument: str) -> None:
        if y is not None:
            refuse_target(y if self.beside.condition is None else None, argument)
            raise ValueError(
                f"Batches bring along what goes with them. Expected: `{argument}` as batches of "
                "(x, condition), and y=None. Received: y beside a dataset."
            )


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
        values = as_batch(self.feed.checked(index, self.inner[index], self.argument))
        return (packed(values.pop("x"), values),)

    def on_epoch_begin(self) -> None:
        self.inner.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.inner.on_epoch_end()


def _as_tuple(batch: Any) -> tuple:
    return batch if isinstance(batch, tuple) else (batch,)


def holds_rows(x: Any) -> bool:
    """Whether `x` is all rows at once, and no stream of batches."""
    kinds = (tf.data.Dataset, keras.utils.PyDataset, Iterator, tf.distribute.DistributedDataset)
    return not isinstance(x, kinds)


def as_batch(batch: Any, argument: str = "x") -> dict[str, Any]:
    """x and what goes with it by name, of a batch as Keras takes one.

    Args:
        batch: x, `(x, y)`, `(x, y, sample_weight)`, y the condition or a dict of what goes
            with x; or a dict of all of these by name.
        argument: where it is from, for the message.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    values = _by_name(x, argument) if isinstance(x, dict) else {"x": x}
    values.update(named(y, argument))
    if sample_weight is not None:
        values["sample_weight"] = sample_weight
    return values


def _by_name(batch: dict[str, Any], argument: str) -> dict[str, Any]:
    """The parts of a batch that is a dict."""
    if "x" not in batch:
        raise ValueError(
            f"`{argument}` is a dict without x. Expected: 'x', and what goes with it by name. "
            f"Received: {', '.join(map(repr, batch))}. Rename what is modelled to 'x'."
        )
    own = {name: value for name, value in batch.items() if name in ("x", "sample_weight")}
    beside = {name: value for name, value in batch.items() if name not in own}
    return {**own, **named(beside, argument)}


def check_source(likelihood: Likelihood, source: Source, argument: str = "x") -> None:
    """Raises a ValueError if what the source gives is not in the likelihood's support."""
    if not isinstance(source.values, np.ndarray):  # sparse: never the whole of it
        size = max(1, CHUNK // max(1, source.event_shape[0]))
        for start in range(0, max(1, len(source)), size):
            rows = source[start : start + size]
            whole = len(rows) == len(source)
            where = argument if whole else f"{argument}[{start}:{start + len(rows)}]"
            check_source(likelihood, dataclasses.replace(rows, values=dense(rows.values)), where)
        return
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
        levels = _levels(source.values) / source.divisor
        if not np.all(likelihood.support.contains(levels)):  # which one, and where?
            likelihood.check(source.values / source.divisor, argument)


def _levels(values: np.ndarray) -> np.ndarray:
    """Which bytes there are, in ascending order; counted in parts, as int64 for a moment each."""
    flat = values.reshape(-1)
    parts = (flat[start : start + COUNTED] for start in range(0, flat.size, COUNTED))
    return np.flatnonzero(sum(np.bincount(part, minlength=256) for part in parts))


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


def as_sample(likelihood: Likelihood, x: Any, batches_read: int = 10) -> Source:
    """Rows as a source; of a dataset its first batches."""
    if not isinstance(x, tf.data.Dataset):
        return likelihood.as_source(x)
    read = [as_batch(batch)["x"] for batch in x.take(batches_read)]
    return as_source(np.concatenate([np.asarray(batch) for batch in read]))


def num_batches(fed: Any) -> int | None:
    """How many batches an epoch of what `Feed` gave has, or None where that is not known."""
    if isinstance(fed, keras.utils.PyDataset):
        return fed.num_batches
    if not isinstance(fed, tf.data.Dataset):
        return None
    steps = int(fed.cardinality())
    return steps if steps > 0 else None  # negative where unknown or infinite


def split(source: Any, sample_weight: Any, fraction: float) -> tuple[tuple, tuple]:
    """The last fraction of the rows is for validation, as in Keras."""
    if not isinstance(source, Source):
        raise ValueError(
            "`validation_split` cuts arrays. Expected: x as an array or a source. Received: "
            f"{type(source).__name__}. Pass validation_data instead."
        )
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
