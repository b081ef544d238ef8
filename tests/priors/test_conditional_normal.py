"""The Normal prior that depends on the condition."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from parts import assert_finite, round_trip
from scipy import stats
from tensorflow_probability import distributions as tfd

from keras_vae import networks, priors
from keras_vae.divergences import is_exact

CONDITION = np.random.default_rng(3).normal(size=(5, 3)).astype("float32")


def example(network=None, **kwargs):
    """A prior whose kernels have been moved."""
    prior = priors.ConditionalNormal(2, network, **kwargs)
    prior.build((None, 4), 3)
    random = np.random.default_rng(0)
    for weight in prior.weights:
        weight.assign(random.normal(size=weight.shape))
    return prior


def test_it_starts_as_the_standard_normal_whatever_the_condition():
    for network in (None, networks.mlp([6], activation="tanh")):
        prior = priors.ConditionalNormal(2, network)
        prior.build((None, 4), 3)
        p = prior.distribution(CONDITION)
        assert p.batch_shape == (5,)
        assert p.event_shape == (2,)
        np.testing.assert_array_equal(p.mean(), np.zeros((5, 2)))
        np.testing.assert_allclose(p.stddev(), np.ones((5, 2)), rtol=1e-6)


def test_its_density_is_scipys():
    prior = example()
    loc = CONDITION @ prior.loc.kernel.numpy() + prior.loc.bias.numpy()
    raw = CONDITION @ prior.raw_scale.kernel.numpy() + prior.raw_scale.bias.numpy()
    z = np.random.default_rng(1).normal(size=(7, 5, 2)).astype("float32")
    expected = stats.norm.logpdf(z, loc, np.log1p(np.exp(raw)) + 1e-6).sum(-1)
    np.testing.assert_allclose(prior.distribution(CONDITION).log_prob(z), expected, rtol=1e-4)


def test_a_network_reads_the_condition():
    network = networks.mlp([6], activation="tanh")
    prior = example(network)
    kernel, bias = (weight.numpy() for weight in network.trainable_weights)
    features = np.tanh(CONDITION @ kernel + bias)
    expected = features @ prior.loc.kernel.numpy() + prior.loc.bias.numpy()
    np.testing.assert_allclose(prior.distribution(CONDITION).mean(), expected, rtol=1e-5)


def test_features_of_any_shape_are_flattened():
    network = keras.Sequential([keras.layers.Dense(6), keras.layers.Reshape((3, 2))])
    assert example(network).distribution(CONDITION).batch_shape == (5,)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_finite_gradient_reaches_every_weight(jit_compile):
    prior = example(networks.mlp([6], activation="tanh"))
    weights = [weight.value for weight in prior.trainable_weights]
    assert len(weights) == 6

    @tf.function(jit_compile=jit_compile)
    def gradients():
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(prior.distribution(CONDITION).log_prob(tf.ones((4, 5, 2))))
        return tape.gradient(total, weights)

    for gradient in gradients():
        assert_finite(gradient)
        assert np.any(gradient != 0)


@pytest.mark.parametrize("raw", [-1e4, -50.0, 50.0, 1e4])
def test_its_density_and_gradient_are_finite_at_extreme_values(raw):
    prior = example()
    for dense in (prior.loc, prior.raw_scale):
        dense.kernel.assign(np.zeros((3, 2)))
        dense.bias.assign([raw, raw])
    with tf.GradientTape() as tape:
        log_prob = prior.distribution(CONDITION).log_prob(tf.fill((5, 2), raw))
    weights = [weight.value for weight in prior.trainable_weights]
    assert_finite(log_prob, *tape.gradient(log_prob, weights))


def test_the_kl_of_a_normal_posterior_to_it_is_exact():
    q = tfd.MultivariateNormalDiag(tf.ones((5, 2)), tf.fill((5, 2), 0.5))
    p = example().distribution(CONDITION)
    assert is_exact(q, p)
    z = q.sample(20_000, seed=0)
    ratio = (q.log_prob(z) - p.log_prob(z)).numpy()
    error = ratio.std(0) / np.sqrt(len(ratio))
    np.testing.assert_array_less(np.abs(ratio.mean(0) - q.kl_divergence(p)), 4 * error + 1e-6)


def test_without_a_condition_it_is_refused():
    with pytest.raises(ValueError, match="ConditionalNormal is p") as error:
        priors.ConditionalNormal(2).build((None, 4))
    assert "Received: condition_size=0." in str(error.value)
    with pytest.raises(ValueError, match="ConditionalNormal is p") as error:
        example().distribution()
    assert "Received: condition=None." in str(error.value)


def test_a_network_that_is_none_is_refused():
    with pytest.raises(ValueError, match="`network` of ConditionalNormal") as error:
        priors.ConditionalNormal(2, network=[100])
    assert "Received: [100]." in str(error.value)


@pytest.mark.parametrize("with_network", [False, True])
def test_a_loaded_prior_is_the_saved_one(with_network):
    prior = example(networks.mlp([6], activation="tanh") if with_network else None)
    loaded = round_trip(prior)
    assert type(loaded) is priors.ConditionalNormal
    if not loaded.built:
        loaded.build((None, 4), 3)
    loaded.set_weights(prior.get_weights())
    z = np.zeros((5, 2), "float32")
    np.testing.assert_array_equal(
        loaded.distribution(CONDITION).log_prob(z), prior.distribution(CONDITION).log_prob(z)
    )


@pytest.mark.parametrize(
    ("policy", "dtype"), [("mixed_float16", tf.float32), ("float64", tf.float64)]
)
def test_its_density_is_in_single_precision_at_least(policy, dtype):
    p = example(dtype=policy).distribution(tf.cast(CONDITION, dtype))
    assert p.dtype == dtype
    expected = example().distribution(CONDITION).mean()
    np.testing.assert_allclose(p.mean(), expected, atol=0.02)
