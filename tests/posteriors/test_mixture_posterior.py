"""The posterior with several modes, and the gradient of its draws."""

import numpy as np
import pytest
import tensorflow as tf
from parts import assert_close_to_mean, assert_finite, built, features, numpy
from scipy import special, stats
from tensorflow_probability import distributions as tfd

from keras_vae import posteriors
from keras_vae.distributions.normal_mixture import NormalMixture, implicit

C, D = 3, 2
NAMES = ["logits", "loc", "scale_diag"]


def example(dtype="float64", batch=3):
    head = built(posteriors.MixtureOfNormals(D, C, dtype=dtype))
    parameters = head(features(batch).astype(dtype))
    return head, parameters, head.distribution(parameters)


def test_the_log_density_is_scipys():
    _, parameters, q = example()
    shapes = {name: value.shape[1:] for name, value in parameters.items()}
    assert shapes == {"logits": (C,), "loc": (C, D), "scale_diag": (C, D)}
    p = numpy(parameters)
    z = np.random.default_rng(0).normal(size=(7, 3, D))
    of_components = stats.norm(p["loc"], p["scale_diag"]).logpdf(z[:, :, None]).sum(-1)
    expected = special.logsumexp(special.log_softmax(p["logits"], -1) + of_components, -1)
    np.testing.assert_allclose(q.log_prob(z), expected)


def test_the_moments_are_those_of_draws():
    _, _, q = example()
    draws = q.sample(20_000, seed=0).numpy()
    assert_close_to_mean(draws, q.mean().numpy(), errors=5)
    assert_close_to_mean((draws - q.mean().numpy()) ** 2, q.variance().numpy(), errors=5)
    np.testing.assert_allclose(tf.linalg.diag_part(q.covariance()), q.variance())
    np.testing.assert_allclose(q.stddev() ** 2, q.variance())


def test_the_gradient_of_a_mean_over_draws_is_that_of_the_mean():
    """Of `E[z_1^2 + z_1 z_2]`, which has a closed form, in every parameter."""
    _, parameters, _ = example(batch=1)
    one = [parameters[name] for name in NAMES]
    with tf.GradientTape() as tape:
        tape.watch(one)
        logits, loc, scale = one
        means = loc[..., 0] ** 2 + scale[..., 0] ** 2 + loc[..., 0] * loc[..., 1]
        value = tf.reduce_sum(tf.nn.softmax(logits) * means)
    expected = tape.gradient(value, one)
    many = [tf.repeat(parameter, 20_000, axis=0) for parameter in one]
    with tf.GradientTape() as tape:
        tape.watch(many)
        z = NormalMixture(*many).sample(seed=0)
        values = z[:, 0] ** 2 + z[:, 0] * z[:, 1]
    for per_draw, exact in zip(tape.gradient(values, many), expected, strict=True):
        assert np.abs(exact).max() > 0.05
        assert_close_to_mean(per_draw, exact[0].numpy())


def test_the_gradient_of_a_draw_is_tfps():
    _, parameters, _ = example()
    values = [parameters[name] for name in NAMES]
    random = np.random.default_rng(0)
    weights = random.normal(size=(50, 3, D))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(values)
        logits, loc, scale = values
        tfps = tfd.MixtureSameFamily(
            tfd.Categorical(logits=logits),
            tfd.Independent(tfd.Normal(loc, scale), 1),
            reparameterize=True,
        )
        z = tfps.sample(50, seed=0)
        theirs = tf.reduce_sum(z * weights)
        repeated = [tf.broadcast_to(value, (50, *value.shape)) for value in values]
        ours = tf.reduce_sum(implicit(tf.stop_gradient(z), *repeated) * weights)
    for expected, gradient in zip(
        tape.gradient(theirs, values), tape.gradient(ours, values), strict=True
    ):
        np.testing.assert_allclose(gradient, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("z", [-7.0, -4.0, 4.0, 7.0])
def test_the_gradient_keeps_its_digits_in_both_tails(z):
    values = [[[0.2, -0.3]], [[[0.0, 0.1], [0.05, -0.1]]], [[[1.0, 1.1], [1.05, 0.9]]]]

    def gradients(dtype):
        parameters = [tf.constant(value, dtype) for value in values]
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            draw = implicit(tf.constant([[z, -z]], dtype), *parameters)
        return tape.gradient(draw, parameters)

    for single, double in zip(gradients("float32"), gradients("float64"), strict=True):
        np.testing.assert_allclose(single, double, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("far", [1.0, 1e2, 1e4])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_gradients_are_finite_however_far_the_components_are(far, scale):
    random = np.random.default_rng(0)
    parameters = [
        tf.constant(far * random.normal(size=(4, C)), tf.float32),
        tf.constant(far * random.normal(size=(4, C, D)), tf.float32),
        tf.fill((4, C, D), scale),
    ]
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        q = NormalMixture(*parameters)
        z = q.sample(200, seed=0)
        total = tf.reduce_sum(z) + tf.reduce_sum(q.log_prob(z))
    assert_finite(total, *tape.gradient(total, parameters))


def test_a_draw_has_a_first_derivative_only():
    _, parameters, _ = example()
    values = [parameters[name] for name in NAMES]
    with tf.GradientTape() as outer:
        outer.watch(values)
        with tf.GradientTape() as inner:
            inner.watch(values)
            total = tf.reduce_sum(NormalMixture(*values).sample(seed=0) ** 2)
        first = tf.reduce_sum(inner.gradient(total, values[1]))
    with pytest.raises(LookupError, match="a first derivative only"):
        outer.gradient(first, values)


def test_it_compiles():
    head, parameters, q = example("float32")
    z = q.sample(5, seed=0)

    def terms(parameters, z):
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            draw = implicit(z, *(tf.stack([parameters[name]] * 5) for name in NAMES))
            total = tf.reduce_sum(draw**2)
        log_prob = head.distribution(parameters).log_prob(z)
        gradients = tape.gradient(total, [parameters[name] for name in NAMES])
        return (log_prob, *gradients)

    compiled = tf.function(terms, jit_compile=True)
    for fast, slow in zip(compiled(parameters, z), terms(parameters, z), strict=True):
        np.testing.assert_allclose(fast, slow, rtol=1e-3, atol=1e-4)
    draw = tf.function(lambda p: head.distribution(p).sample(5, seed=(0, 1)), jit_compile=True)
    assert_finite(draw(parameters))


def test_a_slice_of_the_batch_is_of_the_family():
    _, _, q = example()
    z = q.sample(seed=0)
    np.testing.assert_allclose(q[1:].log_prob(z[1:]), q.log_prob(z)[1:])


@pytest.mark.parametrize("components", [0, 1.5, "2", None, True])
def test_the_number_of_components_is_a_positive_integer(components):
    with pytest.raises(ValueError, match="`components` of MixtureOfNormals is the number of"):
        posteriors.MixtureOfNormals(2, components)
