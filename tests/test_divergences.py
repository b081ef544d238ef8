"""KL(q || p): the closed forms, and sampling where there is none."""

import numpy as np
import pytest
import tensorflow as tf
from parts import (
    LATENT_SIZE,
    POSTERIORS,
    PRIORS,
    assert_close_to_mean,
    built,
    every,
    features,
    normal_covariance,
    numpy,
)
from tensorflow_probability import distributions as tfd

from keras_vae.divergences import is_exact, kl_divergence

all_posteriors = pytest.mark.parametrize("make", every(POSTERIORS))
all_priors = pytest.mark.parametrize("make_prior", every(PRIORS))


def posterior_of(make, batch=4):
    head = built(make())
    parameters = head(features(batch))
    return parameters, head.distribution(parameters)


def prior_of(make):
    prior = make()
    prior.build(None)
    return prior.distribution()


def standard_normal():
    return prior_of(PRIORS["StandardNormal"])


def normal_kl(loc, covariance, other_loc, other_covariance):
    """KL between Normals, one example: `[D]`, `[D, D]`, `[D]`, `[D, D]`."""
    precision = np.linalg.inv(other_covariance)
    offset = loc - other_loc
    logs = np.linalg.slogdet(other_covariance)[1] - np.linalg.slogdet(covariance)[1]
    return 0.5 * (np.trace(precision @ covariance) + offset @ precision @ offset - len(loc) + logs)


def mixture(batch=3):
    return tfd.MixtureSameFamily(
        tfd.Categorical(probs=[0.3, 0.7]),
        tfd.MultivariateNormalDiag(
            tf.constant([[[-1.0], [2.0]]]) * tf.reshape(tf.range(1.0, batch + 1), (batch, 1, 1)),
            tf.constant([[[0.5], [1.0]]]),
        ),
    )


@all_posteriors
def test_the_kl_to_a_standard_normal_is_the_closed_form(make):
    parameters, q = posterior_of(make)
    loc, covariance = numpy(parameters)["loc"], normal_covariance(parameters)
    nothing, identity = np.zeros(LATENT_SIZE), np.eye(LATENT_SIZE)
    expected = [normal_kl(loc[b], covariance[b], nothing, identity) for b in range(4)]
    kl = kl_divergence(q, standard_normal(), q.sample(1, seed=0))
    assert kl.shape == (4,)
    np.testing.assert_allclose(kl, expected, rtol=1e-5)


def test_the_kl_of_a_diagonal_posterior_is_the_formula_of_its_page():
    """`1/2 sum_d (scale_d^2 + loc_d^2 - 1 - log scale_d^2)`, Kingma and Welling (2014)."""
    parameters, q = posterior_of(POSTERIORS["DiagonalNormal"])
    loc, variance = numpy(parameters)["loc"], numpy(parameters)["scale_diag"] ** 2
    expected = 0.5 * (variance + loc**2 - 1 - np.log(variance)).sum(-1)
    np.testing.assert_allclose(kl_divergence(q, standard_normal(), None), expected, rtol=1e-5)


def test_the_kl_of_a_full_covariance_posterior_is_the_formula_of_its_page():
    """`1/2 (||L||_F^2 + ||loc||^2 - D) - sum_d log L_dd`."""
    parameters, q = posterior_of(POSTERIORS["FullCovarianceNormal"])
    loc, tril = numpy(parameters)["loc"], numpy(parameters)["scale_tril"]
    squares = (tril**2).sum((-1, -2)) + (loc**2).sum(-1) - LATENT_SIZE
    logs = np.log(np.diagonal(tril, axis1=-2, axis2=-1)).sum(-1)
    kl = kl_divergence(q, standard_normal(), None)
    np.testing.assert_allclose(kl, 0.5 * squares - logs, rtol=1e-5)


@all_posteriors
@all_priors
def test_the_kl_is_the_mean_of_the_log_ratio_of_draws(make, make_prior):
    _, q = posterior_of(make)
    p = prior_of(make_prior)
    z = q.sample(20_000, seed=0)
    kl = kl_divergence(q, p, z)
    assert_close_to_mean(q.log_prob(z) - p.log_prob(z), kl.numpy())


@all_posteriors
def test_the_kl_of_a_distribution_with_itself_is_zero(make):
    _, q = posterior_of(make)
    np.testing.assert_allclose(kl_divergence(q, q, q.sample(3, seed=0)), np.zeros(4), atol=1e-6)


def test_the_sampled_kl_of_a_distribution_with_itself_is_zero():
    q = mixture()
    np.testing.assert_array_equal(kl_divergence(q, q, q.sample(3, seed=0)), np.zeros(3))


@all_posteriors
@all_priors
@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0, 1e3])
def test_the_kl_is_not_negative(make, make_prior, size):
    head = built(make())
    q = head.distribution(head(size * features(256)))
    kl = kl_divergence(q, prior_of(make_prior), q.sample(1, seed=0)).numpy()
    assert np.isfinite(kl).all()
    assert kl.min() >= 0


def test_the_kl_of_the_prior_is_zero_at_its_parameters():
    head = built(POSTERIORS["DiagonalNormal"]())
    q = head.distribution({"loc": tf.zeros((2, 2)), "scale_diag": tf.ones((2, 2))})
    np.testing.assert_allclose(kl_divergence(q, standard_normal(), None), [0, 0], atol=1e-7)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e4])
@pytest.mark.parametrize("loc", [0.0, 1e4])
def test_the_kl_keeps_its_digits_at_extreme_parameters(scale, loc):
    head = built(POSTERIORS["DiagonalNormal"]())
    q = head.distribution({"loc": tf.fill((1, 2), loc), "scale_diag": tf.fill((1, 2), scale)})
    expected = scale**2 + loc**2 - 1 - 2 * np.log(scale)
    np.testing.assert_allclose(kl_divergence(q, standard_normal(), None), [expected], rtol=1e-5)


def test_a_pair_without_a_closed_form_is_sampled():
    q, p = mixture(), tfd.MultivariateNormalDiag(tf.zeros(1), tf.ones(1))
    z = q.sample(7, seed=0)
    expected = np.mean(q.log_prob(z) - p.log_prob(z), axis=0)
    kl = kl_divergence(q, p, z)
    assert kl.shape == (3,)
    np.testing.assert_allclose(kl, expected, rtol=1e-6)


def test_the_sampled_kl_is_right_within_its_error():
    q, p = mixture(), tfd.MultivariateNormalDiag(tf.zeros(1), tf.ones(1))
    grid = np.linspace(-15, 20, 20_001, dtype="float32").reshape(-1, 1, 1)
    log_q = q.log_prob(grid).numpy().astype("float64")
    log_p = p.log_prob(grid).numpy().astype("float64")
    expected = (np.exp(log_q) * (log_q - log_p)).sum(0) * (grid[1] - grid[0]).item()
    z = q.sample(20_000, seed=0)
    error = np.std(q.log_prob(z) - p.log_prob(z), axis=0) / np.sqrt(20_000)
    np.testing.assert_array_less(np.abs(kl_divergence(q, p, z) - expected), 4 * error)


def test_the_sampled_kl_has_a_gradient_towards_the_prior():
    """Of `E_q[log q - log p]` the derivative by p's mean m is `m - E_q[z]`."""
    loc = tf.Variable([0.5])
    q = mixture()
    z = q.sample(5, seed=0)
    with tf.GradientTape() as tape:
        kl = kl_divergence(q, tfd.MultivariateNormalDiag(loc, tf.ones(1)), z)
    expected = np.sum(0.5 - np.mean(z, axis=0))
    np.testing.assert_allclose(tape.gradient(kl, loc), [expected], rtol=1e-5)


@all_posteriors
def test_whether_the_kl_is_exact_is_known(make):
    _, q = posterior_of(make)
    assert is_exact(q, standard_normal())
    assert not is_exact(mixture(), tfd.MultivariateNormalDiag(tf.zeros(1), tf.ones(1)))


@all_posteriors
def test_the_exact_kl_does_not_depend_on_the_draws(make):
    _, q = posterior_of(make)
    first, second = (kl_divergence(q, standard_normal(), q.sample(1, seed=s)) for s in (0, 1))
    np.testing.assert_array_equal(first, second)
