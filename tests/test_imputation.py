"""Missing values are filled in by what the model says of them, given what is observed.

In a linear Gaussian model `x ~ N(b, S)`, `S = W W^T + sigma^2 I`, and
`x_m | x_o ~ N(b_m + S_mo S_oo^-1 (x_o - b_o), S_mm - S_mo S_oo^-1 S_om)`.
"""

import numpy as np
import pytest
import tensorflow as tf
from parts import LIKELIHOODS, assert_close_to_mean, assert_moments, data_for, make_vae
from tensorflow_probability import distributions as tfd

from keras_vae import VAE, data, networks, posteriors, priors
from keras_vae.imputation import imputed
from keras_vae.likelihoods import Categorical, Missing, Normal, Poisson

SIGMA = 0.6
W = np.random.default_rng(0).normal(size=(5, 2))
B = np.random.default_rng(1).normal(size=5)
NAN = np.nan
ROWS = np.array(
    [
        [0.3, NAN, -1.2, NAN, 0.8],
        [NAN, NAN, NAN, 1.5, NAN],
        [NAN, NAN, NAN, NAN, NAN],
        [0.3, -0.5, -1.2, 1.5, 0.8],
    ],
    "float32",
)


def linear_vae():
    """The model with a q(z|x) that is not p(z|x): importance weights make up for it."""
    vae = VAE(
        encoder=networks.mlp([]),
        decoder=networks.mlp([]),
        posterior=posteriors.DiagonalNormal(2),
        prior=priors.StandardNormal(2),
        likelihood=Missing(Normal((5,), scale=SIGMA)),
        seed=0,
    )
    loc = vae.likelihood.likelihood.projections["loc"]
    loc.kernel.assign(W.T)
    loc.bias.assign(B)
    random = np.random.default_rng(2)
    vae.posterior.projections["loc"].kernel.assign(0.1 * random.normal(size=(5, 2)))
    vae.posterior.projections["scale_diag"].kernel.assign(np.zeros((5, 2)))
    vae.posterior.projections["scale_diag"].bias.assign(np.full(2, 1.0))  # a scale of 1.3
    return vae


def conditional(row):
    """Mean and covariance of what is missing of a row, given the rest of it."""
    m, o = np.isnan(row), ~np.isnan(row)
    s = W @ W.T + SIGMA**2 * np.eye(5)
    gain = s[np.ix_(m, o)] @ np.linalg.inv(s[np.ix_(o, o)])
    return B[m] + gain @ (row[o] - B[o]), s[np.ix_(m, m)] - gain @ s[np.ix_(o, m)]


@pytest.mark.parametrize("row", ROWS[:3])
def test_the_mean_is_that_of_what_is_missing_given_what_is_observed(row):
    vae = linear_vae()
    filled = vae.impute(np.tile(row, (40, 1)), num_samples=4_000, seed=0).numpy()
    missing = np.isnan(row)
    assert_close_to_mean(filled[:, missing], conditional(row)[0], errors=5)
    np.testing.assert_array_equal(filled[:, ~missing], np.tile(row[~missing], (40, 1)))
    # Forty estimates of four thousand draws: the band that was tested is narrow.
    assert filled[:, missing].std(0).max() < 0.2


@pytest.mark.parametrize("row", ROWS[:3])
def test_draws_are_of_what_is_missing_given_what_is_observed(row):
    vae = linear_vae()
    filled = vae.impute(np.tile(row, (4_000, 1)), num_samples=300, draw=True, seed=0).numpy()
    missing = np.isnan(row)
    assert_moments(filled[:, missing], *conditional(row))
    np.testing.assert_array_equal(filled[:, ~missing], np.tile(row[~missing], (4_000, 1)))


@pytest.mark.parametrize("draw", [False, True])
def test_a_row_with_nothing_missing_comes_back_as_it_is(draw):
    vae = linear_vae()
    filled = vae.impute(ROWS, num_samples=3, draw=draw).numpy()
    np.testing.assert_array_equal(filled[3], ROWS[3])
    np.testing.assert_array_equal(filled[~np.isnan(ROWS)], ROWS[~np.isnan(ROWS)])
    assert np.isfinite(filled).all()
    masked = np.ma.array(np.nan_to_num(ROWS), mask=np.isnan(ROWS))
    np.testing.assert_array_equal(
        vae.impute(masked, num_samples=3, draw=draw, seed=1), vae.impute(ROWS, 3, draw, seed=1)
    )


def test_more_draws_of_z_are_better_than_one():
    """With one draw of z the weights are one, and the mean is that of p(x|z) for z ~ q(z|x)."""
    vae, row = linear_vae(), ROWS[0]
    mean, _ = conditional(row)
    one, many = (
        vae.impute(np.tile(row, (400, 1)), num_samples=k, seed=0).numpy()[:, np.isnan(row)]
        for k in (1, 200)
    )
    assert np.abs(many.mean(0) - mean).max() < 0.1 < np.abs(one.mean(0) - mean).max()


def test_a_seed_fixes_what_is_filled_in():
    vae = linear_vae()
    first, second = (vae.impute(ROWS, num_samples=2, seed=3).numpy() for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.any(vae.impute(ROWS, num_samples=2).numpy() != vae.impute(ROWS, num_samples=2))


def test_categories_are_filled_in_by_the_likeliest_of_the_mixture():
    """Not by that of the heaviest draw, nor by a mean of indices."""
    head = Missing(Categorical(3, (2,)))
    probs = np.array([[0.5, 0.4, 0.1], [0.1, 0.45, 0.45], [0.1, 0.5, 0.4]])
    logits = np.log(np.tile(probs[:, None, None], (1, 2_000, 2, 1))).astype("float32")
    p = head.distribution({"logits": tf.constant(logits)})  # batch [K, B]
    log_weights = tf.math.log(tf.constant([[0.4], [0.3], [0.3]]) * tf.ones((1, 2_000)))
    x = tf.constant([[2.0, NAN]] * 2_000)
    np.testing.assert_array_equal(imputed(x, head, p, log_weights)[0], [2, 1])
    draws = imputed(x, head, p, log_weights, tf.constant([0, 1])).numpy()
    assert set(draws[:, 0]) == {2.0}
    frequency = draws[:, 1:] == np.arange(3)
    assert_close_to_mean(frequency, np.array([0.4, 0.3, 0.3]) @ probs, errors=5)


def test_the_values_of_a_draw_are_of_one_z():
    """Two missing values that follow z agree in a draw."""
    head = Missing(Normal((2,), scale=0.01))
    loc = tf.constant([[[-5.0, -5.0]], [[5.0, 5.0]]])  # [K, 1, 2]
    p = head.distribution({"loc": loc, "scale": tf.fill((2, 1, 1), 0.01)})
    x = tf.constant([[NAN, NAN]])
    draws = np.array(
        [imputed(x, head, p, tf.zeros((2, 1)), tf.constant([1, s]))[0] for s in range(60)]
    )
    assert np.abs(draws[:, 0] - draws[:, 1]).max() < 0.2
    assert set(np.sign(draws[:, 0])) == {-1.0, 1.0}
    np.testing.assert_allclose(imputed(x, head, p, tf.zeros((2, 1))), [[0, 0]], atol=1e-6)


def test_a_size_factor_is_that_of_the_missing_count():
    vae = make_vae(likelihood=lambda: Missing(Poisson((3,), size_factor=True)))
    x = np.full((1, 3), NAN)
    one, ten = (vae.impute(x, 50, seed=0, size_factor=[s]).numpy() for s in (1.0, 10.0))
    np.testing.assert_allclose(ten, 10 * one, rtol=1e-4)


def test_a_table_is_imputed_by_columns():
    vae = make_vae(likelihood=LIKELIHOODS["Missing-Table"])
    x = data_for(vae.likelihood, 8)
    filled = vae.impute(x, num_samples=10)
    assert set(filled) == {"age", "visits", "plan", "member"}
    assert set(filled["plan"]) <= {0, 1, 2}
    probability = filled["member"][np.isnan(x[:, 3])]
    assert ((probability > 0) & (probability < 1)).all()


def test_a_likelihood_that_knows_nothing_of_missing_values_refuses_them():
    vae = make_vae(likelihood=lambda: Normal((5,)))
    with pytest.raises(ValueError, match="outside the support of Normal"):
        vae.impute(ROWS)


def test_weights_are_those_of_what_is_observed():
    """By hand, of one row and two draws."""
    vae, row = linear_vae(), ROWS[:1]
    z = np.array([[[0.5, -0.2]], [[-1.0, 0.7]]], "float32")
    q = vae.encode(row)
    o = ~np.isnan(row[0])
    means = z[:, 0] @ W.T + B
    log_likelihood = tfd.Normal(means[:, o], SIGMA).log_prob(row[0, o]).numpy().sum(-1)
    np.testing.assert_allclose(vae.decode(z).log_prob(row)[:, 0], log_likelihood, rtol=1e-5)
    log_weights = log_likelihood + np.array(
        vae.prior.distribution().log_prob(z)[:, 0] - q.log_prob(z)[:, 0]
    )
    weights = np.exp(log_weights) / np.exp(log_weights).sum()
    filled = imputed(
        tf.constant(row),
        vae.likelihood,
        vae.decode(z),
        tf.constant(log_weights[:, None], tf.float32),
    )
    np.testing.assert_allclose(filled[0], np.where(o, row[0], weights @ means), rtol=1e-4)


def test_a_mask_within_a_source_is_a_mask():
    values = np.array([[1.0, 2.0], [3.0, 4.0]], "float32")
    mask = np.array([[True, False], [False, True]])
    source = data.Source(np.ma.array(values, mask=mask))
    np.testing.assert_array_equal(source.values, np.where(mask, np.nan, values))
