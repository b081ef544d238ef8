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


@pytest.mark.parametrize("name", LAWS)
def test_without_xla_the_numbers_are_tensorflows_own(name):
    noise, _, asked = LAWS[name]
    low = asked.get("low", 0.0)
    expected = {
        normal_noise: lambda: tf.random.stateless_normal((3, 5), SEED),
        uniform_noise: lambda: tf.random.stateless_uniform((3, 5), SEED, low, 1),
    }[noise]()
    np.testing.assert_array_equal(noise((3, 5), SEED, tf.float32, **asked), expected)
