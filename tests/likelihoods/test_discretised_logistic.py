"""The discretised logistic, alone and in mixtures."""

import numpy as np
import pytest
import tensorflow as tf
from parts import assert_finite, built, features
from scipy import special, stats

from keras_vae import likelihoods
from keras_vae.distributions import discretised_logistic

BYTES = np.arange(256, dtype="float32")
SCALES = (1e-6, 1e-4, 1e-3, 0.03, 1.0, 1e4)
LOCS = (-1e4, -1.5, -1.0, -0.3333, 0.0, 0.999, 1.0, 50.0)


def exact(x, loc, scale, levels=256):
    """log P(x) in double precision, by factors: F(a) - F(b) = F(a) F(-b) (1 - exp(b - a))."""
    u = 2 * x.astype("float64") / (levels - 1) - 1
    h = 1 / (levels - 1)
    left = special.log_expit((u + h - loc) / scale) * (x < levels - 1)
    right = special.log_expit((loc - u + h) / scale) * (x > 0)
    inner = (x > 0) & (x < levels - 1)
    return left + right + inner * np.log(-np.expm1(-2 * h / scale))


@pytest.mark.parametrize("scale", [0.01, 0.1, 1.0])
def test_the_mass_of_a_byte_is_the_logistics_between_its_neighbours(scale):
    """Where a difference of SciPy's distribution functions has enough digits."""
    p = discretised_logistic.DiscretisedLogistic(tf.constant(0.1), tf.constant(scale))
    of_u = stats.logistic(np.float32(0.1), np.float32(scale))
    edges = (2 * BYTES.astype("float64") - 1) / 255 - 1
    cdf = np.concatenate([[0], of_u.cdf(edges[1:]), [1]])
    enough = np.diff(cdf) > 1e-8
    assert enough.sum() > 20
    found = np.exp(p.log_prob(BYTES).numpy().astype("float64"))
    np.testing.assert_allclose(found[enough], np.diff(cdf)[enough], rtol=1e-4)


def test_the_mass_and_its_gradient_are_right_however_far_the_tail():
    """`log(F(a) - F(b) + 1e-12)`, as often written, is -27.6 wherever it should be less."""
    loc, scale = (m.reshape(-1, 1) for m in np.meshgrid(LOCS, SCALES))
    variables = [tf.constant(loc), tf.constant(scale)]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        p = discretised_logistic.DiscretisedLogistic(*variables)
        log_prob = p.log_prob(BYTES.astype("float64"))
    np.testing.assert_allclose(log_prob, exact(BYTES, loc, scale), rtol=1e-9, atol=1e-12)
    assert_finite(*tape.gradient(log_prob, variables))


def test_mass_mean_and_variance_are_finite_in_single_precision_however_far_the_tail():
    variables = [tf.constant(m.reshape(-1, 1), tf.float32) for m in np.meshgrid(LOCS, SCALES)]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        p = discretised_logistic.DiscretisedLogistic(*variables)
        log_prob = p.log_prob(BYTES)
    assert_finite(log_prob, p.mean(), p.variance(), *tape.gradient(log_prob, variables))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("levels", [2, 5, 256])
def test_the_masses_of_all_levels_add_up_to_one(scale, levels):
    loc = tf.constant([-1.5, -1.0, -0.333, 0.2, 1.0, 3.0])
    p = discretised_logistic.DiscretisedLogistic(loc, tf.fill((6,), scale), levels)
    x = np.arange(levels, dtype="float32")[:, None]
    masses = np.exp(p.log_prob(x).numpy().astype("float64"))
    np.testing.assert_allclose(masses.sum(0), 1, rtol=1e-5)


def test_two_levels_are_a_bernoulli():
    loc, scale = tf.constant([-0.5, 0.0, 2.0]), tf.constant([0.3, 1.0, 2.0])
    p = discretised_logistic.DiscretisedLogistic(loc, scale, 2)
    np.testing.assert_allclose(p.mean(), special.expit(loc / scale), rtol=1e-6)
    np.testing.assert_allclose(np.exp(p.log_prob(1.0)), p.mean(), rtol=1e-6)
    np.testing.assert_allclose(p.variance(), p.mean() * (1 - p.mean()), rtol=1e-5)


def test_a_narrow_one_is_the_byte_nearest_to_its_loc():
    loc = tf.constant([-3.0, -1.0, 100.3 / 127.5 - 1, 1.0, 7.0])
    p = discretised_logistic.DiscretisedLogistic(loc, tf.fill((5,), 1e-6))
    np.testing.assert_allclose(p.mean(), [0, 0, 100, 255, 255])
    np.testing.assert_array_equal(p.sample(seed=0), [0, 0, 100, 255, 255])
    np.testing.assert_allclose(p.variance(), np.zeros(5), atol=0.02)


def test_a_mixture_of_equal_components_is_one_of_them():
    single, mixture = (
        likelihoods.DiscretisedLogistic((2,)),
        likelihoods.DiscretisedLogisticMixture((2,), components=3),
    )
    loc, scale = tf.constant([[0.1, -0.7]]), tf.constant([[0.05, 0.4]])
    one = single.distribution({"loc": loc, "scale": scale})
    repeated = {
        name: tf.repeat(v[..., None], 3, -1) for name, v in (("loc", loc), ("scale", scale))
    }
    several = mixture.distribution({**repeated, "logits": tf.constant([[[0.0, 1.0, -2.0]] * 2])})
    x = np.stack([BYTES, BYTES[::-1]], -1)
    np.testing.assert_allclose(several.log_prob(x), one.log_prob(x), rtol=1e-5)
    np.testing.assert_allclose(several.mean(), one.mean(), rtol=1e-5)
    np.testing.assert_allclose(several.variance(), one.variance(), rtol=1e-3)


@pytest.mark.parametrize("components", [1, 2, 10])
def test_a_mixture_starts_from_the_moments_of_the_data(components):
    head = likelihoods.DiscretisedLogisticMixture((2, 3), components)
    mean, variance = tf.fill((2, 3), 120.0), tf.fill((2, 3), 400.0)
    parameters = head.independent(mean, variance)
    assert {tuple(v.shape) for v in parameters.values()} == {(2, 3, components)}
    p = head.distribution(parameters)
    np.testing.assert_allclose(p.mean(), mean, rtol=1e-3)
    np.testing.assert_allclose(p.variance(), variance, rtol=0.02)


@pytest.mark.parametrize("scale", ["shared", "per_channel", "per_value"])
def test_a_discretised_logistic_starts_from_the_moments_of_the_data(scale):
    head = built(likelihoods.DiscretisedLogistic((2, 3), scale=scale))
    mean, variance = tf.fill((2, 3), 120.0), tf.fill((2, 3), 400.0)
    head.start_from(mean, variance)
    p = head.distribution(head(np.zeros((1, 5), "float32")))
    np.testing.assert_allclose(p.mean()[0], mean, rtol=1e-3)
    np.testing.assert_allclose(p.variance()[0], variance, rtol=0.02)


def test_constant_bytes_start_no_narrower_than_a_level():
    head = likelihoods.DiscretisedLogistic((1,))
    p = head.distribution(head.independent(tf.constant([7.0]), tf.constant([0.0])))
    assert 0.5 < np.exp(p.log_prob(tf.constant([7.0]))) < 1


def test_the_encoder_is_given_bytes_between_minus_one_and_one():
    x = np.array([[0, 127.5, 255]], "float32")
    for make in (likelihoods.DiscretisedLogistic, likelihoods.DiscretisedLogisticMixture):
        np.testing.assert_allclose(make((3,)).encoder_input(x), [[-1, 0, 1]], atol=1e-6)
        np.testing.assert_allclose(make((3,), levels=5).encoder_input(x[:, :1] + 4), [[1]])


def test_the_components_of_a_value_come_from_the_features_at_its_place():
    head = built(likelihoods.DiscretisedLogisticMixture((2, 2, 3), 4), (2, 2, 5))
    inputs = features(1, (2, 2, 5))
    moved = inputs.copy()
    moved[:, 0, 1] += 1
    for name, value in head(inputs).items():
        assert value.shape == (1, 2, 2, 3, 4)
        changed = np.asarray(value != head(moved)[name])
        assert changed[0, 0, 1].all()
        assert changed.sum() == 12


def test_bytes_are_taken_as_they_are():
    head = likelihoods.DiscretisedLogistic((2,))
    head.check(np.array([[0, 255]], "uint8"))
    with pytest.raises(ValueError, match="do not divide them"):
        head.check(np.array([[0, 0.5]], "float32"))


@pytest.mark.parametrize("components", [0, -1, 2.0, True, "3", None])
def test_the_number_of_components_is_a_positive_integer(components):
    with pytest.raises(ValueError, match="`components` of DiscretisedLogisticMixture is"):
        likelihoods.DiscretisedLogisticMixture((2,), components)
