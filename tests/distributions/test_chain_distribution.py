"""A latent vector of several layers."""

import numpy as np
import pytest
import tensorflow as tf
from parts import assert_finite, assert_moments
from scipy import stats
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.chain import Chain

# b_1 ~ N(0.5, 2^2) in 1 dimension, b_2 | b_1 ~ N([b_1, -b_1], 0.5^2 I), b_3 | b_2 ~ N(sum(b_2), 1).
SIZES = [1, 2, 1]


def example(upward, batch=()):
    return Chain(
        first=tfd.MultivariateNormalDiag(tf.fill((*batch, 1), 0.5), tf.fill((*batch, 1), 2.0)),
        given=[
            lambda b: tfd.MultivariateNormalDiag(tf.concat([b, -b], -1), tf.fill((2,), 0.5)),
            lambda b: tfd.MultivariateNormalDiag(b[..., :1] + 2 * b[..., 1:], tf.ones(1)),
        ],
        sizes=SIZES,
        upward=upward,
    )


def joint(upward):
    """The mean and the covariance of the four values, by b = A noise + mean."""
    matrix = np.array(
        [[2, 0, 0, 0], [2, 0.5, 0, 0], [-2, 0, 0.5, 0], [-2, 0.5, 1.0, 1]], dtype="float64"
    )
    mean = np.array([0.5, 0.5, -0.5, -0.5])
    order = [0, 1, 2, 3] if upward else [3, 1, 2, 0]
    return mean[order], (matrix @ matrix.T)[np.ix_(order, order)]


both_ways = pytest.mark.parametrize("upward", [True, False])


@both_ways
def test_the_density_is_that_of_the_joint_normal(upward):
    z = np.random.default_rng(0).normal(size=(5, 3, 4)).astype("float32")
    expected = stats.multivariate_normal(*joint(upward)).logpdf(z)
    np.testing.assert_allclose(example(upward).log_prob(z), expected, rtol=1e-4)
    np.testing.assert_allclose(example(upward, (3,)).log_prob(z), expected, rtol=1e-4)


@both_ways
def test_the_draws_are_of_the_joint_normal(upward):
    assert_moments(example(upward).sample(20_000, seed=0).numpy(), *joint(upward))


@both_ways
def test_the_shapes_are_those_of_a_batch_of_vectors(upward):
    for batch in ((), (3,), (5, 3)):
        p = example(upward, batch)
        assert p.batch_shape == batch
        assert p.event_shape == (4,)
        assert tuple(p.batch_shape_tensor()) == batch
        assert tuple(p.event_shape_tensor()) == (4,)
        assert p.sample((2, 7), seed=0).shape == (2, 7, *batch, 4)
        assert p.log_prob(np.zeros((2, 7, *batch, 4), "float32")).shape == (2, 7, *batch)


@both_ways
def test_a_walk_of_means_follows_the_means(upward):
    mean = example(upward, (3,)).walk([lambda p: p.mean()] * 3)
    np.testing.assert_allclose(mean, [joint(upward)[0]] * 3)


@both_ways
@pytest.mark.parametrize("jit_compile", [False, True])
def test_it_compiles(upward, jit_compile):
    p = example(upward)
    z = np.ones((2, 4), "float32")
    signature = [tf.TensorSpec((None, 4))] if not jit_compile else None
    log_prob = tf.function(p.log_prob, jit_compile=jit_compile, input_signature=signature)
    np.testing.assert_allclose(log_prob(z), p.log_prob(z), rtol=1e-5)
    draw = tf.function(lambda: p.sample(3, seed=0), jit_compile=jit_compile)
    assert_finite(draw())


def test_equal_seeds_give_equal_draws_and_layers_differ_in_their_noise():
    p = Chain(
        first=tfd.MultivariateNormalDiag(tf.zeros(1)),
        given=[lambda b: tfd.MultivariateNormalDiag(tf.zeros_like(b))],
        sizes=[1, 1],
        upward=True,
    )
    first, again, other = (p.sample(5, seed=tf.constant([s, 0])) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.all(first != other)
    assert np.all(first[:, 0] != first[:, 1])


def test_a_draw_is_differentiable_if_all_layers_are():
    assert example(True).reparameterization_type == tfd.FULLY_REPARAMETERIZED
    p = Chain(tfd.MultivariateNormalDiag(tf.zeros(1)), [], [1], True, reparameterised=False)
    assert p.reparameterization_type == tfd.NOT_REPARAMETERIZED


def test_a_gradient_flows_through_all_layers():
    loc = tf.Variable([1.0])
    with tf.GradientTape() as tape:
        p = Chain(
            first=tfd.MultivariateNormalDiag(loc),
            given=[lambda b: tfd.MultivariateNormalDiag(3 * b)],
            sizes=[1, 1],
            upward=False,
        )
        total = tf.reduce_sum(p.sample(seed=0))
    np.testing.assert_allclose(tape.gradient(total, loc), [4.0], rtol=1e-5)
