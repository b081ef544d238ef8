"""The Normal with a covariance that is diagonal but for a few directions."""

import numpy as np
import pytest
import tensorflow as tf
from parts import (
    POSTERIORS,
    assert_close_to_mean,
    assert_finite,
    built,
    data_for,
    features,
    make_vae,
    normal_covariance,
    numpy,
)
from tensorflow_probability import distributions as tfd

from keras_vae import posteriors
from keras_vae.divergences import is_exact

D, RANK = 5, 2


def example(dtype="float64"):
    head = built(posteriors.LowRankNormal(D, RANK, dtype=dtype))
    parameters = head(features().astype(dtype))
    return head, parameters, head.distribution(parameters)


def diagonal_normals(batch):
    random = np.random.default_rng(4)
    loc, scale = random.normal(size=(2, *batch, D))
    return tfd.MultivariateNormalDiag(loc, np.exp(scale))


def test_parameters_have_tfps_names():
    _, parameters, q = example()
    shapes = {name: value.shape[1:] for name, value in parameters.items()}
    assert shapes == {"loc": (D,), "cov_diag_factor": (D,), "cov_perturb_factor": (D, RANK)}
    np.testing.assert_allclose(q.covariance(), normal_covariance(parameters))


def test_what_is_not_diagonal_has_the_rank_of_u():
    _, parameters, q = example()
    rest = q.covariance() - tf.linalg.diag(parameters["cov_diag_factor"])
    assert np.linalg.matrix_rank(rest, tol=1e-9).tolist() == [RANK] * 3


@pytest.mark.parametrize("batch", [(), (3,)])
def test_the_kl_to_a_diagonal_normal_is_that_of_the_full_covariance(batch):
    _, parameters, q = example()
    p = diagonal_normals(batch)
    assert is_exact(q, p)
    tril = np.linalg.cholesky(normal_covariance(parameters))
    full = tfd.MultivariateNormalTriL(numpy(parameters)["loc"], tril)
    np.testing.assert_allclose(q.kl_divergence(p), full.kl_divergence(p), rtol=1e-10)


def test_the_exact_kl_is_the_mean_over_draws():
    _, _, q = example()
    p = diagonal_normals(())
    z = q.sample(4000, seed=0)
    assert_close_to_mean(q.log_prob(z) - p.log_prob(z), q.kl_divergence(p).numpy())


def test_the_kl_of_more_axes_has_more_axes():
    head, parameters, q = example()
    p = diagonal_normals(())
    unfolded = head.distribution({name: tf.stack([v] * 4) for name, v in parameters.items()})
    assert unfolded.kl_divergence(p).shape == (4, 3)
    np.testing.assert_allclose(unfolded.kl_divergence(p)[1], q.kl_divergence(p))


@pytest.mark.parametrize("raw", [-1e4, -50.0, 50.0, 1e4])
def test_columns_that_coincide_leave_the_kl_and_its_gradient_finite(raw):
    """In single precision the capacitance matrix must keep its Cholesky factor."""
    head = built(posteriors.LowRankNormal(20, 3))
    for weight in head.weights:
        weight.assign(tf.zeros(weight.shape))
    head.projections["cov_perturb_factor"].bias.assign(tf.fill((60,), raw))
    head.projections["cov_diag_factor"].bias.assign(tf.fill((20,), -1e4))
    p = tfd.MultivariateNormalDiag(tf.zeros(20), tf.ones(20))
    with tf.GradientTape() as tape:
        q = head.distribution(head(features()))
        z = q.sample(seed=0)
        kl = q.kl_divergence(p)
        total = tf.reduce_sum(kl) + tf.reduce_sum(q.log_prob(z))
    assert_finite(kl, total, *tape.gradient(total, head.trainable_weights))


def test_it_compiles():
    head, parameters, q = example("float32")
    p = tfd.MultivariateNormalDiag(tf.zeros(D), tf.ones(D))
    z = q.sample(4, seed=0)

    @tf.function(jit_compile=True)
    def compiled(parameters, z):
        q = head.distribution(parameters)
        return q.log_prob(z), q.kl_divergence(p), q.sample(seed=(0, 1))

    log_prob, kl, draw = compiled(parameters, z)
    np.testing.assert_allclose(log_prob, q.log_prob(z), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(kl, q.kl_divergence(p), rtol=1e-4)
    assert_finite(draw)


@pytest.mark.parametrize("rank", [0, 1.5, "1", None, True])
def test_the_rank_is_a_positive_integer(rank):
    with pytest.raises(ValueError, match="`rank` of LowRankNormal is the number of columns of U"):
        posteriors.LowRankNormal(3, rank)


def test_the_rank_is_at_most_the_latent_size():
    with pytest.raises(ValueError, match=r"at most latent_size=3\. Received: rank=4"):
        posteriors.LowRankNormal(3, 4)


def test_training_goes_on_without_xla_and_says_so():
    vae = make_vae(posterior=POSTERIORS["LowRankNormal"])
    with pytest.warns(UserWarning, match="XLA cannot compile the training"):
        vae.compile(optimizer="sgd", jit_compile=True)
    assert vae.jit_compile is False
    x = data_for(vae.likelihood, 6)
    assert_finite(vae.fit(x, batch_size=4, verbose=0).history["loss"])
