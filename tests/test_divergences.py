"""KL(q || p): the closed forms, and sampling where there is none."""

import numpy as np
import pytest
import tensorflow as tf
from parts import (
    LATENT_SIZE,
    POSTERIORS,
    PRIORS,
    assert_close_to_mean,
    assert_finite,
    built,
    every,
    features,
    normal_covariance,
    numpy,
)
from scipy import stats
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.blocks import Blocks
from keras_vae.divergences import (
    factors,
    is_exact,
    kl_divergence,
    kl_per_dimension,
    log_prob_per_dimension,
    mmd_squared,
)

NORMALS = ["DiagonalNormal", "FullCovarianceNormal", "LowRankNormal"]
all_posteriors = pytest.mark.parametrize("make", every(POSTERIORS))
normals = pytest.mark.parametrize("make", every({name: POSTERIORS[name] for name in NORMALS}))
# Every posterior with every prior on the same values of z.
all_pairs = pytest.mark.parametrize(
    ("make", "make_prior"),
    [
        pytest.param(make, make_prior, id=f"{name}-{prior}")
        for name, make in POSTERIORS.items()
        for prior, make_prior in PRIORS.items()
        if make().support == make_prior().support
    ],
)


def posterior_of(make, batch=4):
    head = built(make())
    parameters = head(features(batch))
    return parameters, head.distribution(parameters)


def prior_of(make):
    """p(z), batch `[]`, or `[1]` of a prior that is given a condition."""
    prior = make()
    prior.build((None, 3), 2 if prior.conditional else 0)
    condition = tf.ones((1, 2)) if prior.conditional else None
    if not prior.uses_encoder:
        return prior.distribution(condition)
    head = built(POSTERIORS["DiagonalNormal"]())
    return prior.distribution(
        condition, lambda x: head.distribution(head(tf.pad(x, [(0, 0), (0, 2)])))
    )


def standard_normal():
    return prior_of(PRIORS["StandardNormal"])


def normal_kl(loc, covariance, other_loc, other_covariance):
    """KL between Normals, one example: `[D]`, `[D, D]`, `[D]`, `[D, D]`."""
    precision = np.linalg.inv(other_covariance)
    offset = loc - other_loc
    logs = np.linalg.slogdet(other_covariance)[1] - np.linalg.slogdet(covariance)[1]
    return 0.5 * (np.trace(precision @ covariance) + offset @ precision @ offset - len(loc) + logs)


def mixture(batch=3):
    return tfd.MixtureSameFamily(
        tfd.Categorical(probs=[0.3, 0.7]),
        tfd.MultivariateNormalDiag(
            tf.constant([[[-1.0], [2.0]]]) * tf.reshape(tf.range(1.0, batch + 1), (batch, 1, 1)),
            tf.constant([[[0.5], [1.0]]]),
        ),
    )


@normals
def test_the_kl_to_a_standard_normal_is_the_closed_form(make):
    parameters, q = posterior_of(make)
    loc, covariance = numpy(parameters)["loc"], normal_covariance(parameters)
    nothing, identity = np.zeros(LATENT_SIZE), np.eye(LATENT_SIZE)
    expected = [normal_kl(loc[b], covariance[b], nothing, identity) for b in range(4)]
    kl = kl_divergence(q, standard_normal(), q.sample(1, seed=0))
    assert kl.shape == (4,)
    np.testing.assert_allclose(kl, expected, rtol=1e-5)


def test_the_kl_of_a_diagonal_posterior_is_the_formula_of_its_page():
    """`1/2 sum_d (scale_d^2 + loc_d^2 - 1 - log scale_d^2)`, Kingma and Welling (2014)."""
    parameters, q = posterior_of(POSTERIORS["DiagonalNormal"])
    loc, variance = numpy(parameters)["loc"], numpy(parameters)["scale_diag"] ** 2
    expected = 0.5 * (variance + loc**2 - 1 - np.log(variance)).sum(-1)
    np.testing.assert_allclose(kl_divergence(q, standard_normal(), None), expected, rtol=1e-5)


def test_the_kl_of_a_full_covariance_posterior_is_the_formula_of_its_page():
    """`1/2 (||L||_F^2 + ||loc||^2 - D) - sum_d log L_dd`."""
    parameters, q = posterior_of(POSTERIORS["FullCovarianceNormal"])
    loc, tril = numpy(parameters)["loc"], numpy(parameters)["scale_tril"]
    squares = (tril**2).sum((-1, -2)) + (loc**2).sum(-1) - LATENT_SIZE
    logs = np.log(np.diagonal(tril, axis1=-2, axis2=-1)).sum(-1)
    kl = kl_divergence(q, standard_normal(), None)
    np.testing.assert_allclose(kl, 0.5 * squares - logs, rtol=1e-5)


@all_pairs
def test_the_kl_is_the_mean_of_the_log_ratio_of_draws(make, make_prior):
    """In the limit if it is exact, else of the draws that there are."""
    (_, q), p = posterior_of(make), prior_of(make_prior)
    exact = is_exact(q, p)
    z = q.sample(10_000 if exact else 3, seed=0)
    ratio, kl = q.log_prob(z) - p.log_prob(z), kl_divergence(q, p, z)
    assert kl.shape == (4,)
    if exact:
        assert_close_to_mean(ratio, kl.numpy())
    else:
        np.testing.assert_allclose(kl, np.mean(ratio, axis=0), rtol=1e-5)


@all_posteriors
def test_the_kl_of_a_distribution_with_itself_is_zero(make):
    _, q = posterior_of(make)
    np.testing.assert_allclose(kl_divergence(q, q, q.sample(3, seed=0)), np.zeros(4), atol=1e-6)


def test_the_sampled_kl_of_a_distribution_with_itself_is_zero():
    q = mixture()
    np.testing.assert_array_equal(kl_divergence(q, q, q.sample(3, seed=0)), np.zeros(3))


@normals
@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0, 1e3])
def test_the_kl_of_a_normal_is_not_negative(make, size):
    head = built(make())
    q = head.distribution(head(size * features(256)))
    kl = kl_divergence(q, standard_normal(), None).numpy()
    assert np.isfinite(kl).all()
    assert kl.min() >= 0


@all_pairs
def test_an_exact_kl_is_not_negative(make, make_prior):
    (_, q), p = posterior_of(make, batch=64), prior_of(make_prior)
    if is_exact(q, p):
        assert kl_divergence(q, p, None).numpy().min() >= 0


def test_the_kl_of_the_prior_is_zero_at_its_parameters():
    head = built(POSTERIORS["DiagonalNormal"]())
    q = head.distribution({"loc": tf.zeros((2, 2)), "scale_diag": tf.ones((2, 2))})
    np.testing.assert_allclose(kl_divergence(q, standard_normal(), None), [0, 0], atol=1e-7)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e4])
@pytest.mark.parametrize("loc", [0.0, 1e4])
def test_the_kl_keeps_its_digits_at_extreme_parameters(scale, loc):
    head = built(POSTERIORS["DiagonalNormal"]())
    q = head.distribution({"loc": tf.fill((1, 2), loc), "scale_diag": tf.fill((1, 2), scale)})
    expected = scale**2 + loc**2 - 1 - 2 * np.log(scale)
    np.testing.assert_allclose(kl_divergence(q, standard_normal(), None), [expected], rtol=1e-5)


def test_a_pair_without_a_closed_form_is_sampled():
    q, p = mixture(), tfd.MultivariateNormalDiag(tf.zeros(1), tf.ones(1))
    z = q.sample(7, seed=0)
    expected = np.mean(q.log_prob(z) - p.log_prob(z), axis=0)
    kl = kl_divergence(q, p, z)
    assert kl.shape == (3,)
    np.testing.assert_allclose(kl, expected, rtol=1e-6)


def test_the_sampled_kl_is_right_within_its_error():
    q, p = mixture(), tfd.MultivariateNormalDiag(tf.zeros(1), tf.ones(1))
    grid = np.linspace(-15, 20, 20_001, dtype="float32").reshape(-1, 1, 1)
    log_q = q.log_prob(grid).numpy().astype("float64")
    log_p = p.log_prob(grid).numpy().astype("float64")
    expected = (np.exp(log_q) * (log_q - log_p)).sum(0) * (grid[1] - grid[0]).item()
    z = q.sample(20_000, seed=0)
    error = np.std(q.log_prob(z) - p.log_prob(z), axis=0) / np.sqrt(20_000)
    np.testing.assert_array_less(np.abs(kl_divergence(q, p, z) - expected), 4 * error)


def test_the_sampled_kl_has_a_gradient_towards_the_prior():
    """Of `E_q[log q - log p]` the derivative by p's mean m is `m - E_q[z]`."""
    loc = tf.Variable([0.5])
    q = mixture()
    z = q.sample(5, seed=0)
    with tf.GradientTape() as tape:
        kl = kl_divergence(q, tfd.MultivariateNormalDiag(loc, tf.ones(1)), z)
    expected = np.sum(0.5 - np.mean(z, axis=0))
    np.testing.assert_allclose(tape.gradient(kl, loc), [expected], rtol=1e-5)


@normals
def test_whether_the_kl_is_exact_is_known(make):
    _, q = posterior_of(make)
    assert is_exact(q, standard_normal())
    assert not is_exact(mixture(), tfd.MultivariateNormalDiag(tf.zeros(1), tf.ones(1)))


@normals
def test_the_exact_kl_does_not_depend_on_the_draws(make):
    _, q = posterior_of(make)
    first, second = (kl_divergence(q, standard_normal(), q.sample(1, seed=s)) for s in (0, 1))
    np.testing.assert_array_equal(first, second)


# Dimension by dimension


def normal(size=3, batch=4, seed=0):
    random = np.random.default_rng(seed)
    loc = random.normal(size=(batch, size)).astype("float32")
    scale = random.uniform(0.3, 2.0, size=(batch, size)).astype("float32")
    return tfd.MultivariateNormalDiag(loc, scale)


def laplace(size=2, batch=4):
    loc = np.random.default_rng(1).normal(size=(batch, size)).astype("float32")
    return tfd.Independent(tfd.Laplace(loc, 0.7), 1)


INDEPENDENT = {
    "normal": normal,
    "normal-of-one-scale": lambda: tfd.MultivariateNormalDiag(normal().mean()),
    "normal-of-one-loc": lambda: tfd.MultivariateNormalDiag(scale_diag=normal().stddev()),
    "laplace": laplace,
    "bernoulli": lambda: tfd.Independent(tfd.Bernoulli(logits=normal().mean(), dtype="float32"), 1),
    "blocks": lambda: Blocks([normal(3), laplace(2), normal(1)]),
    "blocks-of-blocks": lambda: Blocks([normal(1), Blocks([laplace(2), normal(2)])]),
}
independent = pytest.mark.parametrize("make", every(INDEPENDENT))


@independent
def test_the_log_densities_of_the_dimensions_add_up(make):
    q = make()
    z = q.sample(5, seed=0)
    found = log_prob_per_dimension(q, z)
    assert found.shape == z.shape
    np.testing.assert_allclose(tf.reduce_sum(found, -1), q.log_prob(z), rtol=1e-5)
    assert sum(factor.batch_shape[-1] for factor in factors(q)) == z.shape[-1]


def test_the_log_density_of_a_dimension_is_its_own():
    q = normal()
    z = q.sample(5, seed=0)
    expected = stats.norm.logpdf(z, q.mean(), q.stddev())
    np.testing.assert_allclose(log_prob_per_dimension(q, z), expected, rtol=1e-5)


def test_the_kls_of_the_dimensions_are_those_of_their_distributions():
    q, p = normal(), normal(batch=1, seed=7)[0]
    found = kl_per_dimension(q, p)
    assert found.shape == (4, 3)
    expected = tfd.Normal(q.mean(), q.stddev()).kl_divergence(tfd.Normal(p.mean(), p.stddev()))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(tf.reduce_sum(found, -1), q.kl_divergence(p), rtol=1e-5)


def test_the_blocks_of_posterior_and_prior_may_differ():
    whole = tfd.MultivariateNormalDiag(tf.zeros(5), 1.5 * tf.ones(5))
    parts = Blocks([normal(2), normal(3, seed=3)])
    two = Blocks([whole[...], tfd.MultivariateNormalDiag(tf.ones(1), tf.ones(1))])
    three = Blocks([normal(1, seed=5), normal(4), normal(1, seed=8)])
    z = parts.sample(3, seed=0)
    for q, p, draws in ((parts, whole, z), (three, two, three.sample(3, seed=0))):
        found = kl_per_dimension(q, p)
        ratio = log_prob_per_dimension(q, draws) - log_prob_per_dimension(p, draws)
        assert found.shape == ratio.shape[1:]
        loc, scale = q.mean(), np.sqrt(q.variance())
        by_dimension = tfd.Normal(loc, scale).kl_divergence(
            tfd.Normal(p.mean(), np.sqrt(p.variance()))
        )
        np.testing.assert_allclose(found, by_dimension, rtol=1e-4)


def test_a_dimension_without_a_closed_form_is_sampled_and_the_others_are_not():
    q = Blocks([normal(2), tfd.Independent(tfd.Gumbel(tf.zeros((4, 1)), 1.0), 1)])
    p = tfd.MultivariateNormalDiag(tf.zeros(3), tf.ones(3))
    z = q.sample(7, seed=0)
    found = kl_per_dimension(q, p, z)
    exact = kl_per_dimension(q.blocks[0], tfd.MultivariateNormalDiag(tf.zeros(2), tf.ones(2)))
    np.testing.assert_allclose(found[:, :2], exact, rtol=1e-5)
    ratio = log_prob_per_dimension(q, z) - log_prob_per_dimension(p, z)
    np.testing.assert_allclose(found[:, 2], np.mean(ratio[..., 2], 0), rtol=1e-5)
    with pytest.raises(NotImplementedError):
        kl_per_dimension(q, p)


@pytest.mark.parametrize(
    "make",
    [
        lambda: tfd.MultivariateNormalTriL(tf.zeros((4, 2)), tf.eye(2)),
        lambda: mixture(),
        lambda: tfd.SphericalUniform(3),
        lambda: Blocks([normal(1), tfd.SphericalUniform(3)]),
        lambda: tfd.Independent(tfd.OneHotCategorical(tf.zeros((4, 2, 3))), 1),
        lambda: tfd.Independent(normal(), 0),
    ],
)
def test_dimensions_that_are_not_independent_are_refused(make):
    with pytest.raises(NotImplementedError, match="whose dimensions are independent") as error:
        factors(make())
    assert "Received: " in str(error.value)


@pytest.mark.parametrize("compiled", [False, True])
def test_dimensions_are_the_same_in_a_graph(compiled):
    def both(loc, z):
        scale = tf.math.softplus(loc)
        blocks = [(loc[:, :2], scale[:, :2]), (loc[:, 2:], scale[:, 2:])]
        q = Blocks([tfd.MultivariateNormalDiag(*block) for block in blocks])
        p = tfd.MultivariateNormalDiag(tf.zeros(3), tf.ones(3))
        return kl_per_dimension(q, p), log_prob_per_dimension(q, z)

    loc, z = normal().mean(), normal().sample(2, seed=0)
    signature = [tf.TensorSpec((None, 3)), tf.TensorSpec((2, None, 3))]
    graph = tf.function(both, signature, jit_compile=compiled)
    for found, expected in zip(graph(loc, z), both(loc, z), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


# Two sets of draws


def rbf(r2):
    return tf.exp(-r2 / 2)


def two_sets(repeats=2_000, shift=0.0):
    random = np.random.default_rng(0)
    z, y = random.normal(size=(2, repeats, 8, 2))
    return tf.constant(z), tf.constant(y + shift)


def test_the_discrepancy_is_the_mean_over_pairs():
    z, y = (a.numpy() for a in two_sets(3))
    k = lambda a, b: np.exp(-((a - b) ** 2).sum() / 2)  # noqa: E731, a letter
    for found, (zs, ys) in zip(mmd_squared(z, y, rbf), zip(z, y, strict=True), strict=True):
        pairs = [
            k(zs[i], zs[j]) + k(ys[i], ys[j]) - k(zs[i], ys[j]) - k(ys[i], zs[j])
            for i in range(8)
            for j in range(8)
            if i != j
        ]
        assert float(found) == pytest.approx(np.mean(pairs))


def test_the_discrepancy_of_equal_distributions_has_mean_zero():
    found = mmd_squared(*two_sets(), rbf).numpy()
    assert found.min() < 0 < found.max()
    assert_close_to_mean(found, 0.0)


def test_the_discrepancy_of_two_normals_has_the_closed_form_as_its_mean():
    """`E k(z, y) = 3^-1 exp(-|m|^2 / 6)` for standard Normals that are m apart."""
    found = mmd_squared(*two_sets(shift=1.0), rbf).numpy()
    assert_close_to_mean(found, 2 / 3 * (1 - np.exp(-2 / 6)))


def test_the_discrepancy_of_single_draws_is_zero():
    z, y = two_sets(3)
    np.testing.assert_array_equal(mmd_squared(z[:, :1], y[:, :1], rbf), np.zeros(3))


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_the_discrepancy_and_its_gradient_are_finite(offset):
    z = tf.constant(np.repeat([[[0.5, -0.5]]], 4, axis=1) + offset, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = mmd_squared(z, -z, rbf)
    assert_finite(value, tape.gradient(value, z))


def test_the_discrepancy_compiles_with_its_gradient():
    """The size of the batch is not known when a step of training is traced."""
    z, y = (tf.cast(a, "float32") for a in two_sets(3, shift=0.5))

    def both(z, y):
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = mmd_squared(z, y, rbf)
        return value, tape.gradient(value, z)

    signature = [tf.TensorSpec((3, None, 2))] * 2
    compiled = tf.function(both, jit_compile=True, input_signature=signature)
    for fast, slow in zip(compiled(z, y), both(z, y), strict=True):
        np.testing.assert_allclose(fast, slow, rtol=1e-4, atol=1e-5)
