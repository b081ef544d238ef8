"""TFP's multivariate Normals: the same densities, draws of the same law."""

import numpy as np
import pytest
import tensorflow as tf
from parts import assert_moments
from scipy import stats
from tensorflow_probability import distributions as tfd

from keras_vae.distributions import normals

RNG = np.random.default_rng(0)
SEED = tf.constant([3, 4])
SHAPES = {
    "batch": ((7, 3), (7, 3)),
    "no batch": ((3,), (3,)),
    "batches that broadcast": ((2, 1, 3), (4, 3)),
    "one dimension": ((7, 1), (7, 1)),
    "no rows": ((0, 3), (0, 3)),
}


def diagonal(name, dtype="float32"):
    """Ours and TFP's."""
    loc, scale = (RNG.normal(size=shape).astype(dtype) for shape in SHAPES[name])
    return [
        make(loc, 0.1 + scale**2)
        for make in (normals.MultivariateNormalDiag, tfd.MultivariateNormalDiag)
    ]


def triangular(name, dtype="float32"):
    """Ours and TFP's, with rows whose dimensions are correlated."""
    loc = RNG.normal(size=SHAPES[name][0]).astype(dtype)
    size = loc.shape[-1]
    scale = np.tril(RNG.normal(size=(size, size))) + 3 * np.eye(size)
    made = (normals.MultivariateNormalTriL, tfd.MultivariateNormalTriL)
    return [make(loc, scale.astype(dtype)) for make in made]


@pytest.mark.parametrize("family", [diagonal, triangular])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SHAPES)
def test_densities_divergences_and_moments_are_tfps(name, dtype, family):
    ours, theirs = family(name, dtype)
    rtol = 1e-5 if dtype == "float32" else 1e-12
    axes = [*theirs.batch_shape, *theirs.event_shape]
    for leading in ((), (5,), (2, 5)):
        x = RNG.normal(size=(*leading, *axes)).astype(dtype)
        np.testing.assert_allclose(ours.log_prob(x), theirs.log_prob(x), rtol=rtol)
    one = RNG.normal(size=theirs.event_shape).astype(dtype)
    np.testing.assert_allclose(ours.log_prob(one), theirs.log_prob(one), rtol=rtol)
    p = tfd.MultivariateNormalDiag(np.zeros(axes[-1], dtype), np.full(axes[-1], 2, dtype))
    np.testing.assert_allclose(ours.kl_divergence(p), theirs.kl_divergence(p), rtol=rtol)
    for moment in ("mean", "stddev", "entropy", "mode"):
        np.testing.assert_array_equal(getattr(ours, moment)(), getattr(theirs, moment)())


@pytest.mark.parametrize("family", [diagonal, triangular])
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("axes", [(), 5, (2, 3), 0])
def test_draws_have_the_shape_of_tfps(axes, name, family):
    ours, theirs = family(name)
    draws = ours.sample(axes, seed=SEED)
    assert draws.shape == theirs.sample(axes, seed=SEED).shape
    np.testing.assert_array_equal(draws, ours.sample(axes, seed=SEED))


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("family", [diagonal, triangular])
def test_draws_have_the_moments_of_the_distribution(family, jit_compile):
    ours, theirs = family("batch", "float64")
    draw = tf.function(lambda: ours.sample(20_000, seed=SEED), jit_compile=jit_compile)
    draws = draw().numpy()
    for row in range(2):
        assert_moments(draws[:, row], theirs.mean().numpy()[row], theirs.covariance().numpy()[row])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_noise_is_standard_normal_and_independent_between_rows(jit_compile):
    q = normals.MultivariateNormalDiag(tf.zeros((50, 4)), tf.ones((50, 4)))
    draw = tf.function(lambda: q.sample(200, seed=SEED), jit_compile=jit_compile)
    noise = draw().numpy().reshape(200, 200)  # [K, B D]
    assert stats.kstest(noise.ravel(), "norm").pvalue > 0.01
    between = np.corrcoef(noise.T)[np.triu_indices(200, 1)]
    assert abs(between).max() < 5 / np.sqrt(200)
    assert abs(between.std() * np.sqrt(200) - 1) < 0.05


@pytest.mark.parametrize("family", [diagonal, triangular])
def test_parts_copies_and_both_at_once_draw_alike(family):
    ours, theirs = family("batch")
    part, copy = ours[:2], ours.copy(validate_args=True)
    x = RNG.normal(size=(2, 3)).astype("float32")
    np.testing.assert_allclose(part.log_prob(x), theirs[:2].log_prob(x), rtol=1e-5)
    np.testing.assert_array_equal(copy.sample(5, seed=SEED), ours.sample(5, seed=SEED))
    z, log_prob = ours.experimental_sample_and_log_prob(5, seed=SEED)
    np.testing.assert_array_equal(z, ours.sample(5, seed=SEED))
    np.testing.assert_allclose(log_prob, theirs.log_prob(z), rtol=1e-5)


def test_draws_are_differentiable_and_of_an_unknown_batch():
    @tf.function(input_signature=[tf.TensorSpec((None, 3)), tf.TensorSpec((None, 3))])
    def gradients(loc, scale):
        with tf.GradientTape() as tape:
            tape.watch([loc, scale])
            z = normals.MultivariateNormalDiag(loc, scale).sample(2, seed=SEED)
            total = tf.reduce_sum(z)
        return z, tape.gradient(total, [loc, scale])

    loc, scale = tf.zeros((5, 3)), tf.fill((5, 3), 2.0)
    z, (of_loc, of_scale) = gradients(loc, scale)
    np.testing.assert_array_equal(of_loc, np.full((5, 3), 2))
    np.testing.assert_allclose(of_scale, np.sum(z / scale, axis=0), rtol=1e-5)


@pytest.mark.parametrize("batch", [(), (7,), (2, 1)])
def test_the_divergence_and_its_gradient_are_tfps(batch):
    loc, scale = (RNG.normal(size=(7, 3)) for _ in range(2))
    p = [RNG.normal(size=(*batch, 3)), 0.1 + RNG.normal(size=(*batch, 3)) ** 2]
    found = []
    for family in (normals, tfd):
        q = [tf.Variable(loc), tf.Variable(1e-9 + scale**4)]
        for other in (normals, tfd):
            with tf.GradientTape() as tape:
                kl = tfd.kl_divergence(
                    family.MultivariateNormalDiag(*q), other.MultivariateNormalDiag(*p)
                )
            found.append([kl, *tape.gradient(kl, q)])
    for value in found[:3]:
        for ours, theirs in zip(value, found[3], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_the_divergence_from_itself_is_zero():
    q, _ = diagonal("batch", "float64")
    np.testing.assert_allclose(q.kl_divergence(q), np.zeros(7), atol=1e-15)
