"""Laws that hold for every combination of parts."""

import inspect
import itertools

import numpy as np
import pytest
import tensorflow as tf
from parts import (
    DECODERS,
    ENCODERS,
    LATENT_SIZE,
    LIKELIHOODS,
    OBJECTIVES,
    POSTERIORS,
    PRIORS,
    assert_finite,
    data_for,
    make_vae,
)

from keras_vae import likelihoods, objectives, posteriors, priors
from keras_vae.divergences import kl_divergence
from keras_vae.objectives import Terms

SLOTS = {
    "posterior": (posteriors, posteriors.Posterior, POSTERIORS),
    "prior": (priors, priors.Prior, PRIORS),
    "likelihood": (likelihoods, likelihoods.Likelihood, LIKELIHOODS),
    "objective": (objectives, objectives.Objective, OBJECTIVES),
}
COMBINATIONS = list(itertools.product(POSTERIORS, PRIORS, LIKELIHOODS, OBJECTIVES))
DISTRIBUTIONS = list(itertools.product(POSTERIORS, PRIORS, LIKELIHOODS))
NETWORKS = list(itertools.product(ENCODERS, DECODERS, LIKELIHOODS))

combinations = pytest.mark.parametrize(
    "names", [pytest.param(names, id="-".join(names)) for names in COMBINATIONS]
)
distributions = pytest.mark.parametrize(
    "names", [pytest.param(names, id="-".join(names)) for names in DISTRIBUTIONS]
)


def model_of(names):
    makers = zip((POSTERIORS, PRIORS, LIKELIHOODS, OBJECTIVES), names, strict=False)
    vae = make_vae(*(parts[name] for parts, name in makers))
    vae.compile(optimizer="sgd", run_eagerly=True)
    return vae


def draws_of_z(k, b):
    return np.random.default_rng(0).normal(size=(k, b, LATENT_SIZE)).astype("float32")


@pytest.mark.parametrize("slot", SLOTS)
def test_every_family_that_is_exported_has_an_example(slot):
    module, base, examples = SLOTS[slot]
    exported = {
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, base) and not inspect.isabstract(kind)
    }
    assert exported
    assert {type(make()) for make in examples.values()} == exported


# The loss


@combinations
def test_a_finite_gradient_reaches_every_trainable_weight(names):
    vae = model_of(names)
    x = data_for(vae.likelihood, 8)
    with tf.GradientTape() as tape:
        loss = vae.compute_loss(x)
    gradients = tape.gradient(loss, [weight.value for weight in vae.trainable_weights])
    assert_finite(loss, *gradients)
    for weight, gradient in zip(vae.trainable_weights, gradients, strict=True):
        assert np.any(gradient.numpy() != 0), weight.path


@combinations
def test_the_terms_that_are_logged_add_up_to_the_loss(names):
    vae = model_of(names)
    logs = vae.test_on_batch(data_for(vae.likelihood, 1), return_dict=True)
    assert set(logs) == {"loss", "elbo", "log_likelihood", "kl"}
    log_likelihood, kl = logs["log_likelihood"], logs["kl"]
    assert logs["elbo"] == pytest.approx(log_likelihood - kl, rel=1e-5)
    weighted = {
        "ELBO": kl,
        "ELBO-beta": 4 * kl,
        "ELBO-samples": kl,
        "ELBO-free_bits": max(kl, 2.0),
        "ELBO-schedule": 0.25 * kl,
    }
    if names[-1] in weighted:
        assert -logs["loss"] == pytest.approx(log_likelihood - weighted[names[-1]], rel=1e-5)
    else:
        assert np.isfinite(logs["loss"])


@distributions
def test_a_step_changes_every_trainable_weight(names):
    vae = model_of(names)
    before = vae.get_weights()
    vae.train_on_batch(data_for(vae.likelihood, 8))
    changed = {
        weight.path
        for weight, old in zip(vae.weights, before, strict=True)
        if np.any(weight.numpy() != old)
    }
    assert {weight.path for weight in vae.trainable_weights} <= changed


def test_the_loss_of_a_model_that_is_not_compiled_is_that_of_step_zero():
    vae = make_vae(objective=OBJECTIVES["ELBO-schedule"])
    assert np.isfinite(vae.compute_loss(data_for(vae.likelihood, 2)))
    assert vae.assumptions().bound.beta == 0.25


@pytest.mark.parametrize("names", NETWORKS)
def test_any_network_fits_any_likelihood(names):
    encoder, decoder, likelihood = names
    vae = make_vae(
        encoder=ENCODERS[encoder], decoder=DECODERS[decoder], likelihood=LIKELIHOODS[likelihood]
    )
    vae.compile(optimizer="sgd", run_eagerly=True)
    x = data_for(vae.likelihood, 3)
    logs = vae.train_on_batch(x, return_dict=True)
    assert_finite(*logs.values())
    assert vae.reconstruct(x).shape == x.shape


# The distributions


@distributions
def test_a_batch_of_eight_is_eight_batches_of_one(names):
    vae = model_of(names)
    x, z = data_for(vae.likelihood, 8), draws_of_z(3, 8)
    p = vae.prior.distribution()

    def terms(rows):
        q = vae.encode(x[rows])
        log_likelihood = vae.decode(z[:, rows]).log_prob(x[rows])
        log_posterior = q.log_prob(z[:, rows])
        return kl_divergence(q, p, z[:, rows])[None], log_likelihood, log_posterior

    whole = terms(slice(None))
    single = [terms(slice(i, i + 1)) for i in range(8)]
    for all_at_once, one_by_one in zip(whole, zip(*single, strict=True), strict=True):
        together = np.concatenate(one_by_one, axis=1)
        np.testing.assert_allclose(all_at_once, together, rtol=1e-5, atol=1e-5)


@distributions
def test_the_kl_is_not_negative(names):
    vae = model_of(names)
    q = vae.encode(data_for(vae.likelihood, 100))
    kl = kl_divergence(q, vae.prior.distribution(), q.sample(1, seed=0)).numpy()
    assert kl.shape == (100,)
    assert kl.min() >= 0


@distributions
def test_unfolded_samples_are_decoded_as_one_by_one(names):
    vae = model_of(names)
    x, z = data_for(vae.likelihood, 4), draws_of_z(3, 4)
    together = vae.decode(z).log_prob(x)
    assert together.shape == (3, 4)
    one_by_one = np.stack([vae.decode(z[k]).log_prob(x) for k in range(3)])
    np.testing.assert_allclose(together, one_by_one, rtol=1e-5)


def bound_at(vae, x, z):
    """The bound and the KL at given draws, from the model's distributions, `[2, B]`."""
    q, p = vae.encode(x), vae.prior.distribution()
    kl = kl_divergence(q, p, z)
    terms = Terms(vae.decode(z).log_prob(x), p.log_prob(z), q.log_prob(z), kl)
    return tf.stack([vae.objective.bound(terms, vae.optimizer.iterations), kl])


@distributions
def test_the_bound_at_given_draws_is_the_same_however_it_is_compiled(names):
    """Of IWAE, which every term enters but the KL; the other bounds are sums of the same terms."""
    vae = model_of((*names, "IWAE"))
    x, z = data_for(vae.likelihood, 4), draws_of_z(vae.objective.num_samples, 4)
    eager = bound_at(vae, x, z)
    for jit_compile in (False, True):
        compiled = tf.function(lambda x, z: bound_at(vae, x, z), jit_compile=jit_compile)
        np.testing.assert_allclose(compiled(x, z), eager, rtol=1e-5)


@pytest.mark.parametrize("objective", ["ELBO", "IWAE"])
def test_the_mean_loss_is_the_same_however_it_is_compiled(objective):
    """The draws of two compilers differ for equal seeds; their means are of one distribution."""
    vae = model_of(("DiagonalNormal", "StandardNormal", "Bernoulli", objective))
    x = tf.constant(np.tile(data_for(vae.likelihood, 1), (500, 1, 1, 1)))
    means, errors = [], []
    for jit_compile in (False, True):
        loss = tf.function(lambda: vae.compute_loss(x), jit_compile=jit_compile)
        values = np.array([loss().numpy() for _ in range(20)])
        means.append(values.mean())
        errors.append(values.var(ddof=1) / len(values))
    assert errors[0] > 0
    assert abs(means[0] - means[1]) < 4 * np.sqrt(sum(errors))
