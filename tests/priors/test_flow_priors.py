"""The priors that are normalising flows: coupling and autoregressive."""

import numpy as np
import pytest
import tensorflow as tf
from parts import PRIORS, assert_close_to_mean, assert_finite, data_for, every, make_vae
from scipy import stats
from tensorflow_probability import distributions as tfd

from keras_vae import priors
from keras_vae.divergences import is_exact

FLOWS = {
    "CouplingFlow": lambda size=4, **k: priors.CouplingFlow(size, 3, 8, **k),
    "AutoregressiveFlow": lambda size=4, **k: priors.AutoregressiveFlow(size, 2, 8, **k),
}
all_flows = pytest.mark.parametrize("make", every(FLOWS))


def example(make, size=4, dtype="float64"):
    """A flow that is far from a Normal."""
    prior = make(size, dtype=dtype)
    prior.build(None)
    random = np.random.default_rng(5)
    for weight in prior.weights:
        weight.assign(0.7 * random.normal(size=weight.shape))
    return prior, prior.distribution()


@all_flows
def test_the_log_density_is_the_normals_less_the_log_determinant_of_the_jacobian(make):
    _, p = example(make)
    u = tf.constant(np.random.default_rng(0).normal(size=(6, 4)))
    with tf.GradientTape() as tape:
        tape.watch(u)
        z = p.bijector.forward(u)
    _, log_determinant = np.linalg.slogdet(tape.batch_jacobian(z, u))
    assert np.abs(log_determinant).max() > 0.5
    expected = stats.multivariate_normal(np.zeros(4)).logpdf(u) - log_determinant
    np.testing.assert_allclose(p.log_prob(tf.identity(z)), expected, rtol=1e-6)


@all_flows
def test_a_density_far_from_a_normal_integrates_to_one_and_is_that_of_draws(make):
    _, p = example(make, size=2)
    draws = p.sample(20_000, seed=0).numpy()
    middle, reach = draws.mean(0), 9 * draws.std(0)
    axes = [np.linspace(m - r, m + r, 801) for m, r in zip(middle, reach, strict=True)]
    grid = np.stack(np.meshgrid(*axes), -1).reshape(-1, 2)
    weights = np.exp(p.log_prob(grid)) * np.prod([axis[1] - axis[0] for axis in axes])
    assert weights.sum() == pytest.approx(1, abs=1e-3)
    for function in (np.cos, np.sin, np.tanh):
        expected = weights @ function(grid)
        assert_close_to_mean(function(draws), expected)


def test_one_autoregressive_layer_is_a_chain_of_normals():
    prior = priors.AutoregressiveFlow(3, layers=1, units=8, dtype="float64")
    prior.build(None)
    random = np.random.default_rng(5)
    for weight in prior.weights:
        weight.assign(random.normal(size=weight.shape))
    z = random.normal(size=(5, 3))
    shift, log_scale = prior.networks[0](z)
    scale = np.exp(-log_scale)
    expected = stats.norm(-shift * scale, scale).logpdf(z).sum(-1)
    np.testing.assert_allclose(prior.distribution().log_prob(z), expected)
    np.testing.assert_array_equal(np.ptp(shift[:, 0]), 0)


@all_flows
def test_an_untrained_flow_is_nearly_a_standard_normal(make):
    prior = make()
    prior.build(None)
    z = np.random.default_rng(0).normal(size=(100, 4)).astype("float32")
    expected = stats.multivariate_normal(np.zeros(4)).logpdf(z)
    assert np.abs(prior.distribution().log_prob(z) - expected).max() < 0.5


@all_flows
def test_the_kl_to_a_flow_is_sampled(make):
    _, p = example(make)
    q = tfd.MultivariateNormalDiag(np.zeros((3, 4)), np.ones((3, 4)))
    assert not is_exact(q, p)
    assert not is_exact(example(make)[1], p)


@all_flows
def test_it_compiles_with_its_gradients(make):
    """Those of a density and of a draw, of a batch whose size is not known."""
    prior, _ = example(make, dtype="float32")
    z = tf.constant(np.random.default_rng(0).normal(size=(2, 3, 4)), tf.float32)

    def terms(z):
        with tf.GradientTape() as tape:
            log_prob = prior.distribution().log_prob(z)
            drawn = prior.distribution().bijector.forward(z)
            total = tf.reduce_sum(log_prob) + tf.reduce_sum(drawn)
        return log_prob, tape.gradient(total, [w.value for w in prior.trainable_weights])

    signature = [tf.TensorSpec((2, None, 4))]
    compiled = tf.function(terms, jit_compile=True, input_signature=signature)(z)
    for fast, slow in zip(tf.nest.flatten(compiled), tf.nest.flatten(terms(z)), strict=True):
        np.testing.assert_allclose(fast, slow, rtol=2e-3, atol=2e-3)
    draw = tf.function(lambda: prior.distribution().sample(5, seed=(0, 1)), jit_compile=True)
    assert_finite(draw())


@pytest.mark.parametrize("name", FLOWS)
def test_training_changes_the_prior(name):
    vae = make_vae(prior=PRIORS[name])
    vae.compile(optimizer="sgd", run_eagerly=True)
    before = vae.prior.get_weights()
    vae.train_on_batch(data_for(vae.likelihood, 4))
    for old, new in zip(before, vae.prior.get_weights(), strict=True):
        assert np.any(old != new)


def test_a_coupling_needs_two_dimensions():
    with pytest.raises(ValueError, match=r"Expected: at least 2\. Received: latent_size=1"):
        priors.CouplingFlow(1)


@all_flows
@pytest.mark.parametrize("argument", ["layers", "units"])
@pytest.mark.parametrize("value", [0, 1.5, "2", None])
def test_layers_and_units_are_positive_integers(make, argument, value):
    with pytest.raises(ValueError, match=rf"`{argument}` of \w+ is the"):
        type(make())(3, **{argument: value})
