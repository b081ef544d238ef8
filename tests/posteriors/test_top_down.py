"""The hierarchy that is drawn from the top down, each layer given x as well."""

import numpy as np
import pytest
import tensorflow as tf
from parts import assert_finite, assert_moments, features, numpy
from scipy import stats

from keras_vae import networks, posteriors


def deep():
    """z_3 of 1, z_2 of 2, z_1 of 3 values."""
    head = posteriors.TopDown(
        [
            posteriors.DiagonalNormal(1),
            posteriors.DiagonalNormal(2),
            posteriors.DiagonalNormal(3),
        ],
        [networks.mlp([4], activation="tanh"), networks.mlp([5], activation="tanh")],
    )
    head.build((None, 2, 3))
    random = np.random.default_rng(0)
    for weight in head.weights:
        weight.assign(random.normal(size=weight.shape))
    return head


def x():
    return features(4, (2, 3))


def test_the_parameters_are_those_of_the_top_and_the_features():
    parameters = deep()(x())
    assert {key: tuple(value.shape) for key, value in parameters.items()} == {
        "loc": (4, 1),
        "scale_diag": (4, 1),
        "features": (4, 6),
    }
    np.testing.assert_array_equal(parameters["features"], x().reshape(4, 6))


def test_the_density_is_the_sum_over_the_layers():
    """By SciPy, each layer from what its head gives for the layer above beside the features."""
    head = deep()
    parameters = head(x())
    top = numpy(parameters)
    z = np.random.default_rng(1).normal(size=(2, 4, 6)).astype("float32")
    z_1, z_2, z_3 = np.split(z, [3, 5], axis=-1)
    expected = stats.norm.logpdf(z_3, top["loc"], top["scale_diag"]).sum(-1)
    repeated = np.broadcast_to(x().reshape(4, 6), (2, 4, 6))
    for i, (above, block) in enumerate([(z_3, z_2), (z_2, z_1)]):
        read = np.concatenate([above, repeated], -1).reshape(8, -1)
        given = numpy(head.heads[i + 1](head.networks[i](read)))
        each = stats.norm.logpdf(block.reshape(8, -1), given["loc"], given["scale_diag"])
        expected += each.sum(-1).reshape(2, 4)
    q = head.distribution(parameters)
    assert q.batch_shape == (4,)
    assert q.event_shape == (6,)
    np.testing.assert_allclose(q.log_prob(z), expected, rtol=1e-4)


def test_a_linear_hierarchy_is_the_normal_of_the_closed_form():
    """z_2 ~ N(loc(x), scale(x)^2), z_1 | z_2, x ~ N(1.5 z_2 + u . x + 0.5, 0.3^2)."""
    head = posteriors.TopDown(
        [posteriors.DiagonalNormal(1), posteriors.DiagonalNormal(1)], [networks.mlp([])]
    )
    head.build((None, 5))
    slopes = np.array([1.5, 0.2, -0.4, 1.0, 0.0, -0.3])
    loc, raw_scale = (head.heads[1].projections[name] for name in ("loc", "scale_diag"))
    loc.kernel.assign(slopes[:, None])
    loc.bias.assign([0.5])
    raw_scale.kernel.assign(np.zeros((6, 1)))
    raw_scale.bias.assign([np.log(np.expm1(0.3 - 1e-6))])
    parameters = head(features())
    q = head.distribution(parameters)
    draws = q.sample(20_000, seed=0).numpy()
    z = np.random.default_rng(1).normal(size=(5, 3, 2)).astype("float32")
    for b in range(3):
        top, scale = numpy(parameters)["loc"][b, 0], numpy(parameters)["scale_diag"][b, 0]
        mean = np.array([1.5 * top + slopes[1:] @ features()[b] + 0.5, top])
        variance = scale**2
        covariance = np.array(
            [[1.5**2 * variance + 0.3**2, 1.5 * variance], [1.5 * variance, variance]]
        )
        expected = stats.multivariate_normal(mean, covariance).logpdf(z[:, b])
        np.testing.assert_allclose(q.log_prob(z)[:, b], expected, rtol=1e-4)
        assert_moments(draws[:, b], mean, covariance)


def test_samples_that_are_unfolded_are_as_one_by_one():
    head = deep()
    parameters = head(x())
    unfolded = {name: tf.stack([value, 2 * value]) for name, value in parameters.items()}
    q = head.distribution(unfolded)
    assert q.batch_shape == (2, 4)
    z = np.random.default_rng(1).normal(size=(3, 2, 4, 6)).astype("float32")
    for k in range(2):
        one = head.distribution({name: value[k] for name, value in unfolded.items()})
        np.testing.assert_allclose(q.log_prob(z)[:, k], one.log_prob(z[:, k]), rtol=1e-5)


def test_draws_and_examples_that_are_crossed_are_as_one_by_one():
    """As in a mixture over the examples: z `[n, 1, D]` against each of the batch."""
    head = deep()
    q = head.distribution(head(x()))
    z = np.random.default_rng(1).normal(size=(3, 1, 6)).astype("float32")
    crossed = q.log_prob(z)
    assert crossed.shape == (3, 4)
    for b in range(4):
        one = head.distribution(head(x()[b : b + 1]))
        np.testing.assert_allclose(crossed[:, b], one.log_prob(z)[:, 0], rtol=1e-5)


def test_the_centre_is_the_walk_along_the_means():
    head = deep()
    parameters = head(x())
    z_3, flat = parameters["loc"], parameters["features"]
    z_2 = head.heads[1](head.networks[0](tf.concat([z_3, flat], -1)))["loc"]
    z_1 = head.heads[2](head.networks[1](tf.concat([z_2, flat], -1)))["loc"]
    centre = head.centre(head.distribution(parameters))
    np.testing.assert_allclose(centre, np.concatenate([z_1, z_2, z_3], -1), rtol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_finite_gradient_reaches_every_weight_and_the_features(jit_compile):
    head = deep()
    weights = [weight.value for weight in head.trainable_weights]
    assert len(weights) == 3 * 4 + 2 * 2

    @tf.function(jit_compile=jit_compile)
    def evaluate(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            q = head.distribution(head(inputs))
            z = q.sample(4, seed=0)
            total = tf.reduce_sum(q.log_prob(z)) + tf.reduce_sum(z**2)
        return tape.gradient(total, [inputs, *weights])

    for gradient in evaluate(tf.constant(x())):
        assert_finite(gradient)
        assert np.any(gradient != 0)


def test_the_statement_says_what_each_layer_is_given():
    statement = deep().statement()
    assert statement.learned == ("z_3 given x", "z_2 given z_3, x", "z_1 given z_2, x")
    assert set(statement.parameters) == set(deep()(x()))
