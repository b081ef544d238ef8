"""What holds for every q(z|x)."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from parts import (
    LATENT_SIZE,
    POSTERIORS,
    assert_finite,
    assert_moments,
    built,
    every,
    features,
    normal_covariance,
    numpy,
    round_trip,
)
from scipy import stats

from keras_vae import priors
from keras_vae.divergences import kl_divergence

PARAMETERS = {
    "DiagonalNormal": {"loc": (LATENT_SIZE,), "scale_diag": (LATENT_SIZE,)},
    "FullCovarianceNormal": {"loc": (LATENT_SIZE,), "scale_tril": (LATENT_SIZE, LATENT_SIZE)},
}
EXTREMES = (-1e4, -50.0, 50.0, 1e4)

all_posteriors = pytest.mark.parametrize("make", every(POSTERIORS))


def example(make, batch=3):
    head = built(make())
    parameters = head(features(batch))
    return head, parameters, head.distribution(parameters)


@pytest.mark.parametrize("name", POSTERIORS)
@pytest.mark.parametrize("features_shape", [(5,), (3, 2), (4, 4, 3)])
def test_parameters_have_their_names_and_lead_with_the_batch(name, features_shape):
    head = POSTERIORS[name]()
    parameters = head(features(3, features_shape))
    shapes = {key: tuple(value.shape) for key, value in parameters.items()}
    assert shapes == {key: (3, *shape) for key, shape in PARAMETERS[name].items()}
    assert {value.dtype for value in parameters.values()} == {tf.float32}


@all_posteriors
def test_the_event_is_the_latent_vector(make):
    head, parameters, q = example(make)
    assert q.batch_shape == (3,)
    assert q.event_shape == (LATENT_SIZE,)
    unfolded = {key: tf.stack([value] * 4) for key, value in parameters.items()}
    q = head.distribution(unfolded)
    assert q.batch_shape == (4, 3)
    assert q.event_shape == (LATENT_SIZE,)
    assert q.log_prob(q.sample(seed=0)).shape == (4, 3)


@all_posteriors
def test_the_log_density_is_scipys(make):
    _, parameters, q = example(make)
    z = np.random.default_rng(0).normal(size=(7, 3, LATENT_SIZE)).astype("float32")
    loc, covariance = numpy(parameters)["loc"], normal_covariance(parameters)
    expected = np.stack(
        [stats.multivariate_normal(loc[b], covariance[b]).logpdf(z[:, b]) for b in range(3)], 1
    )
    np.testing.assert_allclose(q.log_prob(z), expected, rtol=1e-4)


@all_posteriors
def test_the_density_integrates_to_one(make):
    _, parameters, q = example(make)
    loc, covariance = numpy(parameters)["loc"], normal_covariance(parameters)
    for b in range(3):
        reach = 10 * np.sqrt(np.diagonal(covariance[b]))
        axes = [np.linspace(m - r, m + r, 1201) for m, r in zip(loc[b], reach, strict=True)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 1, LATENT_SIZE)
        cell = np.prod([axis[1] - axis[0] for axis in axes])
        values = np.exp(q[b : b + 1].log_prob(grid.astype("float32")))
        assert values.sum(dtype="float64") * cell == pytest.approx(1, abs=1e-4)


@all_posteriors
def test_draws_have_the_moments_that_the_parameters_say(make):
    _, parameters, q = example(make)
    draws = q.sample(20_000, seed=0).numpy()
    for b in range(3):
        assert_moments(draws[:, b], numpy(parameters)["loc"][b], normal_covariance(parameters)[b])


@all_posteriors
def test_the_mean_is_the_loc(make):
    _, parameters, q = example(make)
    np.testing.assert_array_equal(q.mean(), parameters["loc"])


@all_posteriors
@pytest.mark.parametrize("raw", EXTREMES)
def test_values_and_gradients_are_finite_at_extreme_features(make, raw):
    head = built(make())
    for weight in head.weights:
        weight.assign(tf.fill(weight.shape, raw if weight.path.endswith("bias") else 0.0))
    prior = priors.StandardNormal(LATENT_SIZE).distribution()
    with tf.GradientTape() as tape:
        parameters = head(features())
        q = head.distribution(parameters)
        z = q.sample(4, seed=0)
        kl = kl_divergence(q, prior, z)
        total = tf.reduce_sum(kl) + tf.reduce_sum(z)
    assert_finite(*parameters.values(), kl, z, q.log_prob(z))
    assert_finite(*tape.gradient(total, head.trainable_weights))


@all_posteriors
@pytest.mark.parametrize("raw", EXTREMES)
def test_the_log_density_of_a_draw_has_a_finite_gradient_at_extreme_features(make, raw):
    head = built(make())
    for weight in head.weights:
        weight.assign(tf.fill(weight.shape, raw if weight.path.endswith("bias") else 0.0))
    with tf.GradientTape() as tape:
        q = head.distribution(head(features()))
        total = tf.reduce_sum(q.log_prob(q.sample(4, seed=0)))
    gradients = tape.gradient(total, head.trainable_weights)
    # The density of a draw at its own loc does not depend on loc: no gradient there.
    assert_finite(total, *(gradient for gradient in gradients if gradient is not None))


@all_posteriors
def test_scales_are_positive_however_small_the_raw_output(make):
    head = built(make())
    for weight in head.weights:
        weight.assign(tf.fill(weight.shape, -1e4 if weight.path.endswith("bias") else 0.0))
    covariance = normal_covariance(head(features()))
    np.testing.assert_array_less(1e-13, np.diagonal(covariance, axis1=-2, axis2=-1))
    np.testing.assert_allclose(covariance[:, 0, 0], 1e-12, rtol=1e-5)


@all_posteriors
def test_a_loaded_head_is_the_saved_one(make):
    head = built(make(name="q"))
    loaded = built(round_trip(head))
    assert type(loaded) is type(head)
    assert loaded.get_config() == head.get_config()
    loaded.set_weights(head.get_weights())
    for name, value in head(features()).items():
        np.testing.assert_array_equal(loaded(features())[name], value)


@all_posteriors
def test_heads_are_registered_under_the_packages_name(make):
    kind = type(make())
    assert keras.saving.get_registered_name(kind) == f"keras_vae>{kind.__name__}"


@all_posteriors
def test_half_precision_networks_have_single_precision_densities(make):
    full, half = built(make()), built(make(dtype="mixed_float16"))
    half.set_weights(full.get_weights())
    parameters = half(features())
    assert {value.dtype for value in parameters.values()} == {tf.float32}
    assert half.distribution(parameters).log_prob(np.zeros((3, LATENT_SIZE), "float32")).dtype == (
        tf.float32
    )
    for name, value in full(features()).items():
        np.testing.assert_allclose(parameters[name], value, atol=0.02)


@all_posteriors
def test_double_precision_is_kept(make):
    head = built(make(dtype="float64"))
    parameters = head(features().astype("float64"))
    assert {value.dtype for value in parameters.values()} == {tf.float64}


@all_posteriors
@pytest.mark.parametrize("size", [0, -1, 2.5, "2", True, None])
def test_the_latent_size_is_a_positive_integer(make, size):
    with pytest.raises(ValueError, match=r"`latent_size` of \w+ is the number") as error:
        make(size)
    assert "a positive integer" in str(error.value)
    assert f"Received: latent_size={size!r}." in str(error.value)


@all_posteriors
def test_features_of_unknown_size_are_refused(make):
    with pytest.raises(ValueError, match=r"Received: \(None, None, 3\)"):
        make().build((None, None, 3))


@all_posteriors
def test_the_statement_names_the_parameters(make):
    head = make()
    statement = head.statement()
    assert statement.family == type(head).__name__
    assert statement.event_shape == (LATENT_SIZE,)
    assert set(statement.parameters) == set(head(features()))


@all_posteriors
def test_a_frozen_head_has_nothing_to_train(make):
    head = built(make(trainable=False))
    assert head.trainable_weights == []
    assert head.non_trainable_weights
