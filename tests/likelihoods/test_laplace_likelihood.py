"""p(x|z) = Laplace: absolute error."""

import numpy as np
import pytest
import tensorflow as tf
from parts import built, features

from keras_vae.likelihoods import Laplace


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_a_fixed_scale_is_absolute_error_with_a_weight_and_a_constant(scale):
    head = built(Laplace((5,), scale=scale))
    parameters = head(features(4))
    x = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
    error = np.abs(x - parameters["loc"].numpy()).sum(-1)
    expected = -error / scale - 5 * np.log(2 * scale)
    np.testing.assert_allclose(head.distribution(parameters).log_prob(x), expected, rtol=1e-5)


def test_the_start_has_the_moments_of_the_data():
    mean, variance = tf.constant([1.0, -2.0]), tf.constant([0.5, 4.0])
    head = Laplace((2,), scale="per_value")
    p = head.distribution(head.independent(mean, variance))
    np.testing.assert_allclose(p.mean(), mean)
    np.testing.assert_allclose(p.variance(), variance, rtol=1e-5)


def test_one_scale_for_all_has_their_mean_variance():
    head = Laplace((2,), scale="shared")
    scale = head.independent(tf.zeros(2), tf.constant([1.0, 3.0]))["scale"]
    np.testing.assert_allclose(2 * scale**2, [2.0, 2.0], rtol=1e-5)


def test_a_value_far_off_pulls_no_harder_than_another():
    head = Laplace((1,))
    loc = tf.zeros((2, 1))
    with tf.GradientTape() as tape:
        tape.watch(loc)
        log_prob = head.distribution({"loc": loc, "scale": tf.ones((2, 1))}).log_prob(
            [[1.0], [1e6]]
        )
    np.testing.assert_allclose(tape.gradient(log_prob, loc), [[1.0], [1.0]])
