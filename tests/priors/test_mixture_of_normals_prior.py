"""The learned mixture of Normals."""

import numpy as np
import pytest
import tensorflow as tf
from parts import assert_finite, assert_moments, round_trip
from scipy import special, stats

from keras_vae import priors


def example(components=3, size=2):
    prior = priors.MixtureOfNormals(size, components)
    prior.build((None, 4))
    return prior


def test_the_components_start_equal_in_weight_and_scale_and_apart_in_place():
    p = example(components=50).distribution().parameters
    np.testing.assert_array_equal(p["logits"], np.zeros(50))
    np.testing.assert_allclose(p["scale_diag"], np.ones((50, 2)), rtol=1e-6)
    loc = p["loc"].numpy()
    assert 0.7 < loc.std() < 1.3
    assert len(np.unique(loc)) == 100


def test_a_draw_is_differentiable_in_every_weight():
    prior = example()
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(prior.distribution().sample(20, seed=0) ** 2)
    for gradient in tape.gradient(value, [w.value for w in prior.trainable_weights]):
        assert np.all(np.isfinite(gradient))
        assert np.any(gradient.numpy() != 0)


def test_its_density_is_the_weighted_sum_of_scipys():
    prior = example()
    random = np.random.default_rng(0)
    logits, raw = random.normal(size=3), random.normal(size=(3, 2))
    prior.logits.assign(logits)
    prior.raw_scale.assign(raw)
    z = random.normal(size=(5, 4, 2)).astype("float32")
    components = stats.norm.logpdf(
        z[..., None, :], prior.loc.numpy(), np.log1p(np.exp(raw)) + 1e-6
    ).sum(-1)
    expected = special.logsumexp(components + special.log_softmax(logits), axis=-1)
    np.testing.assert_allclose(prior.distribution().log_prob(z), expected, rtol=1e-5)


def test_its_draws_have_the_moments_of_a_mixture():
    prior = example()
    prior.logits.assign([0.0, 1.0, -1.0])
    prior.loc.assign([[3.0, 0.0], [-2.0, 1.0], [0.0, -4.0]])
    weights, loc = special.softmax([0.0, 1.0, -1.0]), prior.loc.numpy()
    mean = weights @ loc
    covariance = np.eye(2) + (weights * (loc - mean).T) @ (loc - mean)
    draws = prior.distribution().sample(20_000, seed=0).numpy()
    assert_moments(draws, mean, covariance)


def test_one_component_is_a_normal():
    prior = example(components=1)
    z = np.random.default_rng(0).normal(size=(7, 2)).astype("float32")
    expected = stats.norm.logpdf(z, prior.loc.numpy()[0]).sum(-1)
    np.testing.assert_allclose(prior.distribution().log_prob(z), expected, rtol=1e-5)


@pytest.mark.parametrize("raw", [-1e4, -50.0, 50.0, 1e4])
@pytest.mark.parametrize("weight", ["logits", "loc", "raw_scale"])
def test_its_density_and_gradient_are_finite_at_extreme_weights(weight, raw):
    prior = example()
    variable = getattr(prior, weight)
    variable.assign(raw * np.linspace(0, 1, variable.numpy().size).reshape(variable.shape))
    weights = [weight.value for weight in prior.trainable_weights]
    assert len(weights) == 3
    with tf.GradientTape() as tape:
        log_prob = prior.distribution().log_prob(np.ones((2, 2), "float32"))
    assert_finite(log_prob, *tape.gradient(log_prob, weights))


@pytest.mark.parametrize("components", [0, -1, 2.5, "2", True, None])
def test_the_number_of_components_is_a_positive_integer(components):
    with pytest.raises(ValueError, match="`components` of MixtureOfNormals is the number") as error:
        priors.MixtureOfNormals(2, components)
    assert f"Received: components={components!r}." in str(error.value)


def test_the_number_of_components_is_saved():
    loaded = round_trip(priors.MixtureOfNormals(2, 7))
    assert type(loaded) is priors.MixtureOfNormals
    assert loaded.components == 7
