"""The multinomial of a bag of words, given how many there are."""

import numpy as np
import pytest
import tensorflow as tf
from parts import assert_close_to_mean, assert_finite, built, features, numpy
from scipy import special, stats

from keras_vae import likelihoods

WORDS = 4


def example(batch=3, shape=(WORDS,)):
    head = built(likelihoods.Multinomial(shape))
    parameters = head(features(batch))
    return head, parameters, head.distribution(parameters)


def bags(total):
    """Every bag of so many words."""
    grid = np.stack(np.meshgrid(*[np.arange(total + 1)] * WORDS, indexing="ij"), -1)
    grid = grid.reshape(-1, WORDS).astype("float32")
    return grid[grid.sum(1) == total]


@pytest.mark.parametrize("total", [0, 1, 5])
def test_the_masses_of_all_bags_of_one_size_add_up_to_one(total):
    _, _, p = example()
    masses = np.exp(p.log_prob(bags(total)[:, None]).numpy().astype("float64"))
    np.testing.assert_allclose(masses.sum(0), 1, rtol=1e-5)


def test_each_bag_brings_its_own_total():
    _, parameters, p = example()
    x = np.array([[3, 0, 1, 0], [0, 0, 0, 0], [500, 30, 0, 7]], "float32")
    probs = special.softmax(numpy(parameters)["logits"], -1)
    expected = stats.multinomial.logpmf(x, x.sum(-1), probs)
    np.testing.assert_allclose(p.log_prob(x), expected, rtol=1e-5, atol=1e-6)
    assert p.log_prob(x)[1] == 0


def test_the_density_knows_nothing_of_the_total_of_the_training_data():
    head, parameters, p = example()
    other = head.distribution({**parameters, "total_count": tf.fill((3,), 99.0)})
    x = bags(3)[:3]
    np.testing.assert_array_equal(p.log_prob(x), other.log_prob(x))


def test_means_and_draws_have_the_total_of_the_training_data():
    head = built(likelihoods.Multinomial((WORDS,)))
    assert head(features())["total_count"].numpy().tolist() == [1, 1, 1]
    mean = tf.constant([3.0, 0.0, 5.0, 2.4])
    head.start_from(mean, mean)
    parameters = head(np.zeros((2, 5), "float32"))
    np.testing.assert_allclose(parameters["total_count"], [10.4, 10.4], rtol=1e-6)
    p = head.distribution(parameters)
    np.testing.assert_allclose(p.mean()[0], mean, atol=2e-3)
    draws = p.sample(5_000, seed=0).numpy()
    assert np.all(draws.sum(-1) == 10)
    shares = np.array([3.0, 0.0, 5.0, 2.4]) / 10.4
    assert_close_to_mean(draws[:, 0, [0, 2, 3]], 10 * shares[[0, 2, 3]])
    np.testing.assert_allclose(p.variance()[0], 10.4 * shares * (1 - shares), atol=2e-3)


def test_no_gradient_changes_the_total():
    head = built(likelihoods.Multinomial((WORDS,)))
    paths = [weight.path for weight in head.trainable_weights]
    assert head.learned["total_count"].path not in paths
    assert len(paths) == len(head.weights) - 1


def test_the_vocabulary_may_have_several_axes():
    _, parameters, p = example(shape=(2, 3, 1))
    x = np.random.default_rng(0).integers(0, 5, (3, 2, 3, 1)).astype("float32")
    flat = x.reshape(3, 6)
    probs = special.softmax(numpy(parameters)["logits"].reshape(3, 6), -1)
    expected = stats.multinomial.logpmf(flat, flat.sum(-1), probs)
    np.testing.assert_allclose(p.log_prob(x), expected, rtol=1e-5)
    assert p.sample(seed=0).shape == (3, 2, 3, 1)
    np.testing.assert_allclose(p.mean().numpy().sum((1, 2, 3)), 1, rtol=1e-6)


def test_a_logit_that_is_far_away_leaves_everything_finite():
    head = likelihoods.Multinomial((WORDS,))
    logits = tf.constant([[-1e4, 0.0, 50.0, 1e4]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        p = head.distribution({"logits": logits, "total_count": tf.ones(1)})
        log_prob = p.log_prob(bags(2))
    assert_finite(log_prob, p.mean(), p.sample(seed=0), tape.gradient(log_prob, logits))


def test_a_document_of_a_large_vocabulary_costs_no_more_than_its_counts():
    """A batch of 128 times 2,000 words under XLA: temporaries of a few times its own size."""
    head = built(likelihoods.Multinomial((2_000,)))

    def loss(inputs, x):
        return tf.reduce_mean(head.distribution(head(inputs)).log_prob(x))

    inputs = features(128)
    x = np.random.default_rng(0).poisson(0.05, (128, 2_000)).astype("float32")
    compiled = tf.function(loss, jit_compile=True)
    np.testing.assert_allclose(compiled(inputs, x), loss(inputs, x), rtol=1e-5)
    per_word = np.full(2_000, 1 / 2_000)
    uniform = stats.multinomial.logpmf(x, x.sum(1), per_word)
    zero = {"logits": tf.zeros((128, 2_000)), "total_count": tf.ones(128)}
    np.testing.assert_allclose(head.distribution(zero).log_prob(x), uniform, rtol=1e-4)


def test_the_encoder_is_given_logarithms():
    x = np.array([[0, 1, 7, 2_000]], "float32")
    given = likelihoods.Multinomial((WORDS,)).encoder_input(x)
    np.testing.assert_allclose(given, np.log(1 + x), rtol=1e-6)


@pytest.mark.parametrize("make", [likelihoods.Multinomial, likelihoods.OneHotCategorical])
def test_a_vocabulary_has_an_axis(make):
    with pytest.raises(ValueError, match="has the vocabulary as its last axis") as error:
        make(())
    assert "Received: ()" in str(error.value)
