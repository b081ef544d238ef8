"""p(x|z) = a Normal cut to [0, 1], wherever its loc is."""

import numpy as np
import pytest
import tensorflow as tf
from parts import assert_finite
from scipy import special, stats

from keras_vae.distributions.truncated_normal import UnitTruncatedNormal
from keras_vae.likelihoods import TruncatedNormal

LOCS = [-1e4, -50.0, -5.0, -0.1, 0.0, 0.3, 0.5, 0.7, 1.1, 50.0, 1e4]
SCALES = [1e-6, 1e-2, 0.1, 0.5, 1.0, 10.0, 15.0, 17.0, 70.0, 1e4]
SETTINGS = np.array([(loc, scale) for loc in LOCS for scale in SCALES])


def exact(x, loc, scale):
    """log p(x), mean and gradient by loc, by quadrature from the end nearer to loc."""
    mirrored = loc > 0.5
    loc, x = (1 - loc, 1 - x) if mirrored else (loc, x)
    # Beyond this nothing is left: 60 standard deviations, or 750 of an exponential's means.
    width = min(1.0, max(loc, 0) + 60 * scale, 750 * scale**2 / max(-loc, 1e-300) + max(loc, 0))
    low = max(0.0, loc - 60 * scale)
    nodes, weights = special.roots_legendre(1_000)
    y = low + (nodes + 1) / 2 * (width - low)

    def exponent(y):  # without the squares, where loc is outside
        return -(((y - max(loc, 0)) / scale) ** 2) / 2 + y / scale * min(loc, 0) / scale

    masses = weights / 2 * (width - low) * np.exp(exponent(y))
    mean = masses @ y / masses.sum()
    slope = (x - mean) / scale**2 * (-1 if mirrored else 1)
    return exponent(x) - np.log(masses.sum()), 1 - mean if mirrored else mean, slope


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_density_gradient_and_mean_are_exact_wherever_loc_is(dtype):
    x = float(np.dtype(dtype).type(0.3))
    loc, scale = (tf.constant(values, dtype) for values in SETTINGS.T)
    with tf.GradientTape() as tape:
        tape.watch(loc)
        p = UnitTruncatedNormal(loc, scale)
        log_prob = p.log_prob(tf.constant(x, dtype))
    expected = [
        exact(x, float(a), float(b)) for a, b in zip(loc.numpy(), scale.numpy(), strict=True)
    ]
    log_density, mean, slope = np.array(expected).T
    single = dtype == "float32"
    precision = 1e-5 if single else 1e-8
    np.testing.assert_allclose(log_prob, log_density, rtol=precision, atol=precision)
    np.testing.assert_allclose(p.mean(), mean, atol=2e-4 if single else 2e-6)
    gradient = tape.gradient(log_prob, loc)
    np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=2e-6 if single else 1e-8)


def test_the_gradient_by_the_scale_is_that_of_finite_differences():
    loc, scale = (tf.constant(values, tf.float64) for values in SETTINGS.T)
    x = tf.constant(0.3, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(scale)
        log_prob = UnitTruncatedNormal(loc, scale).log_prob(x)
    step = 1e-5 * scale
    ahead, behind = (UnitTruncatedNormal(loc, scale + s).log_prob(x) for s in (step, -step))
    expected = (ahead - behind) / (2 * step)
    np.testing.assert_allclose(tape.gradient(log_prob, scale), expected, rtol=1e-4, atol=1e-8)


def test_draws_of_any_setting_are_in_the_interval_and_finite():
    loc, scale = (tf.constant(values, tf.float32) for values in SETTINGS.T)
    p = UnitTruncatedNormal(loc, scale)
    draws = p.sample(200, seed=0)
    assert_finite(draws, p.log_prob(draws))
    assert draws.numpy().min() >= 0
    assert draws.numpy().max() <= 1


@pytest.mark.parametrize(
    ("loc", "scale"),
    [(-30.0, 5.0), (-3.0, 0.5), (-2.0, 0.3), (0.5, 0.01), (0.2, 0.3), (1.8, 0.2), (-8.0, 20.0)],
)
def test_draws_are_distributed_as_the_density_says(loc, scale):
    draws = UnitTruncatedNormal(tf.constant(loc), tf.constant(scale)).sample(5_000, seed=3)
    expected = stats.truncnorm(-loc / scale, (1 - loc) / scale, loc, scale)
    assert stats.kstest(draws.numpy().astype("float64"), expected.cdf).pvalue > 1e-3


@pytest.mark.parametrize(("loc", "scale"), [(-1e4, 1.0), (-1e3, 0.1)])
def test_far_from_the_interval_draws_are_exponential(loc, scale):
    draws = UnitTruncatedNormal(tf.constant(loc), tf.constant(scale)).sample(5_000, seed=3)
    scaled = draws.numpy().astype("float64") * -loc / scale**2
    assert stats.kstest(scaled, "expon").pvalue > 1e-3


def test_outside_the_interval_there_is_no_density():
    p = UnitTruncatedNormal(tf.constant(0.2), tf.constant(0.5))
    np.testing.assert_array_equal(p.log_prob([-1e-3, 1.001]), [-np.inf, -np.inf])
    assert_finite(p.log_prob([0.0, 1.0]))


MEANS = np.array([0.5, 0.05, 0.3, 0.9], "float32")
DEVIATIONS = np.array([0.15, 0.04, 0.1, 0.07], "float32")


def test_the_start_has_the_moments_of_the_data_which_is_maximum_likelihood():
    head = TruncatedNormal((4,), scale="per_value")
    start = head.independent(tf.constant(MEANS), tf.constant(DEVIATIONS**2))
    loc, scale = (start[name].numpy().astype("float64") for name in ("loc", "scale"))
    p = stats.truncnorm(-loc / scale, (1 - loc) / scale, loc, scale)
    np.testing.assert_allclose(p.mean(), MEANS, rtol=2e-3)
    np.testing.assert_allclose(p.std(), DEVIATIONS, rtol=1e-2)


@pytest.mark.parametrize("scale", ["shared", 0.3])
def test_with_one_scale_the_start_has_the_mean_of_the_data(scale):
    head = TruncatedNormal((4,), scale=scale)
    start = head.start(tf.constant(MEANS), tf.constant(DEVIATIONS**2))
    p = UnitTruncatedNormal(start["loc"], head.own_scale(start, start["loc"]))
    np.testing.assert_allclose(p.mean(), MEANS, rtol=2e-3)


@pytest.mark.parametrize(
    ("mean", "variance"), [(0.0, 0.0), (1.0, 0.0), (0.5, 0.0), (0.5, 0.25), (1e-4, 1e-4)]
)
def test_moments_that_no_truncated_normal_has_have_a_finite_start(mean, variance):
    head = TruncatedNormal((2,), scale="per_value")
    raw = head.start(tf.constant([mean, 0.4]), tf.constant([variance, 0.01]))
    p = head.distribution({k: v[None] for k, v in head.link(raw).items()})
    assert_finite(*raw.values(), p.log_prob([[0.2, 0.3]]))
    assert float(p.mean()[0, 0]) == pytest.approx(np.clip(mean, 1e-3, 1 - 1e-3), rel=0.01)
