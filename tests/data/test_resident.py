"""Rows that a step gathers itself: the batches are those of the pipeline."""

import numpy as np
import pytest
import tensorflow as tf

from keras_vae.data import Source
from keras_vae.data.pipeline import EpochSeed, batches
from keras_vae.data.resident import LIMIT, ResidentRows, can_lie

SEED = np.array([7, -3], "int32")
GREY = np.random.default_rng(0).integers(0, 256, (23, 4), dtype=np.uint8)
CLASSES = np.arange(23)
WEIGHTS = np.linspace(0, 1, 23).astype("float32")


def pipeline(source, weights=None, shuffle=True):
    """The batches of an epoch, as tf.data makes them."""
    seed = EpochSeed()
    seed.begin(SEED)
    return [as_dict(b) for b in batches(source, 5, weights, seed, shuffle)]


def resident(source, weights=None, shuffle=True, rows=None):
    """The batches of an epoch, as steps make them."""
    rows = rows or ResidentRows(source, weights, shuffle)
    rows.begin(SEED)
    make = tf.function(rows.batch)
    return [as_dict(make(tf.range(i, min(i + 5, 23), dtype=tf.int64))) for i in range(0, 23, 5)]


def as_dict(batch):
    return batch if isinstance(batch, dict) else {"x": batch}


def assert_equal(found, expected):
    for batch, other in zip(found, expected, strict=True):
        assert batch.keys() == other.keys()
        for name, value in batch.items():
            assert value.dtype == other[name].dtype
            # A graph divides by multiplying: the last digit may differ.
            np.testing.assert_allclose(value, other[name], rtol=2e-7, atol=0)


@pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in order"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
@pytest.mark.parametrize(
    "source",
    [
        Source(GREY),
        Source(GREY, divisor=255.0),
        Source(GREY, divisor=255.0, dynamic=True),
        Source(GREY.astype("float64"), condition=CLASSES, size_factor=WEIGHTS + 1),
    ],
    ids=["bytes", "grey", "bits", "beside"],
)
def test_batches_are_those_of_the_pipeline(source, weights, shuffle):
    assert_equal(resident(source, weights, shuffle), pipeline(source, weights, shuffle))


def test_other_rows_take_the_place_of_those_before():
    rows = ResidentRows(Source(GREY[:9]))
    rows.release()
    assert rows.take(Source(GREY), None, shuffle=True)
    assert_equal(resident(None, rows=rows), pipeline(Source(GREY)))


@pytest.mark.parametrize(
    ("source", "weights"),
    [
        (Source(GREY.astype("float32")), None),
        (Source(GREY[:, :3]), None),
        (Source(GREY, divisor=255.0), None),
        (Source(GREY, divisor=1.0, condition=CLASSES), None),
        (Source(GREY), WEIGHTS),
    ],
    ids=["type", "shape", "divisor", "condition", "weights"],
)
def test_rows_of_another_kind_are_not_taken(source, weights):
    rows = ResidentRows(Source(GREY))
    assert not rows.take(source, weights, shuffle=True)
    assert_equal(resident(None, rows=rows), pipeline(Source(GREY)))


def test_what_is_sparse_or_too_large_stays_with_the_pipeline():
    import scipy.sparse

    assert can_lie(Source(GREY))
    assert not can_lie(Source(scipy.sparse.csr_matrix(GREY)))
    assert not can_lie(Source(np.broadcast_to(np.uint8(0), (LIMIT + 1, 1))))
    half = np.broadcast_to(np.uint8(0), (LIMIT // 2 + 1, 1))
    assert can_lie(Source(half))
    assert not can_lie(Source(half, condition=half))
    assert not can_lie(Source(half), sample_weight=half)


def test_on_a_gpu_no_table_is_of_int32(monkeypatch):
    """TensorFlow would keep it in the host's memory."""
    monkeypatch.setattr("keras_vae.data.resident.has_gpu", lambda: True)
    source = Source(GREY.astype("int32"), condition=CLASSES.astype("int32"))
    rows = ResidentRows(source)
    assert tf.int32 not in [table.dtype for table in rows._tables.values()]
    assert_equal(resident(None, rows=rows), pipeline(source))
    assert rows.take(source[:9], None, shuffle=True)
    assert not rows.take(Source(GREY.astype("int64"), condition=CLASSES), None, shuffle=True)
