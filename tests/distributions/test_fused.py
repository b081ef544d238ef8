"""Densities that XLA compiles have the values and the gradients of those that it does not."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions import fused as module
from keras_vae.distributions.bits import Bits, IndependentBits
from keras_vae.distributions.discretised_logistic import DiscretisedLogistic
from keras_vae.distributions.discretised_logistic_mixture import DiscretisedLogisticMixture
from keras_vae.distributions.fused import fused

RNG = np.random.default_rng(0)


def compiled_calls(function):
    """How often XLA runs something of a graph."""
    definitions = function.get_concrete_function().graph.as_graph_def().library.function
    return sum(d.attr["_XlaMustCompile"].b for d in definitions)


@pytest.mark.parametrize(("values", "times"), [(8, 1), (7, 0)])
def test_many_values_are_compiled_and_few_are_not(monkeypatch, values, times):
    monkeypatch.setattr(module, "VALUES", 8)
    half = fused(lambda x: x / 2)
    assert compiled_calls(tf.function(lambda: half(tf.ones(values)))) == times
    np.testing.assert_array_equal(half(tf.ones(values)), np.full(values, 0.5))


def test_what_is_of_unknown_size_is_not_compiled(monkeypatch):
    monkeypatch.setattr(module, "VALUES", 8)
    half = fused(lambda x: x / 2)
    served = tf.function(half, input_signature=[tf.TensorSpec((None, 100))])
    assert compiled_calls(served) == 0
    assert served(tf.ones((3, 100))).shape == (3, 100)


def test_nothing_is_compiled_where_tensorflow_has_no_xla(monkeypatch):
    monkeypatch.setattr(module, "VALUES", 8)
    monkeypatch.setattr(module, "AVAILABLE", False)
    half = fused(lambda x: x / 2)
    assert compiled_calls(tf.function(lambda: half(tf.ones(100)))) == 0


def bits(logits, x):
    return IndependentBits(Bits(logits=logits, dtype=logits.dtype), 1).log_prob(x)


def bits_of_tfp(logits, x):
    return tfd.Independent(tfd.Bernoulli(logits=logits, dtype=logits.dtype), 1).log_prob(x)


def mixture(parameters, x):
    logits, loc, raw = tf.unstack(parameters, axis=-2)
    components = DiscretisedLogistic(loc, tf.exp(raw), 256)
    return DiscretisedLogisticMixture(tfd.Categorical(logits=logits), components).log_prob(x)


def mixture_of_tfp(parameters, x):
    logits, loc, raw = tf.unstack(parameters, axis=-2)
    components = DiscretisedLogistic(loc, tf.exp(raw), 256)
    return tfd.MixtureSameFamily(tfd.Categorical(logits=logits), components).log_prob(x)


CASES = {
    "bits": (bits, bits_of_tfp, (3, 4, 37), RNG.integers(0, 2, (4, 37))),
    "mixture": (mixture, mixture_of_tfp, (3, 4, 7, 3, 5), RNG.integers(0, 256, (4, 7))),
}


@pytest.mark.parametrize("in_a_graph", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_value_and_gradient_are_those_of_tfp(monkeypatch, case, in_a_graph):
    monkeypatch.setattr(module, "VALUES", 1)
    ours, of_tfp, shape, x = CASES[case]
    x, parameters = tf.constant(x, tf.float64), tf.constant(RNG.normal(size=shape))

    def both(density):
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            found = density(parameters, x)
            total = tf.reduce_sum(found**2)
        return found, tape.gradient(total, parameters)

    run = tf.function(lambda: both(ours)) if in_a_graph else lambda: both(ours)
    if in_a_graph:
        assert compiled_calls(run) > 0
    for found, expected in zip(run(), both(of_tfp), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
