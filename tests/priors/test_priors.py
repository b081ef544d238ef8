"""What holds for every p(z)."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from parts import LATENT_SIZE, PRIORS, assert_finite, assert_moments, every, round_trip
from scipy import stats

from keras_vae import priors

all_priors = pytest.mark.parametrize("make", every(PRIORS))


def example(make):
    prior = make()
    prior.build(None)
    return prior


@all_priors
def test_the_event_is_the_latent_vector(make):
    p = example(make).distribution()
    assert p.batch_shape == ()
    assert p.event_shape == (LATENT_SIZE,)
    assert p.sample((4, 3), seed=0).shape == (4, 3, LATENT_SIZE)
    assert p.log_prob(np.zeros((4, 3, LATENT_SIZE), "float32")).shape == (4, 3)


@all_priors
def test_the_density_integrates_to_one(make):
    p = example(make).distribution()
    axis = np.linspace(-12, 12, 801)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, LATENT_SIZE).astype("float32")
    values = np.exp(p.log_prob(grid)).sum(dtype="float64")
    assert values * (axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=1e-4)


@all_priors
def test_draws_are_of_the_density(make):
    """The mean of a bounded function of draws is its integral against the density."""
    p = example(make).distribution()
    axis = np.linspace(-12, 12, 801)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, LATENT_SIZE).astype("float32")
    weights = np.exp(p.log_prob(grid)).astype("float64") * (axis[1] - axis[0]) ** 2
    draws = p.sample(20_000, seed=0).numpy()
    for direction in np.eye(LATENT_SIZE):
        for function in (np.cos, np.sin, np.tanh):
            values = function(draws @ direction)
            error = values.std() / np.sqrt(len(values))
            assert abs(values.mean() - weights @ function(grid @ direction)) < 4 * error


@all_priors
@pytest.mark.parametrize("value", [0.0, 1.0, -50.0, 1e4])
def test_the_log_density_and_its_gradient_are_finite_far_out(make, value):
    p = example(make).distribution()
    z = tf.fill((3, LATENT_SIZE), value)
    with tf.GradientTape() as tape:
        tape.watch(z)
        log_prob = p.log_prob(z)
    assert_finite(log_prob, tape.gradient(log_prob, z))


@all_priors
def test_a_loaded_prior_is_the_saved_one(make):
    prior = make(name="p")
    loaded = round_trip(prior)
    assert type(loaded) is type(prior)
    assert loaded.get_config() == prior.get_config()


@all_priors
def test_priors_are_registered_under_the_packages_name(make):
    kind = type(make())
    assert keras.saving.get_registered_name(kind) == f"keras_vae>{kind.__name__}"


@all_priors
@pytest.mark.parametrize(
    ("policy", "dtype"), [("mixed_float16", tf.float32), ("float64", tf.float64)]
)
def test_the_density_is_in_single_precision_at_least(make, policy, dtype):
    prior = make(dtype=policy)
    prior.build(None)
    assert prior.distribution().dtype == dtype


@all_priors
@pytest.mark.parametrize("size", [0, -1, 2.5, "2", True, None])
def test_the_latent_size_is_a_positive_integer(make, size):
    with pytest.raises(ValueError, match=r"`latent_size` of \w+ is the number") as error:
        make(size)
    assert "a positive integer" in str(error.value)
    assert f"Received: latent_size={size!r}." in str(error.value)


@all_priors
def test_the_statement_is_about_this_prior(make):
    prior = make()
    statement = prior.statement()
    assert statement.family == type(prior).__name__
    assert statement.event_shape == (LATENT_SIZE,)
    assert bool(statement.learned) == bool(example(make).trainable_weights)


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
