"""The families for categories: by index, and one-hot."""

import numpy as np
import pytest
import tensorflow as tf
from parts import assert_close_to_mean, built, features, numpy
from scipy import special

from keras_vae import likelihoods

CLASSES = 3
E = (2, 2, 1)


def indices(n, shape=E):
    return np.random.default_rng(0).integers(0, CLASSES, (n, *shape)).astype("float32")


def one_hot(x):
    return np.eye(CLASSES, dtype="float32")[x.astype(int)]


def test_an_index_and_its_one_hot_vector_have_the_same_density():
    by_index = built(likelihoods.Categorical(CLASSES, (2, 5)))
    by_vector = likelihoods.OneHotCategorical((2, 5, CLASSES))
    parameters = by_index(features(3))
    x = indices(3, (2, 5))
    expected = by_index.distribution(parameters).log_prob(x)
    found = by_vector.distribution(parameters).log_prob(one_hot(x))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    log_probs = special.log_softmax(numpy(parameters)["logits"], -1)
    picked = np.take_along_axis(log_probs, x.astype(int)[..., None], -1)[..., 0]
    np.testing.assert_allclose(expected, picked.sum((1, 2)), rtol=1e-5)


@pytest.mark.parametrize("shape", [(), (5,), (3, 4, 2)])
def test_the_encoder_is_given_one_hot_vectors_side_by_side(shape):
    x = indices(4, shape)
    given = likelihoods.Categorical(CLASSES, shape).encoder_input(x).numpy()
    last = shape[-1] if shape else 1
    assert given.shape == (4, *shape[:-1], last * CLASSES)
    np.testing.assert_array_equal(given.reshape(*x.shape, CLASSES), one_hot(x))


def test_the_logits_of_a_value_come_from_the_features_at_its_place():
    head = built(likelihoods.Categorical(CLASSES, (2, 2, 2)), (2, 2, 5))
    inputs = features(1, (2, 2, 5))
    moved = inputs.copy()
    moved[:, 0, 1] += 1
    changed = np.asarray(head(inputs)["logits"] != head(moved)["logits"])
    assert changed.shape == (1, 2, 2, 2, CLASSES)
    assert changed[0, 0, 1].all()
    assert changed.sum() == 2 * CLASSES


def test_what_stands_for_categories_is_the_most_likely_one():
    head = likelihoods.Categorical(CLASSES, (2,))
    logits = tf.constant([[[0.0, 3.0, 1.0], [0.0, -1.0, 5.0]]])
    centre = head.centre(head.distribution({"logits": logits}))
    np.testing.assert_array_equal(centre, [[1, 2]])
    assert centre.dtype == tf.float32


def test_what_stands_for_a_mixture_is_its_most_likely_category_not_a_mean_of_them():
    """Of three draws of z, two say category 0 and one says 2 more surely: never 1."""
    head = likelihoods.Categorical(CLASSES, (1,))
    probs = np.array([[0.6, 0.0, 0.4], [0.6, 0.0, 0.4], [0.0, 0.05, 0.95]]) + 1e-9
    p = head.distribution({"logits": tf.constant(np.log(probs)[:, None, None], tf.float32)})
    weights = tf.fill((3, 1), 1 / 3)
    np.testing.assert_array_equal(head.average(p, weights), [[2]])
    np.testing.assert_array_equal(head.average(p, tf.constant([[0.5], [0.5], [0.0]])), [[0]])


def test_the_mean_of_one_hot_vectors_is_the_probabilities():
    head = built(likelihoods.OneHotCategorical((2, CLASSES)))
    parameters = head(features(3))
    p = head.distribution(parameters)
    np.testing.assert_allclose(
        head.centre(p), special.softmax(numpy(parameters)["logits"], -1), rtol=1e-5
    )
    draws = p.sample(5_000, seed=0).numpy()
    assert set(np.unique(draws)) == {0, 1}
    assert np.all(draws.sum(-1) == 1)
    assert_close_to_mean(draws, p.mean().numpy(), errors=5)


def test_two_categories_start_from_their_frequencies():
    head = likelihoods.Categorical(2, (3,))
    mean = tf.constant([0.2, 0.5, 0.0])
    logits = head.independent(mean, mean * (1 - mean))["logits"]
    np.testing.assert_allclose(special.softmax(logits, -1)[:, 1], mean, atol=2e-3)
    assert np.isfinite(logits).all()


def test_several_categories_start_from_the_mean_and_the_variance_of_their_indices():
    """Where these spread more than a binomial's, as those of a uniform do."""
    k = np.arange(6)
    head = likelihoods.Categorical(6, (2,))
    shares = np.array([[1 / 6] * 6, [0.5, 0.1, 0.1, 0.1, 0.1, 0.1]])
    mean = shares @ k
    variance = shares @ k**2 - mean**2
    logits = head.independent(tf.constant(mean, tf.float32), tf.constant(variance, tf.float32))
    found = special.softmax(numpy(logits)["logits"], -1)
    np.testing.assert_allclose(found @ k, mean, rtol=5e-3)
    np.testing.assert_allclose(found @ k**2 - (found @ k) ** 2, variance, rtol=5e-3)
    np.testing.assert_allclose(found[0], 1 / 6, rtol=1e-3)


def test_one_hot_vectors_start_from_the_frequencies():
    """Of maximum likelihood: the frequencies themselves, but for categories never seen."""
    head = likelihoods.OneHotCategorical((2, CLASSES))
    mean = tf.constant([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    probs = head.distribution(head.independent(mean, mean * (1 - mean))).mean().numpy()
    np.testing.assert_allclose(probs[0], [0.2, 0.3, 0.5], rtol=1e-5)
    np.testing.assert_allclose(probs[1], [1, 1 / 3000, 1 / 3000], rtol=2e-3)


@pytest.mark.parametrize("value", [-1.0, 3.0, 0.5, np.nan])
def test_what_is_no_index_is_refused(value):
    head = likelihoods.Categorical(CLASSES, (2,))
    with pytest.raises(ValueError, match="outside the support of Categorical") as error:
        head.check(np.array([[0, 2], [1, value]], "float32"))
    assert "Expected: values in {0, 1, 2}" in str(error.value)
    assert "at index [1, 1]" in str(error.value)


def test_categories_that_count_from_one_are_recognised():
    with pytest.raises(ValueError, match="subtract 1"):
        likelihoods.Categorical(CLASSES, (2,)).check(np.array([[1, 3]], "float32"))


@pytest.mark.parametrize(
    ("vector", "where", "size"),
    [([0, 0, 0], [1, 1, 0], 3), ([1, 1, 0], [1, 1, 0], 3), ([0, 0.5, 1], [1, 1, 1], 1)],
)
def test_what_is_not_one_hot_is_refused(vector, where, size):
    head = likelihoods.OneHotCategorical((2, CLASSES))
    x = one_hot(indices(4, (2,)))
    x[1, 1] = vector
    with pytest.raises(ValueError, match="outside the support of OneHotCategorical") as error:
        head.check(x)
    assert f"at index {where}, the first of {size} such" in str(error.value)
    assert "likelihoods.Categorical" in str(error.value)
    assert not bool(tf.function(head.contains)(tf.constant(x)))
    assert bool(tf.function(head.contains)(tf.constant(x[2:])))
