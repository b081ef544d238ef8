"""The posterior of independent Laplace values."""

import numpy as np
import pytest
import tensorflow as tf
from parts import assert_close_to_mean, assert_finite, assert_moments, built, features, numpy
from scipy import integrate, stats
from tensorflow_probability import distributions as tfd

from keras_vae import posteriors
from keras_vae.divergences import is_exact

D = 3


def example(dtype="float64"):
    head = built(posteriors.Laplace(D, dtype=dtype))
    parameters = head(features().astype(dtype))
    return head, parameters, head.distribution(parameters)


def a_normal():
    return tfd.MultivariateNormalDiag(np.array([0.3, -1.0, 2.0]), np.array([0.5, 1.0, 3.0]))


def test_the_log_density_is_scipys():
    _, parameters, q = example()
    assert {name: value.shape for name, value in parameters.items()} == {
        "loc": (3, D),
        "scale": (3, D),
    }
    p = numpy(parameters)
    z = np.random.default_rng(0).normal(size=(7, 3, D))
    expected = stats.laplace(p["loc"], p["scale"]).logpdf(z).sum(-1)
    np.testing.assert_allclose(q.log_prob(z), expected)


def test_draws_have_the_moments_of_the_parameters():
    _, parameters, q = example()
    draws = q.sample(20_000, seed=0).numpy()
    p = numpy(parameters)
    np.testing.assert_allclose(q.mean(), p["loc"])
    for b in range(3):
        assert_moments(draws[:, b], p["loc"][b], np.diag(2 * p["scale"][b] ** 2))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_have_the_law_of_scipys(dtype):
    _, parameters, q = example(dtype)
    p, draws = numpy(parameters), q.sample(5_000, seed=tf.constant([3, 4])).numpy()
    standard = (draws - p["loc"]) / p["scale"]
    assert stats.kstest(standard.ravel(), stats.laplace.cdf).pvalue > 0.01


def test_the_kl_to_a_normal_is_its_integral():
    _, parameters, q = example()
    p, normal = numpy(parameters), a_normal()
    assert is_exact(q, normal)
    loc, scale = normal.mean().numpy(), normal.stddev().numpy()

    def integral(b, d):
        one = stats.laplace(p["loc"][b, d], p["scale"][b, d])
        other = stats.norm(loc[d], scale[d])
        reach = 40 * one.std()
        return integrate.quad(
            lambda z: one.pdf(z) * (one.logpdf(z) - other.logpdf(z)),
            one.mean() - reach,
            one.mean() + reach,
            points=[one.mean()],
            limit=200,
        )[0]

    expected = [sum(integral(b, d) for d in range(D)) for b in range(3)]
    np.testing.assert_allclose(q.kl_divergence(normal), expected, rtol=1e-6)


def test_the_exact_kl_is_the_mean_over_draws():
    _, _, q = example()
    z = q.sample(4000, seed=0)
    assert_close_to_mean(
        q.log_prob(z) - a_normal().log_prob(z), q.kl_divergence(a_normal()).numpy()
    )


def test_the_closed_form_is_for_this_family_alone():
    other = tfd.Independent(tfd.StudentT(3.0, tf.zeros(D), 1.0), 1)
    assert not is_exact(other, tfd.MultivariateNormalDiag(tf.zeros(D), tf.ones(D)))


def test_a_slice_of_the_batch_is_of_the_family():
    _, _, q = example()
    z = q.sample(seed=0)
    np.testing.assert_allclose(q[1:].log_prob(z[1:]), q.log_prob(z)[1:])
    np.testing.assert_allclose(q[1:].kl_divergence(a_normal()), q.kl_divergence(a_normal())[1:])


def test_it_compiles():
    head, parameters, q = example("float32")
    p = tfd.MultivariateNormalDiag(tf.zeros(D), tf.ones(D))

    @tf.function(jit_compile=True)
    def compiled(parameters, z):
        q = head.distribution(parameters)
        return q.log_prob(z), q.kl_divergence(p), q.sample(seed=(0, 1))

    z = q.sample(4, seed=0)
    log_prob, kl, draw = compiled(parameters, z)
    np.testing.assert_allclose(log_prob, q.log_prob(z), rtol=1e-5)
    np.testing.assert_allclose(kl, q.kl_divergence(p), rtol=1e-5)
    assert_finite(draw)


@pytest.mark.parametrize("z", [-1e4, 0.0, 1e4])
def test_the_gradient_of_the_log_density_is_a_sign_over_the_scale(z):
    _, parameters, q = example()
    at = tf.fill((3, D), tf.constant(z, tf.float64))
    with tf.GradientTape() as tape:
        tape.watch(at)
        log_prob = q.log_prob(at)
    p = numpy(parameters)
    expected = -np.sign(z - p["loc"]) / p["scale"]
    np.testing.assert_allclose(tape.gradient(log_prob, at), expected)
