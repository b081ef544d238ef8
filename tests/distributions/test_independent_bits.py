"""Independent bits: TFP's density and gradient, in one pass."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_expit
from tensorflow_probability import distributions as tfd

from keras_vae.distributions import fused
from keras_vae.distributions.bits import Bits, IndependentBits

RNG = np.random.default_rng(0)
EXTREME = np.array([0.0, 1e-6, -3.0, 40.0, -90.0, 1e4, -1e4, 1e30], "float32")
SHAPES = {
    "draws and batch": ((3, 2, 4, 4, 2), (2, 4, 4, 2), 3),
    "one value": ((5, 1), (5, 1), 1),
    "no multiple of the group": ((5, 37), (5, 37), 1),
    "more x than logits": ((5, 20), (7, 5, 20), 1),
    "one row of logits": ((1, 20), (5, 20), 1),
    "a scalar event": ((5,), (5,), 0),
    "no rows": ((3, 0, 20), (0, 20), 1),
}


def bits(logits, ndims):
    return IndependentBits(Bits(logits=logits, dtype=logits.dtype), ndims)


def case(name, dtype):
    of_logits, of_x, ndims = SHAPES[name]
    logits = tf.constant(RNG.normal(size=of_logits, scale=4), dtype)
    return logits, tf.constant(RNG.integers(0, 2, of_x), dtype), ndims


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SHAPES)
def test_the_density_is_scipys(name, dtype):
    logits, x, ndims = case(name, dtype)
    each = log_expit((2 * x.numpy().astype("float64") - 1) * logits.numpy().astype("float64"))
    expected = each.sum(axis=tuple(range(each.ndim - ndims, each.ndim)))
    found = bits(logits, ndims).log_prob(x)
    assert found.dtype == dtype
    rtol = 1e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("name", SHAPES)
def test_the_gradient_is_that_of_tfp(name):
    logits, x, ndims = case(name, "float64")
    gradients = []
    for made in (
        lambda: bits(logits, ndims),
        lambda: tfd.Independent(tfd.Bernoulli(logits=logits, dtype=tf.float64), ndims),
    ):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            log_prob = made().log_prob(x)
            weighted = tf.reduce_sum(log_prob * tf.range(1.0, 2.0, 1 / 64, tf.float64)[0])
        gradients.append(tape.gradient(weighted, logits))
    np.testing.assert_allclose(*gradients, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("x", [0.0, 1.0])
def test_extreme_logits_stay_finite_and_right(x):
    logits = tf.constant(EXTREME[:, None])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        found = bits(logits, 1).log_prob(tf.fill((len(EXTREME), 1), x))
    expected = log_expit((2 * x - 1) * EXTREME.astype("float64"))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert np.isfinite(tape.gradient(found, logits)).all()


def test_many_values_near_one_half_do_not_overflow():
    logits = tf.zeros((1, 100_000))
    found = bits(logits, 1).log_prob(tf.zeros((1, 100_000)))
    # As much as any sum of so many equal terms in float32 loses.
    np.testing.assert_allclose(found, [-100_000 * np.log(2)], rtol=5e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_it_runs_in_a_graph_of_unknown_batch(jit_compile):
    @tf.function(
        jit_compile=jit_compile,
        input_signature=[tf.TensorSpec((None, None, 6)), tf.TensorSpec((None, 6))],
    )
    def density(logits, x):
        return bits(logits, 1).log_prob(x)

    logits, x = tf.constant(RNG.normal(size=(3, 2, 6)), tf.float32), tf.ones((2, 6))
    expected = log_expit(logits.numpy().astype("float64")).sum(-1)
    np.testing.assert_allclose(density(logits, x), expected, rtol=1e-6)


@pytest.mark.parametrize("compiled_from", [1, fused.VALUES])
def test_a_second_derivative_is_that_of_the_closed_form(monkeypatch, compiled_from):
    monkeypatch.setattr(fused, "VALUES", compiled_from)
    logits = tf.constant([[0.3, -2.0]])
    with tf.GradientTape() as outer:
        outer.watch(logits)
        with tf.GradientTape() as inner:
            inner.watch(logits)
            found = bits(logits, 1).log_prob(tf.ones((1, 2)))
        gradient = tf.reduce_sum(inner.gradient(found, logits))
    m = 1 / (1 + np.exp(-logits.numpy()))
    np.testing.assert_allclose(outer.gradient(gradient, logits), -m * (1 - m), rtol=1e-5)


def test_moments_and_draws_are_those_of_bits():
    p = bits(tf.constant([[[2.0, -1.0], [0.0, 0.5]]]), 2)
    assert p.batch_shape == [1]
    assert p.event_shape == [2, 2]
    np.testing.assert_allclose(p.mean()[0, 0], 1 / (1 + np.exp([-2.0, 1.0])), rtol=1e-6)
    draws = p.sample(4000, seed=(0, 1))
    np.testing.assert_allclose(np.mean(draws, axis=(0, 1)), p.mean()[0], atol=0.04)
