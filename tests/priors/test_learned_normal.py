"""The Normal prior that training moves."""

import numpy as np
import pytest
import tensorflow as tf
from parts import POSTERIORS, built, features, normal_covariance, numpy
from scipy import stats
from tensorflow_probability import distributions as tfd

from keras_vae import priors
from keras_vae.divergences import is_exact, kl_divergence


def example(raw_scale=(0.3, -2.0)):
    prior = priors.LearnedNormal(2)
    prior.build((None, 4))
    prior.loc.assign([1.0, -3.0])
    prior.raw_scale.assign(raw_scale)
    return prior


def test_it_starts_as_the_standard_normal():
    prior = priors.LearnedNormal(3)
    prior.build((None, 4))
    p = prior.distribution()
    np.testing.assert_array_equal(p.mean(), np.zeros(3))
    np.testing.assert_allclose(p.stddev(), np.ones(3), rtol=1e-6)


def test_its_density_is_scipys():
    scale = np.log1p(np.exp([0.3, -2.0])) + 1e-6
    z = np.random.default_rng(0).normal(size=(5, 4, 2)).astype("float32")
    expected = stats.norm.logpdf(z, [1.0, -3.0], scale).sum(-1)
    np.testing.assert_allclose(example().distribution().log_prob(z), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["DiagonalNormal", "FullCovarianceNormal"])
def test_the_kl_of_a_normal_posterior_to_it_is_exact(name):
    head = built(POSTERIORS[name]())
    parameters = head(features())
    q, p = head.distribution(parameters), example().distribution()
    assert is_exact(q, p)
    loc, covariance = numpy(parameters)["loc"], normal_covariance(parameters)
    variance = (np.log1p(np.exp([0.3, -2.0])) + 1e-6) ** 2
    expected = [
        0.5
        * (
            (np.diagonal(covariance[b]) / variance).sum()
            + ((loc[b] - [1.0, -3.0]) ** 2 / variance).sum()
            - 2
            + np.log(variance).sum()
            - np.linalg.slogdet(covariance[b])[1]
        )
        for b in range(3)
    ]
    np.testing.assert_allclose(kl_divergence(q, p, None), expected, rtol=1e-4)


def test_at_the_optimum_it_has_the_moments_of_the_aggregate_posterior():
    """The gradient of the mean KL is zero there."""
    loc = tf.constant([[0.5, -1.0], [2.0, 1.0], [-1.0, 3.0]])
    scale = tf.constant([[0.5, 1.0], [0.2, 2.0], [1.0, 0.1]])
    mean = tf.reduce_mean(loc, 0)
    deviation = tf.sqrt(tf.reduce_mean(scale**2 + (loc - mean) ** 2, 0))
    prior = example(np.log(np.expm1(deviation - 1e-6)))
    prior.loc.assign(mean)
    with tf.GradientTape() as tape:
        kl = tfd.MultivariateNormalDiag(loc, scale).kl_divergence(prior.distribution())
        total = tf.reduce_mean(kl)
    weights = [weight.value for weight in prior.trainable_weights]
    assert len(weights) == 2
    for gradient in tape.gradient(total, weights):
        np.testing.assert_allclose(gradient, np.zeros(2), atol=1e-5)


@pytest.mark.parametrize("raw", [-1e4, -50.0, 50.0, 1e4])
def test_its_density_and_gradient_are_finite_at_extreme_weights(raw):
    prior = example([raw, raw])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(prior.distribution().log_prob(tf.constant([[1.0, -3.0], [0.0, 0.0]])))
    gradients = tape.gradient(total, [weight.value for weight in prior.trainable_weights])
    assert np.all(np.isfinite([total, *np.concatenate(gradients)]))
