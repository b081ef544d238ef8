"""What holds for every p(z)."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from integration import assert_draws_are_of_the_density, expectations, rule
from parts import LATENT_SIZE, PRIORS, assert_finite, assert_moments, every, round_trip
from scipy import stats
from tensorflow_probability import distributions as tfd

from keras_vae import priors
from keras_vae.latents import REALS

INPUT_SIZE, CONDITION_SIZE = 3, 4

all_priors = pytest.mark.parametrize("make", every(PRIORS))


def example(make, **kwargs):
    """A prior with its weights made, as a model makes them."""
    prior = make(**kwargs)
    prior.build((None, INPUT_SIZE), CONDITION_SIZE if prior.conditional else 0)
    return prior


def distribution_of(prior):
    """p(z), batch `[]`; where it is conditional for one condition, batch `[1]`."""
    condition = tf.ones((1, CONDITION_SIZE)) if prior.conditional else None
    if not prior.uses_encoder:
        return prior.distribution(condition)

    def encode(inputs):
        loc = tf.cast(inputs[:, :LATENT_SIZE], prior.density_dtype)
        return tfd.MultivariateNormalDiag(loc, tf.ones_like(loc))

    return prior.distribution(condition, encode)


def far_out(support):
    """Values where a density is small, or the set ends."""
    if support == REALS:
        values = (0.0, 1.0, -50.0, 1e4)
        return np.array([[value, value] for value in values], "float32")
    points, _ = rule(support)
    return points[np.r_[0:4, -4:0]] if len(points) > 4 else points


@all_priors
def test_the_event_is_the_latent_vector(make):
    prior = example(make)
    p = distribution_of(prior)
    batch = (1,) if prior.conditional else ()
    assert p.batch_shape == batch
    assert p.event_shape == (LATENT_SIZE,)
    draws = p.sample((4, 3), seed=0)
    assert draws.shape == (4, 3, *batch, LATENT_SIZE)
    assert p.log_prob(draws).shape == (4, 3, *batch)


@all_priors
def test_the_density_integrates_to_one(make):
    """Over the values that `support` names, of which others would not do."""
    prior = example(make)
    total, _ = expectations(distribution_of(prior), prior.support)
    assert total == pytest.approx(1, abs=3e-4)


@all_priors
def test_draws_are_of_the_density(make):
    prior = example(make)
    assert_draws_are_of_the_density(distribution_of(prior), prior.support)


@all_priors
def test_the_log_density_and_its_gradient_are_finite_far_out(make):
    prior = example(make)
    p, z = distribution_of(prior), tf.constant(far_out(prior.support))
    with tf.GradientTape() as tape:
        tape.watch(z)
        log_prob = p.log_prob(z)
    # A uniform density does not depend on z: no gradient there.
    gradient = tape.gradient(log_prob, z, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    assert_finite(log_prob, gradient)


@all_priors
def test_draws_and_densities_are_compiled_by_xla_where_the_prior_says_so(make):
    prior = example(make)

    @tf.function(jit_compile=prior.xla)
    def drawn(seed):
        p = distribution_of(prior)
        z = p.sample(5, seed=seed)
        return z, p.log_prob(z)

    z, log_prob = drawn(tf.constant([0, 1]))
    expected = distribution_of(prior).log_prob(tf.identity(z))
    np.testing.assert_allclose(log_prob, expected, rtol=1e-4, atol=1e-4)


@all_priors
def test_a_loaded_prior_is_the_saved_one(make):
    prior = make(name="p")
    loaded = round_trip(prior)
    assert type(loaded) is type(prior)
    # By way of JSON, which has no tuples: parts in parts note the shapes they were built with.
    assert json.dumps(loaded.get_config()) == json.dumps(prior.get_config())


@all_priors
def test_priors_are_registered_under_the_packages_name(make):
    kind = type(make())
    # Under its slot's where another slot has a class of the same name.
    packages = ("keras_vae", "keras_vae.priors")
    name = keras.saving.get_registered_name(kind)
    assert name in {f"{package}>{kind.__name__}" for package in packages}
    assert keras.saving.get_registered_object(name) is kind


@all_priors
@pytest.mark.parametrize(
    ("policy", "dtype"), [("mixed_float16", tf.float32), ("float64", tf.float64)]
)
def test_the_density_is_in_single_precision_at_least(make, policy, dtype):
    prior = example(make, dtype=policy)
    p = distribution_of(prior)
    assert p.dtype == dtype
    z = p.sample(3, seed=0)
    assert z.dtype == p.log_prob(z).dtype == dtype


@all_priors
@pytest.mark.parametrize("size", [0, -1, 2.5, "2", True, None])
def test_the_latent_size_is_a_positive_integer(make, size):
    with pytest.raises(ValueError, match=r"`latent_size` of \w+ is the number") as error:
        make(size)
    assert "a positive integer" in str(error.value)
    assert f"Received: latent_size={size!r}." in str(error.value)


@all_priors
def test_the_statement_is_about_this_prior(make):
    prior = example(make)
    statement = prior.statement()
    assert statement.family == type(prior).__name__
    assert statement.event_shape == (LATENT_SIZE,)
    assert bool(statement.learned) == bool(prior.trainable_weights)


def test_the_standard_normal_is_scipys():
    p = example(lambda: priors.StandardNormal(3)).distribution()
    z = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
    expected = stats.multivariate_normal(np.zeros(3)).logpdf(z)
    np.testing.assert_allclose(p.log_prob(z), expected, rtol=1e-5)


def test_draws_of_the_standard_normal_have_its_moments():
    draws = example(lambda: priors.StandardNormal(3)).distribution().sample(20_000, seed=0)
    assert_moments(draws.numpy(), np.zeros(3), np.eye(3))


def test_the_standard_normal_learns_nothing():
    assert example(lambda: priors.StandardNormal(3)).weights == []
