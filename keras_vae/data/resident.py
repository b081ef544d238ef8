"""Training rows that lie where the step runs: the step makes its own batches of them."""

import numpy as np
import tensorflow as tf

from keras_vae.data.pipeline import packed
from keras_vae.data.source import Source
from keras_vae.devices import has_gpu

LIMIT = 2**30  # bytes; what is larger stays with tf.data, in the host's memory


class ResidentRows:
    """The rows of `fit`, as tensors, and their order in this epoch.

    The batches are those of `pipeline.batches` with the same seed.

    Args:
        source: the rows; no sparse matrix.
        sample_weight: `[N]` or None.
        shuffle: whether the rows come in a new order each epoch.

    Attributes:
        size: N.
    """

    def __init__(
        self, source: Source, sample_weight: np.ndarray | None = None, shuffle: bool = True
    ) -> None:
        self._recipe = source.take(slice(0))  # how a batch is made, without the rows
        tables = _tables(source, sample_weight)
        self._dtypes = {name: value.dtype for name, value in tables.items()}
        self._tables = {
            name: tf.Variable(_lying(value), trainable=False, shape=(None, *value.shape[1:]))
            for name, value in tables.items()
        }
        self._order = tf.Variable(tf.zeros(0, tf.int64), trainable=False, shape=(None,))
        self._seed = tf.Variable([0, 0], trainable=False, dtype=tf.int64)
        self._shuffle = shuffle
        self.size = len(source)

    def take(self, source: Source, sample_weight: np.ndarray | None, shuffle: bool) -> bool:
        """Puts other rows in place of those that were; False if they are of another kind."""
        tables = _tables(source, sample_weight)
        if not self._is_like(source, tables):
            return False
        for name, value in tables.items():
            self._tables[name].assign(_lying(value))
        self._shuffle, self.size = shuffle, len(source)
        return True

    def release(self) -> None:
        """Frees the memory of the rows."""
        for table in self._tables.values():
            table.assign(tf.zeros((0, *table.shape[1:]), table.dtype))

    def begin(self, seed: np.ndarray) -> None:
        """A new order and new bits, for the coming epoch."""
        self._seed.assign(seed)
        order = tf.range(self.size, dtype=tf.int64)
        if self._shuffle:
            order = tf.random.experimental.stateless_shuffle(order, seed)
        self._order.assign(order)

    def batch(self, places: tf.Tensor) -> object:
        """The rows at these places of the order, `[B]`, as a model's step takes them."""
        rows = tf.gather(self._order.read_value(), places)
        found = {
            name: tf.cast(_gathered(table, rows), self._dtypes[name])
            for name, table in self._tables.items()
        }
        seed = tf.random.fold_in(self._seed, tf.cast(places[0], tf.int32))
        return packed(self._recipe.batch(found.pop("x"), seed), found)

    def _is_like(self, source: Source, tables: dict[str, np.ndarray]) -> bool:
        """Whether a step that was compiled for the rows before can take these."""
        own = {name: (self._dtypes[name], v.shape[1:]) for name, v in self._tables.items()}
        new = {name: (v.dtype, v.shape[1:]) for name, v in tables.items()}
        recipes = [(r.divisor, r.dynamic) for r in (self._recipe, source)]
        return own == new and recipes[0] == recipes[1]


def can_lie(source: Source, sample_weight: np.ndarray | None = None) -> bool:
    """Whether the rows are an array, and not too large with all that goes with them."""
    if not isinstance(source.values, np.ndarray):
        return False
    return sum(value.nbytes for value in _tables(source, sample_weight).values()) <= LIMIT


def _gathered(table: tf.Variable, rows: tf.Tensor) -> tf.Tensor:
    """Rows of a table. On a GPU there is no kernel that gathers bytes of a tensor, but one that
    gathers them of a variable: with it TensorFlow copies what is assigned to the variable.
    """
    return tf.gather(table if has_gpu() else table.read_value(), rows)


def _lying(value: np.ndarray) -> np.ndarray:
    """A table as a device holds it: TensorFlow keeps int32 in the host's memory, where a step
    that XLA has compiled for a GPU cannot read it.
    """
    return value.astype("int64") if value.dtype == np.int32 and has_gpu() else value


def _tables(source: Source, sample_weight: np.ndarray | None) -> dict[str, np.ndarray]:
    weights = {} if sample_weight is None else {"sample_weight": sample_weight}
    return {"x": source.values, **source.beside(), **weights}
