"""Several running means are those of Keras."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vae.running_means import add_to_means, running_means

RNG = np.random.default_rng(0)
BATCHES = [RNG.normal(size=(2, size)) for size in (5, 5, 3)]
WEIGHTS = [RNG.uniform(0.5, 2, size) for size in (5, 5, 3)]
NAMES = ["first", "second"]


@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", ["eager", "graph", "XLA"])
def test_the_means_are_those_of_keras(mode, dtype, weighted):
    found, expected = running_means(NAMES), [keras.metrics.Mean(name) for name in NAMES]
    add = functools.partial(add_to_means, found)
    if mode != "eager":
        add = tf.function(add, jit_compile=mode == "XLA")
    for batch, weights in zip(BATCHES, WEIGHTS, strict=True):
        values = [tf.constant(value, dtype) for value in batch]
        weight = tf.constant(weights, "float32") if weighted else None
        add(values, weight)
        for mean, value in zip(expected, values, strict=True):
            mean.update_state(value, sample_weight=weight)
    for mean, of_keras in zip(found, expected, strict=True):
        np.testing.assert_allclose(mean.result(), of_keras.result(), rtol=1e-6)
        np.testing.assert_allclose(mean.total_and_count()[1], of_keras.count, rtol=1e-6)
        assert mean.name == of_keras.name


def test_after_a_reset_they_begin_anew():
    found = running_means(NAMES)
    add_to_means(found, [tf.ones(3), tf.zeros(3)], None)
    for mean in found:
        mean.reset_state()
    add_to_means(found, [tf.fill([2], 5.0), tf.fill([2], 7.0)], None)
    assert [float(mean.result()) for mean in found] == [5, 7]


def test_of_nothing_they_are_zero_as_in_keras():
    assert [float(mean.result()) for mean in running_means(NAMES)] == [0, 0]
