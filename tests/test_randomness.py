"""Noise of the named generator, under XLA and without it."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from keras_vae.randomness import normal_noise, uniform_noise

SEED = tf.constant([7, 8])
LAWS = {
    "normal": (normal_noise, stats.norm(), {}),
    "uniform": (uniform_noise, stats.uniform(), {}),
    "uniform from 0.25": (uniform_noise, stats.uniform(0.25, 0.75), {"low": 0.25}),
}


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize("name", LAWS)
def test_noise_has_its_law(name, dtype, jit_compile):
    noise, law, asked = LAWS[name]
    draw = tf.function(
        lambda seed: noise(tf.constant([4, 5_000]), seed, dtype, **asked), jit_compile=jit_compile
    )
    x = draw(SEED).numpy()
    assert x.dtype == dtype.as_numpy_dtype
    assert stats.kstest(x.ravel(), law.cdf).pvalue > 0.01
    assert len(np.unique(x)) > 0.99 * x.size
    np.testing.assert_array_equal(x, draw(SEED))
    assert abs(np.corrcoef(x)[np.triu_indices(4, 1)]).max() < 4 / np.sqrt(5_000)
    assert abs(np.corrcoef(x.ravel(), draw(SEED + 1).numpy().ravel())[0, 1]) < 4 / np.sqrt(x.size)


def test_the_numbers_are_those_of_philox():
    """The first known answer of philox4x32-10, key and counter 0, that comes with Random123."""
    bits = np.array([0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8])
    of_mantissa = (bits & (2**23 - 1)) / 2**23
    uniform = uniform_noise(tf.constant([4]), tf.constant([0, 0]), tf.float32)
    np.testing.assert_array_equal(uniform, of_mantissa)


@pytest.mark.parametrize("name", LAWS)
def test_seeds_that_differ_in_either_number_have_other_noise(name):
    noise, _, asked = LAWS[name]
    seeds = [(a, b) for a in (0, 1, 2**31 - 1, -1) for b in (0, 1, -(2**31))]
    rows = [noise([2_000], tf.constant(seed), tf.float32, **asked) for seed in seeds]
    assert abs(np.corrcoef(rows)[np.triu_indices(len(seeds), 1)]).max() < 5 / np.sqrt(2_000)
