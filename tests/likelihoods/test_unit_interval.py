"""p(x|z) of values between 0 and 1: LogitNormal and Beta on (0, 1)."""

import numpy as np
import pytest
import tensorflow as tf
from parts import assert_finite, built
from scipy import special

from keras_vae.likelihoods import Beta, LogitNormal
from keras_vae.likelihoods.bernoulli import Bernoulli

MEAN = np.array([0.5, 0.05, 0.7, 0.9], "float32")
VARIANCE = np.array([0.02, 0.002, 0.15, 0.001], "float32")


def logit_normal_moments(loc, scale):
    noise, step = np.linspace(-10, 10, 20_001, retstep=True)
    weights = np.exp(-(noise**2) / 2) / np.sqrt(2 * np.pi) * step
    x = special.expit(loc + scale * noise)
    mean = weights @ x
    return mean, weights @ (x - mean) ** 2


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("loc", [-5.0, -1.0, 0.0, 0.3, 4.0])
def test_the_mean_of_a_logit_normal_is_its_integral(loc, scale):
    head = LogitNormal((1,))
    p = head.distribution({"loc": tf.constant([[loc]]), "scale": tf.constant([[scale]])})
    expected, _ = logit_normal_moments(loc, scale)
    np.testing.assert_allclose(p.mean(), [[expected]], atol=2e-7)


def test_a_logit_normal_starts_from_the_moments_of_x():
    start = LogitNormal((4,), scale="per_value").independent(MEAN_T, VARIANCE_T)
    for i in range(4):
        found = logit_normal_moments(float(start["loc"][i]), float(start["scale"][i]))
        np.testing.assert_allclose(found, [MEAN[i], VARIANCE[i]], rtol=2e-3)


@pytest.mark.parametrize("scale", ["shared", 0.3])
def test_a_logit_normal_of_one_scale_starts_from_the_mean_of_x(scale):
    start = LogitNormal((4,), scale=scale).independent(MEAN_T, VARIANCE_T)
    scales = np.broadcast_to(start["scale"], (4,)) if scale == "shared" else [0.3] * 4
    for loc, own, mean in zip(start["loc"], scales, MEAN, strict=True):
        assert logit_normal_moments(float(loc), own)[0] == pytest.approx(mean, rel=1e-4)


def test_a_beta_starts_from_the_moments_of_x():
    head = Beta((4,))
    p = head.distribution(head.independent(MEAN_T, VARIANCE_T))
    np.testing.assert_allclose(p.mean(), MEAN, rtol=1e-5)
    np.testing.assert_allclose(p.variance(), VARIANCE, rtol=1e-4)


MEAN_T, VARIANCE_T = tf.constant(MEAN), tf.constant(VARIANCE)


@pytest.mark.parametrize("make", [Beta, lambda e: LogitNormal(e, scale="per_value")])
@pytest.mark.parametrize(
    ("mean", "variance"), [(0.0, 0.0), (1.0, 0.0), (0.5, 0.0), (0.5, 0.25), (1e-4, 1e-4)]
)
def test_moments_at_the_edge_have_a_finite_start(make, mean, variance):
    head = make((2,))
    raw = head.start(tf.constant([mean, 0.4]), tf.constant([variance, 0.01]))
    p = head.distribution({k: v[None] for k, v in head.link(raw).items()})
    assert_finite(*raw.values(), p.log_prob([[0.2, 0.3]]), p.mean())


@pytest.mark.parametrize("make", [Beta, lambda e: LogitNormal(e, scale="per_value")])
@pytest.mark.parametrize("raw", [-50.0, 50.0, -1e4, 1e4])
def test_draws_stay_inside_however_extreme(make, raw):
    """Where rounding would put them at 0 or 1, which have no density."""
    head = built(make((3,)))
    name = next(iter(head.projections))
    head.projections[name].set_bias(tf.fill((3,), raw))
    p = head.distribution(head(np.zeros((2, 5), "float32")))
    draws = p.sample(50, seed=0)
    head.check(draws.numpy()[0])
    assert_finite(p.log_prob(draws))


@pytest.mark.parametrize("make", [Beta, LogitNormal])
@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 1.5, 255.0])
def test_the_ends_and_what_is_beyond_are_refused(make, value):
    head = make((2,))
    with pytest.raises(ValueError, match=rf"outside the support of {make.__name__}") as error:
        head.check(np.array([[0.5, value]], "float32"))
    assert "Expected: values in (0, 1)" in str(error.value)


def test_a_beta_of_equal_concentrations_of_one_is_uniform():
    ones = tf.ones((1, 3))
    p = Beta((3,)).distribution({"concentration1": ones, "concentration0": ones})
    np.testing.assert_allclose(p.log_prob([[0.1, 0.5, 0.99]]), [0.0], atol=1e-6)


def test_a_logit_normal_is_a_normal_of_the_log_odds():
    """Its median is the sigmoid of loc, which a Bernoulli of these logits has as its mean."""
    loc = tf.constant([[-2.0, 0.5]])
    p = LogitNormal((2,)).distribution({"loc": loc, "scale": tf.constant([[0.5, 2.0]])})
    draws = p.sample(10_001, seed=0).numpy()
    median = Bernoulli((2,)).distribution({"logits": loc}).mean()
    below = (draws < median.numpy()).mean(0)
    np.testing.assert_allclose(below, 0.5, atol=5 * 0.5 / 100)
