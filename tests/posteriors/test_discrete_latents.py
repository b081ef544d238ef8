"""Choices and bits as they are: posteriors and their priors."""

import numpy as np
import pytest
import tensorflow as tf
from integration import rule
from parts import assert_close_to_mean, assert_finite, built, every, features, numpy
from scipy import special, stats

from keras_vae import posteriors, priors
from keras_vae.divergences import is_exact, kl_divergence

SIZE, CLASSES = 6, 3
MAKERS = {
    "OneHot": lambda **k: posteriors.OneHot(SIZE, CLASSES, **k),
    "Bernoulli": lambda **k: posteriors.Bernoulli(SIZE, **k),
}
PRIORS = {
    "OneHot": lambda: priors.UniformCategorical(SIZE, CLASSES),
    "Bernoulli": lambda: priors.UniformBernoulli(SIZE),
}

heads = pytest.mark.parametrize("make", every(MAKERS))


def example(make, batch=3):
    head = built(make())
    parameters = head(features(batch))
    return (
        head,
        parameters,
        head.distribution(parameters),
        PRIORS[type(head).__name__]().distribution(),
    )


def probabilities(parameters):
    """That each number of z is 1, `[B, D]`."""
    logits = numpy(parameters)["logits"]
    if logits.ndim == 2:
        return special.expit(logits)
    return special.softmax(logits, -1).reshape(len(logits), SIZE)


def entropy(p, classes):
    """In nats, of choices or of bits with the probabilities `[B, D]`."""
    if classes:
        return stats.entropy(p.reshape(len(p), -1, classes), axis=-1).sum(-1)
    return stats.entropy(np.stack([p, 1 - p]), axis=0).sum(-1)


@heads
def test_draws_have_the_probabilities_of_the_logits(make):
    _, parameters, q, _ = example(make)
    z = q.sample(20_000, seed=0).numpy()
    assert set(np.unique(z)) == {0.0, 1.0}
    assert z.dtype == np.float32
    assert_close_to_mean(z, probabilities(parameters))


def test_each_group_has_one_choice():
    z = example(MAKERS["OneHot"])[2].sample(100, seed=0).numpy()
    np.testing.assert_array_equal(z.reshape(100, 3, -1, CLASSES).sum(-1), 1)


@heads
def test_the_log_probability_is_that_of_the_ones_and_zeros(make):
    _, parameters, q, p = example(make)
    z = q.sample(20, seed=0).numpy()
    ones = probabilities(parameters)
    if type(make()) is posteriors.Bernoulli:
        expected = stats.bernoulli.logpmf(z.astype(int), ones).sum(-1)
        prior = -SIZE * np.log(2)
    else:
        expected = np.log((z * ones).reshape(*z.shape[:-1], -1, CLASSES).sum(-1)).sum(-1)
        prior = -SIZE / CLASSES * np.log(CLASSES)
    np.testing.assert_allclose(q.log_prob(z), expected, rtol=1e-5)
    np.testing.assert_allclose(p.log_prob(z), np.full((20, 3), prior), rtol=1e-6)


@pytest.mark.parametrize("make", [lambda: posteriors.OneHot(2, 2), lambda: posteriors.Bernoulli(2)])
def test_the_probabilities_of_all_values_sum_to_one(make):
    head = built(make())
    q = head.distribution(head(features(3)))
    values, _ = rule(head.support)
    total = np.exp(q.log_prob(values[:, None])).sum(0)
    np.testing.assert_allclose(total, np.ones(3), rtol=1e-6)


@heads
def test_the_kl_to_the_uniform_is_the_entropy_that_is_missing(make):
    head, parameters, q, p = example(make)
    assert is_exact(q, p)
    classes = CLASSES if type(head) is posteriors.OneHot else 0
    most = SIZE / CLASSES * np.log(CLASSES) if classes else SIZE * np.log(2)
    kl = kl_divergence(q, p, None).numpy()
    np.testing.assert_allclose(kl, most - entropy(probabilities(parameters), classes), rtol=1e-4)
    z = q.sample(20_000, seed=0)
    assert_close_to_mean(q.log_prob(z) - p.log_prob(z), kl)


@heads
@pytest.mark.parametrize("size", [0.0, 1e-4, 1e-2, 50.0, 1e4])
def test_the_kl_is_between_zero_and_that_of_one_choice(make, size):
    head, _, _, p = example(make)
    logits = size * np.random.default_rng(0).normal(size=(200, SIZE)).astype("float32")
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        kl = head.distribution(head.link({"logits": logits})).kl_divergence(p)
    assert_finite(kl, tape.gradient(kl, logits))
    assert kl.numpy().min() >= -1e-6
    most = SIZE / CLASSES * np.log(CLASSES) if type(head) is posteriors.OneHot else SIZE * np.log(2)
    assert kl.numpy().max() <= most * (1 + 1e-6)


@heads
def test_the_centre_is_the_most_probable_value(make):
    head, parameters, q, _ = example(make)
    centre = head.centre(q).numpy()
    ones = probabilities(parameters)
    if type(head) is posteriors.OneHot:
        groups = ones.reshape(3, -1, CLASSES)
        expected = (groups == groups.max(-1, keepdims=True)).reshape(3, SIZE)
    else:
        expected = ones > 0.5
    np.testing.assert_array_equal(centre, expected)
    assert centre.dtype == np.float32


@heads
def test_a_draw_carries_no_gradient_and_its_probability_does(make):
    head = built(make())
    assert not head.reparameterised
    with tf.GradientTape(persistent=True) as tape:
        q = head.distribution(head(features()))
        z = q.sample(4, seed=0)
        log_prob = q.log_prob(z)
    weights = head.trainable_weights
    assert all(gradient is None for gradient in tape.gradient(z, weights))
    gradients = tape.gradient(log_prob, weights)
    assert all(np.any(gradient.numpy() != 0) for gradient in gradients)


@heads
def test_the_gradient_of_the_probability_has_mean_zero(make):
    """What an estimator by the score is made of: `E[d log q(z) / d logits] = 0`."""
    head = built(make())
    logits = tf.constant(np.tile(features(1, (SIZE,)), (20_000, 1)))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        q = head.distribution(head.link({"logits": logits}))
        log_prob = q.log_prob(q.sample(seed=0))
    assert_close_to_mean(tape.gradient(log_prob, logits), np.zeros(SIZE))


@heads
def test_double_precision_draws_are_double(make):
    head = built(make(dtype="float64"))
    q = head.distribution(head(features().astype("float64")))
    assert q.sample(2, seed=0).dtype == tf.float64
    assert q.log_prob(q.sample(2, seed=0)).dtype == tf.float64
