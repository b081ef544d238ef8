"""The pipeline: every row once an epoch, in an order that its seed decides."""

import numpy as np
import pytest

from keras_vae.data import Source
from keras_vae.data.pipeline import EpochSeed, batches


def epoch(dataset) -> np.ndarray:
    return np.concatenate([batch.numpy() for batch in dataset])


def rows(count: int = 103) -> Source:
    return Source(np.arange(count * 2, dtype=np.uint8).reshape(count, 2))


def seeded(value: int) -> EpochSeed:
    seed = EpochSeed()
    seed.value = np.array([value, 0], "int32")
    return seed


def test_without_a_seed_rows_come_in_their_own_order():
    assert np.array_equal(epoch(batches(rows(), 10)), rows().values)


def test_every_row_comes_once_an_epoch():
    shuffled = epoch(batches(rows(), 10, epoch_seed=seeded(1)))
    assert not np.array_equal(shuffled, rows().values)
    assert sorted(shuffled[:, 0]) == rows().values[:, 0].tolist()


def test_the_seed_of_the_epoch_decides_the_order():
    seed = seeded(1)
    dataset = batches(rows(), 10, epoch_seed=seed)
    first = epoch(dataset)
    assert np.array_equal(epoch(dataset), first)
    seed.value = np.array([2, 0], "int32")
    assert not np.array_equal(epoch(dataset), first)


def test_the_last_batch_holds_what_is_left():
    dataset = batches(rows(), 10)
    assert [len(batch) for batch in dataset] == [10] * 10 + [3]
    assert dataset.cardinality() == 11


def test_weights_stay_with_their_rows():
    weights = np.arange(103, dtype="float32")
    for batch in batches(rows(), 10, weights, seeded(5)):
        assert np.array_equal(batch["x"][:, 0].numpy() / 2, batch["sample_weight"].numpy())


def test_bytes_become_floats_in_the_batch_alone():
    source = Source(np.full((4, 3), 51, np.uint8), divisor=255.0)
    (batch,) = batches(source, 4)
    assert batch.dtype == "float32"
    assert np.allclose(batch, 0.2)
    assert source.values.dtype == np.uint8


def test_dynamic_rows_are_drawn_with_their_grey_values_as_probabilities():
    source = Source(np.full((20_000, 2), [51, 204], np.uint8), divisor=255.0, dynamic=True)
    bits = epoch(batches(source, 1000, epoch_seed=seeded(1)))
    assert set(np.unique(bits)) == {0.0, 1.0}
    assert np.all(np.abs(bits.mean(axis=0) - [0.2, 0.8]) < 4 * 0.4 / np.sqrt(20_000))


def test_dynamic_rows_are_drawn_anew_in_each_epoch_and_batch():
    source = Source(np.full((64, 50), 128, np.uint8), divisor=255.0, dynamic=True)
    seed = seeded(1)
    dataset = batches(source, 32, epoch_seed=seed)
    first = epoch(dataset)
    assert not np.array_equal(first[:32], first[32:])
    seed.value = np.array([2, 0], "int32")
    assert not np.array_equal(epoch(dataset), first)


@pytest.mark.parametrize("dynamic", [False, True])
def test_moments_are_those_of_what_a_model_sees(dynamic):
    rng = np.random.default_rng(0)
    source = Source(rng.integers(0, 256, (30_000, 3), dtype=np.uint8), 255.0, dynamic)
    mean, variance = source.moments(limit=10**9)
    seen = epoch(batches(source, 5000, epoch_seed=seeded(3)))
    assert np.allclose(mean, seen.mean(axis=0), atol=0.015)
    assert np.allclose(variance, seen.var(axis=0), atol=0.005)


def test_bits_are_drawn_anew_also_where_the_order_stays():
    source = Source(np.full((64, 50), 128, np.uint8), divisor=255.0, dynamic=True)
    seed = seeded(1)
    dataset = batches(source, 32, epoch_seed=seed, shuffle=False)
    first = epoch(dataset)
    seed.value = np.array([2, 0], "int32")
    assert not np.array_equal(epoch(dataset), first)


def test_rows_that_are_not_shuffled_come_in_their_own_order():
    dataset = batches(rows(), 10, epoch_seed=seeded(1), shuffle=False)
    assert np.array_equal(epoch(dataset), rows().values)
