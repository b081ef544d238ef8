"""Rows of which most values are zero, as SciPy's CSR matrices hold them.

Only the rows of one batch are ever made dense: word and gene counts of a data set that fits
in memory as CSR would often not fit as an array.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf


def is_sparse(values: object) -> bool:
    """Whether these are rows of a SciPy sparse matrix or array."""
    sparse = sys.modules.get("scipy.sparse")  # SciPy is needed only by those who have such rows
    return sparse is not None and sparse.issparse(values)


def as_csr(values: Any) -> Any:
    """Any SciPy sparse matrix as a CSR array, its duplicate entries summed."""
    from scipy import sparse

    rows = sparse.csr_array(values)
    if not rows.has_canonical_format:
        rows = rows.copy()  # it may share its arrays with the caller's
        rows.sum_duplicates()
    return rows


def dense(values: Any) -> np.ndarray:
    """The rows as a NumPy array."""
    return values if isinstance(values, np.ndarray) else values.toarray()


def moments(values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each column, from the rows of a CSR array that have it.

    NaN is a value that is missing; of a column without values these are 0 and 1.
    """
    entries = values.data.astype("float64")
    missing = np.isnan(entries)
    entries = np.where(missing, 0.0, entries)
    gaps, sums, squares = (
        np.bincount(values.indices, weights, minlength=values.shape[1])
        for weights in (missing, entries, entries**2)
    )
    count = values.shape[0] - gaps
    mean = sums / np.maximum(count, 1)
    variance = np.maximum(squares / np.maximum(count, 1) - mean**2, 0.0)
    return mean, np.where(count > 0, variance, 1.0)


def gatherer(values: Any) -> Callable[[tf.Tensor], tf.Tensor]:
    """From row numbers `[B]` to the rows of a CSR array, `[B, V]`, in the graph of a pipeline."""
    width = values.shape[1]
    data, columns = tf.constant(values.data), tf.constant(values.indices.astype("int64"))
    splits = tf.constant(values.indptr.astype("int64"))
    entries = tf.RaggedTensor.from_row_splits(data, splits, validate=False)
    places = tf.RaggedTensor.from_row_splits(columns, splits, validate=False)

    def gather(rows: tf.Tensor) -> tf.Tensor:
        picked, where = tf.gather(entries, rows), tf.gather(places, rows)
        index = tf.stack([where.value_rowids(), where.values], axis=1)
        shape = tf.stack([tf.cast(tf.shape(rows)[0], tf.int64), width])
        made = tf.scatter_nd(index, picked.values, shape)
        return tf.ensure_shape(made, (None, width))

    return gather
