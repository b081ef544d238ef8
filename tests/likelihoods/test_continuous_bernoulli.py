"""p(x|z) = continuous Bernoulli (Loaiza-Ganem and Cunningham 2019)."""

import numpy as np
import pytest
import tensorflow as tf
from parts import assert_finite
from scipy import optimize

from keras_vae.likelihoods import Bernoulli, ContinuousBernoulli

LOGITS = [-1e4, -100.0, -50.0, -17.0, -1.0, -0.1, -1e-2, -1e-3, -1e-6, -1e-30]
LOGITS = np.array([*LOGITS, 0.0, *(-value for value in reversed(LOGITS))], "float64")


def log_normaliser(logits):
    """log((exp(logits) - 1) / logits), in double precision."""
    size = np.abs(logits)
    safe = np.where(size < 1e-5, 1.0, size)
    of_size = np.where(size < 1e-5, -size / 2, np.log(-np.expm1(-safe) / safe))
    return of_size + np.maximum(logits, 0)


def mean(logits):
    safe = np.where(np.abs(logits) < 1e-2, 1.0, logits)
    tail = np.exp(-np.abs(safe))
    far = np.where(safe > 0, 1, tail) / (1 - tail) * np.sign(safe) - 1 / safe
    return np.where(np.abs(logits) < 1e-2, 0.5 + logits / 12 - logits**3 / 720, far)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("x", [0.0, 0.3, 0.5, 1.0])
def test_density_and_gradient_are_exact_at_any_logits(x, dtype):
    logits = tf.constant(LOGITS[:, None], dtype)
    head = ContinuousBernoulli((1,), dtype=dtype)
    x = np.dtype(dtype).type(x)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_prob = head.distribution({"logits": logits}).log_prob(tf.fill(logits.shape, x))
    exact = x * LOGITS - log_normaliser(LOGITS)
    precision = 4e-7 if dtype == "float32" else 1e-10
    np.testing.assert_allclose(log_prob, exact, rtol=precision, atol=precision)
    gradient = tape.gradient(log_prob, logits)[:, 0]
    np.testing.assert_allclose(gradient, x - mean(LOGITS), atol=precision)


def test_the_mean_is_exact_at_any_logits():
    p = ContinuousBernoulli((1,)).distribution({"logits": tf.constant(LOGITS[:, None], tf.float32)})
    np.testing.assert_allclose(p.mean()[:, 0], mean(LOGITS), rtol=1e-5, atol=1e-7)
    assert_finite(p.sample(100, seed=0))


def test_it_is_the_cross_entropy_with_the_constant_that_makes_it_a_density():
    logits = tf.constant([[-3.0, -0.5, 1e-3, 2.0]])
    x = np.array([[0.0, 1.0, 1.0, 0.0]], "float32")
    found = ContinuousBernoulli((4,)).distribution({"logits": logits}).log_prob(x)
    cross_entropy = Bernoulli((4,)).distribution({"logits": logits}).log_prob(x)
    m = 1 / (1 + np.exp(-logits.numpy().astype("float64")))
    constant = np.log(2 * np.arctanh(1 - 2 * m) / (1 - 2 * m)).sum(-1)
    np.testing.assert_allclose(found, cross_entropy + constant, rtol=1e-5)
    assert constant > 4 * np.log(2)


@pytest.mark.parametrize("target", [0.002, 0.1, 0.4999, 0.5, 0.75, 0.99])
def test_the_start_has_the_mean_of_the_data(target):
    head = ContinuousBernoulli((1,))
    logits = float(head.start(tf.constant([target]), tf.constant([0.1]))["logits"][0])
    exact = optimize.brentq(lambda value: mean(np.array(value)) - target, -2000, 2000)
    assert logits == pytest.approx(exact, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_a_pixel_that_is_never_on_keeps_finite_logits(target):
    logits = ContinuousBernoulli((1,)).start(tf.constant([target]), tf.zeros(1))["logits"]
    np.testing.assert_allclose(np.abs(logits), [1000.0], rtol=1e-3)


def test_the_noise_variance_is_that_of_the_fitted_model_not_of_the_data():
    """Of a binary pixel: the family cannot vary so much."""
    head = ContinuousBernoulli((2,))
    data = tf.constant([0.3, 0.5]), tf.constant([0.21, 0.25])
    found = head.noise_variance(*data).numpy()
    x = np.linspace(0, 1, 100_001)
    for value, m in zip(found, (0.3, 0.5), strict=True):
        logits = float(head.start(*data)["logits"][0 if m == 0.3 else 1])
        density = np.exp(x * logits - log_normaliser(np.array(logits)))
        expected = np.trapezoid((x - m) ** 2 * density, x)
        assert value == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("value", [-0.1, 1.5])
def test_values_beyond_the_ends_are_refused(value):
    head = ContinuousBernoulli((2,))
    head.check(np.array([[0.0, 1.0]], "float32"))
    with pytest.raises(ValueError, match="outside the support of ContinuousBernoulli"):
        head.check(np.array([[0.5, value]], "float32"))
