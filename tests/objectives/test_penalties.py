"""The bounds with a penalty on q(z) over the data."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from parts import LATENT_SIZE, assert_close_to_mean, assert_finite, discriminator
from scipy import stats
from tensorflow_probability import distributions as tfd

from keras_vae import posteriors, priors
from keras_vae.divergences import mmd_squared
from keras_vae.latents import SPHERE
from keras_vae.objectives import DIPVAE, ELBO, BetaTCVAE, FactorVAE, InfoVAE, Terms

D = 2


def terms_of(q, z, p=None, seed=(1, 2)):
    p = p or tfd.MultivariateNormalDiag(tf.zeros(z.shape[-1]), tf.ones(z.shape[-1]))
    likelihood = tf.zeros(z.shape[:2])
    kl = tf.reduce_mean(q.log_prob(z) - p.log_prob(z), 0)
    return Terms(likelihood, p.log_prob(z), q.log_prob(z), kl, z, q, p, tf.constant(seed))


def random_posterior(batch, size=D, seed=0):
    random = np.random.default_rng(seed)
    loc = random.normal(size=(batch, size)).astype("float32")
    scale = random.uniform(0.3, 1.2, size=(batch, size)).astype("float32")
    return tfd.MultivariateNormalDiag(loc, scale)


def correlated(count, correlation, seed=0):
    """Draws of a Normal, `[1, count, 2]`, and its total correlation."""
    cholesky = np.linalg.cholesky([[1.0, correlation], [correlation, 1.0]])
    draws = np.random.default_rng(seed).normal(size=(count, 2)) @ cholesky.T
    return tf.constant(draws[None], tf.float32), -0.5 * np.log(1 - correlation**2)


# The decomposition of the KL


@pytest.mark.parametrize("num_samples", [1, 3])
def test_the_three_parts_add_up_to_the_kl(num_samples):
    q = random_posterior(5)
    terms = terms_of(q, q.sample(num_samples, seed=0))
    parts = BetaTCVAE(1.0, 100, num_samples=num_samples).parts(terms)
    assert [part.shape for part in parts] == [(num_samples, 5)] * 3
    kl = terms.log_posterior - terms.log_prior
    np.testing.assert_allclose(tf.add_n(parts), kl, rtol=1e-4, atol=1e-5)


def gradients(objective, surrogate=True):
    arrays = [tf.constant(a) for a in (random_posterior(5).mean(), random_posterior(5).stddev())]
    with tf.GradientTape() as tape:
        tape.watch(arrays)
        q = tfd.MultivariateNormalDiag(*arrays)
        terms = terms_of(q, q.sample(objective.num_samples, seed=[0, 0]))
        value = (objective.surrogate if surrogate else objective.bound)(terms, 0)
    return tape.gradient(value, arrays)


def test_with_weights_of_one_it_is_the_elbo_with_the_sampled_kl():
    q = random_posterior(5)
    terms = terms_of(q, q.sample(1, seed=0))
    elbo, tcvae = ELBO(kl="sampled"), BetaTCVAE(beta=1.0, dataset_size=100)
    np.testing.assert_allclose(tcvae.bound(terms, 0), elbo.bound(terms, 0), rtol=1e-4)
    for found, expected in zip(gradients(tcvae), gradients(elbo), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_the_weights_of_a_batch_are_without_bias_for_q_of_z():
    """Over all batches of three of a data set of five, for each example that z is drawn for."""
    size, batch = 5, 3
    whole = random_posterior(size)
    z = whole.sample(1, seed=0)  # [1, N, D]
    exact = whole.prob(z[:, :, None]).numpy().mean(-1)[0]  # q(z_i) over the data set
    sums, counts = np.zeros(size), np.zeros(size)
    for rows in map(list, itertools.combinations(range(size), batch)):
        q = tfd.MultivariateNormalDiag(
            tf.gather(whole.mean(), rows), tf.gather(whole.stddev(), rows)
        )
        terms = terms_of(q, tf.gather(z, rows, axis=1))
        information, _, _ = BetaTCVAE(1.0, size).parts(terms)
        sums[rows] += np.exp(terms.log_posterior - information)[0]
        counts[rows] += 1
    np.testing.assert_allclose(sums / counts, exact, rtol=1e-5)


def test_a_batch_that_is_the_data_set_has_equal_weights():
    q = random_posterior(4)
    z = q.sample(1, seed=0)
    information, correlation, _ = BetaTCVAE(1.0, 4).parts(terms_of(q, z))
    joint = np.log(q.prob(z[:, :, None]).numpy().mean(-1))
    np.testing.assert_allclose(q.log_prob(z) - information, joint, rtol=1e-4)
    each = tfd.Normal(q.mean(), q.stddev()).prob(z[:, :, None]).numpy().mean(2)
    np.testing.assert_allclose(correlation, joint - np.log(each).sum(-1), rtol=1e-4, atol=1e-5)


def test_the_total_correlation_of_many_examples_is_that_of_their_mixture():
    """Means from a correlated Normal and a fixed scale: q(z) is Normal, its TC known."""
    count, scale = 1_500, 0.5
    loc, _ = correlated(count, 0.9)
    q = tfd.MultivariateNormalDiag(loc[0], tf.fill((count, 2), scale))
    z = q.sample(1, seed=0)
    _, found, _ = BetaTCVAE(1.0, count).parts(terms_of(q, z))
    expected = -0.5 * np.log(1 - (0.9 / (1 + scale**2)) ** 2)
    assert abs(found.numpy().mean() - expected) < 0.05
    assert expected > 0.3


def test_the_total_correlation_of_a_small_batch_is_underestimated():
    """Where q(z) has none, the estimate is below 0: less it, the ELBO is no bound any more."""
    size, batch, objective = 6, 8, BetaTCVAE(4.0, 10_000, num_samples=20)
    means = []
    for seed in range(20):
        loc = tf.random.stateless_normal((batch, size), [seed, 0])
        q = tfd.MultivariateNormalDiag(loc, tf.fill((batch, size), 0.7))
        _, correlation, _ = objective.parts(terms_of(q, q.sample(20, seed=[seed, 1])))
        means.append(np.mean(correlation))
    assert np.mean(means) < -5 * np.std(means) / np.sqrt(len(means))
    assert not objective.is_lower_bound(0)


def test_one_example_has_no_penalty_of_its_own():
    q = random_posterior(1)
    terms = terms_of(q, q.sample(1, seed=0))
    information, correlation, by_dimension = BetaTCVAE(1.0, 100).parts(terms)
    np.testing.assert_allclose([information, correlation], np.zeros((2, 1, 1)), atol=1e-6)
    np.testing.assert_allclose(by_dimension[0], terms.kl, rtol=1e-5)


def test_each_part_has_its_weight():
    q = random_posterior(5)
    terms = terms_of(q, q.sample(1, seed=0))
    parts = BetaTCVAE(1.0, 100).parts(terms)
    value = BetaTCVAE(beta=2.0, dataset_size=100, alpha=3.0, gamma=5.0).bound(terms, 0)
    expected = -(3 * parts[0] + 2 * parts[1] + 5 * parts[2])[0]
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    assert BetaTCVAE(beta=2.0, dataset_size=100, alpha=3.0).beta_at(0) == 3.0


def test_the_parts_need_a_posterior_of_independent_dimensions():
    q = tfd.MultivariateNormalTriL(tf.zeros((3, D)), tf.eye(D))
    with pytest.raises(NotImplementedError, match="independent dimensions"):
        BetaTCVAE(1.0, 100).bound(terms_of(q, q.sample(1, seed=0)), 0)


# The discriminator


def built(gamma=3.0, num_samples=1):
    objective = FactorVAE(gamma, discriminator(), num_samples)
    objective.require(posteriors.DiagonalNormal(D), priors.StandardNormal(D))
    return objective


def by_everything(objective, terms_at):
    """The gradients of the surrogate by z and by the discriminator."""
    z = tf.constant(correlated(50, 0.8)[0])
    weights = [weight.value for weight in objective.discriminator.trainable_weights]
    with tf.GradientTape() as tape:
        tape.watch(z)
        surrogate = tf.reduce_sum(objective.surrogate(terms_at(z), 0))
    return tape.gradient(surrogate, [z, *weights])


def no_kl(z):
    """Terms in which z appears in the penalty alone."""
    still = terms_of(random_posterior(50), tf.stop_gradient(z))
    return still._replace(z=z)


def test_the_penalty_teaches_the_model_and_the_cross_entropy_the_discriminator():
    objective = built()
    by_z, *by_weights = by_everything(objective, no_kl)
    z = correlated(50, 0.8)[0]
    with tf.GradientTape() as tape:
        tape.watch(z)
        penalty = -3.0 * tf.reduce_sum(objective.discriminator(z[0]))
    np.testing.assert_allclose(by_z, tape.gradient(penalty, z), rtol=1e-5)
    with tf.GradientTape() as tape:
        permuted = objective._permuted(z, tf.constant([1, 2]))
        true, false = objective.discriminator(z[0]), objective.discriminator(permuted[0])
        logits, labels = tf.concat([true, false], 0), [[1.0]] * 50 + [[0.0]] * 50
        entropy = keras.losses.binary_crossentropy(labels, logits, from_logits=True)
        value = -50 * tf.reduce_mean(entropy)  # a mean over examples and their copies
    expected = tape.gradient(value, [w.value for w in objective.discriminator.trainable_weights])
    for found, gradient in zip(by_weights, expected, strict=True):
        np.testing.assert_allclose(found, gradient, rtol=1e-4, atol=1e-6)


def test_the_strength_of_the_penalty_is_nothing_to_the_discriminator():
    objective = built(gamma=0.0)
    strong = FactorVAE(100.0, objective.discriminator)
    _, *weak_gradients = by_everything(objective, no_kl)
    _, *strong_gradients = by_everything(strong, no_kl)
    for weak, strong in zip(weak_gradients, strong_gradients, strict=True):
        np.testing.assert_allclose(weak, strong, rtol=1e-6)


class BestDiscriminator(keras.layers.Layer):
    """`a (log q(z) - sum_d log q(z_d))` of a correlated Normal: the best there is at a = 1."""

    def __init__(self, correlation):
        super().__init__()
        self.correlation = correlation
        self.a = self.add_weight((), initializer="ones")

    def call(self, z):
        c = self.correlation
        x, y = z[:, :1], z[:, 1:]
        square = (x**2 - 2 * c * x * y + y**2) / (1 - c**2)
        return self.a * ((x**2 + y**2 - square) / 2 - 0.5 * np.log(1 - c**2))

    def compute_output_shape(self, shape):
        return (shape[0], 1)


def test_the_best_discriminator_gives_the_total_correlation():
    z, expected = correlated(5_000, 0.8)
    terms = terms_of(random_posterior(5_000), z)
    objective = FactorVAE(1.0, BestDiscriminator(0.8))
    found = terms.log_likelihood[0] - terms.kl - objective.bound(terms, 0)
    assert_close_to_mean(found, expected)


def test_the_best_discriminator_has_nothing_to_learn():
    """Which holds only if the permuted draws are draws of the product of the marginals."""
    best = BestDiscriminator(0.8)
    objective = FactorVAE(1.0, best)
    cholesky = tf.linalg.cholesky([[1.0, 0.8], [0.8, 1.0]])

    @tf.function
    def gradient(seed):
        z = tf.random.stateless_normal((1, 1_000, 2), seed) @ tf.transpose(cholesky)
        terms = terms_of(random_posterior(1_000), z)._replace(seed=seed + 1)
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(objective.surrogate(terms, 0))
        return tape.gradient(value, best.a.value)

    found = np.array([gradient(tf.constant([seed, 0])) for seed in range(30)])
    assert_close_to_mean(found, 0.0)
    best.a.assign(0.5)
    assert gradient(tf.constant([0, 0])) > 10 * np.std(found)


def test_a_permutation_keeps_the_values_of_each_dimension_and_breaks_their_ties():
    z, _ = correlated(500, 0.9)
    objective = built()
    permuted = objective._permuted(z, tf.constant([3, 4]))
    assert permuted.shape == z.shape
    np.testing.assert_array_equal(np.sort(permuted[0], axis=0), np.sort(z[0], axis=0))
    assert abs(np.corrcoef(permuted[0], rowvar=False)[0, 1]) < 0.2
    again = objective._permuted(z, tf.constant([3, 4]))
    np.testing.assert_array_equal(permuted, again)
    assert np.any(objective._permuted(z, tf.constant([4, 4])) != permuted)


def test_the_cross_entropy_is_no_part_of_the_reported_value():
    objective, z = built(), correlated(50, 0.8)[0]
    terms = terms_of(random_posterior(50), z)
    logits = objective.discriminator(z[0])[:, 0]
    np.testing.assert_allclose(objective.bound(terms, 0), -terms.kl - 3 * logits, rtol=1e-5)
    assert objective.networks() == (objective.discriminator,)


def test_a_half_precision_discriminator_serves_a_density_in_single_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    objective = built()
    value = objective.surrogate(terms_of(random_posterior(50), correlated(50, 0.8)[0]), 0)
    assert value.dtype == tf.float32
    assert_finite(value)


def test_the_weights_of_the_discriminator_exist_once_the_latent_size_is_known():
    assert built().discriminator.built
    assert len(built().discriminator.trainable_weights) == 4


def test_a_discriminator_of_another_shape_is_refused():
    objective = FactorVAE(1.0, keras.Sequential([keras.layers.Dense(2)]))
    with pytest.raises(ValueError, match="gives one logit for each z") as error:
        objective.require(posteriors.DiagonalNormal(D), priors.StandardNormal(D))
    assert "Received: [None, 2]" in str(error.value)


@pytest.mark.parametrize("network", [None, "mlp", keras.layers.Dense])
def test_a_discriminator_is_a_network(network):
    with pytest.raises(ValueError, match="`discriminator` of FactorVAE is a network"):
        FactorVAE(1.0, network)


# Moments


@pytest.mark.parametrize("kind", ["i", "ii"])
def test_a_posterior_with_correlations_within_has_a_covariance_too(kind):
    loc = np.random.default_rng(0).normal(size=(7, D)).astype("float32")
    tril = np.array([[0.5, 0.0], [0.4, 0.8]], "float32")
    q = tfd.MultivariateNormalTriL(loc, tril)
    terms = terms_of(q, q.sample(1, seed=0))
    found = -terms.kl - DIPVAE(2.0, 3.0, kind=kind).bound(terms, 0)
    c = np.cov(loc, rowvar=False, bias=True) + (tril @ tril.T if kind == "ii" else 0)
    expected = 2 * 2 * c[0, 1] ** 2 + 3 * ((np.diagonal(c) - 1) ** 2).sum()
    np.testing.assert_allclose(found, np.full(7, expected), rtol=1e-4)


def test_independent_families_have_a_covariance():
    """TFP's Independent has none."""
    loc = np.random.default_rng(0).normal(size=(7, D)).astype("float32")
    q = tfd.Independent(tfd.Laplace(loc, 0.5), 1)
    terms = terms_of(q, q.sample(1, seed=0))
    found = -terms.kl - DIPVAE(0.0, 1.0, kind="ii").bound(terms, 0)
    variances = loc.var(0) + 2 * 0.5**2
    np.testing.assert_allclose(found, np.full(7, ((variances - 1) ** 2).sum()), rtol=1e-4)


def test_an_aggregate_like_the_prior_has_no_penalty():
    loc = np.random.default_rng(0).normal(size=(400, D))
    loc = (loc - loc.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(loc.T, bias=True))).T
    for kind, share in (("i", 1.0), ("ii", 0.75)):
        q = tfd.MultivariateNormalDiag(
            np.sqrt(share) * loc, np.full((400, D), np.sqrt(1 - share) + 1e-9)
        )
        z = q.sample(1, seed=0)
        p = tfd.MultivariateNormalDiag(tf.zeros(D, z.dtype), tf.ones(D, z.dtype))
        terms = terms_of(q, z, p)._replace(log_likelihood=tf.zeros((1, 400), z.dtype))
        found = DIPVAE(2.0, 3.0, kind=kind).bound(terms, 0)
        np.testing.assert_allclose(found, -terms.kl, rtol=1e-6)


def test_moments_that_are_not_known_are_refused():
    q = tfd.Independent(tfd.LogitNormal(tf.zeros((4, D)), 1.0), 1)
    z = q.sample(1, seed=0)
    with pytest.raises(ValueError, match="DIPVAE needs the mean of q"):
        DIPVAE(1.0, 1.0).bound(terms_of(q, z), 0)


# The discrepancy


def discrepancy(objective, loc, scale, p=None):
    """The discrepancy's share of the bound, with its standard error, of K sets of draws."""
    q = tfd.MultivariateNormalDiag(loc, scale)
    z = q.sample(objective.num_samples, seed=[3, 4])
    terms = terms_of(q, z, p)
    value = -objective.bound(terms._replace(kl=tf.zeros_like(terms.kl)), 0)[0]
    other = np.random.default_rng(0).normal(size=z.shape).astype("float32")
    kernel = objective._kernel(z.shape[-1])
    sets = mmd_squared(z, z + 1e-3 * other, kernel), mmd_squared(other, z, kernel)
    return float(value), max(np.std(s) for s in sets) / np.sqrt(objective.num_samples)


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_the_discrepancy_has_mean_zero_where_the_aggregate_is_the_prior(kernel):
    objective = InfoVAE(1.0, 1.0, kernel=kernel, num_samples=2_000)
    value, error = discrepancy(objective, tf.zeros((10, D)), tf.ones((10, D)))
    assert 0 < abs(value) < 4 * error


def test_the_discrepancy_of_two_normals_is_the_closed_form():
    """`E k(x, y) = prod_d sqrt(w^2 / v) exp(-m^2 / 2 v)`, v the sum of width and variances."""
    objective = InfoVAE(1.0, 1.0, kernel="rbf", width=1.3, num_samples=2_000)
    found, error = discrepancy(objective, tf.fill((20, 1), 0.7), tf.fill((20, 1), 0.5))

    def mean_kernel(mean, variance):
        total = 1.3**2 + variance
        return np.sqrt(1.3**2 / total) * np.exp(-(mean**2) / (2 * total))

    expected = mean_kernel(0, 0.5) + mean_kernel(0, 2) - 2 * mean_kernel(0.7, 1.25)
    assert abs(found - expected) < 4 * error < expected / 5


def test_a_prior_for_each_example_is_drawn_from_for_each():
    loc = tf.constant(np.random.default_rng(0).normal(size=(40, D)) * 5, tf.float32)
    p = tfd.MultivariateNormalDiag(loc, tf.ones((40, D)))
    objective = InfoVAE(1.0, 1.0, width=0.5, num_samples=20)
    same, _ = discrepancy(objective, loc, tf.ones((40, D)), p)
    other, _ = discrepancy(objective, loc, tf.ones((40, D)))
    assert abs(same) < other / 20


def test_draws_far_from_the_prior_are_drawn_to_it():
    q = tfd.MultivariateNormalDiag(tf.fill((30, D), 5.0), tf.ones((30, D)))
    z = tf.constant(q.sample(1, seed=0))
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = InfoVAE(1.0, 1.0).bound(terms_of(random_posterior(30), z)._replace(z=z), 0)
    by_z = tape.gradient(value, z).numpy()
    assert (by_z.mean(1) < 0).all()
    assert tf.reduce_mean(value) < -0.5


def test_the_elbo_is_a_special_case():
    q = random_posterior(5)
    terms = terms_of(q, q.sample(1, seed=0))
    np.testing.assert_allclose(
        InfoVAE(alpha=0.0, lambda_=1.0).bound(terms, 0), ELBO().bound(terms, 0), rtol=1e-6
    )
    assert InfoVAE(alpha=0.25, lambda_=10.0).beta_at(0) == 0.75


# Arguments and supports


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BetaTCVAE(-1.0, 10), "`beta` of BetaTCVAE is the weight"),
        (lambda: BetaTCVAE(1.0, 0), "`dataset_size` of BetaTCVAE is the number"),
        (lambda: BetaTCVAE(1.0, 10, alpha="1"), "`alpha` of BetaTCVAE is the weight"),
        (lambda: BetaTCVAE(1.0, 10, gamma=float("nan")), "`gamma` of BetaTCVAE is the weight"),
        (lambda: FactorVAE(-1.0, discriminator()), "`gamma` of FactorVAE is the weight"),
        (lambda: DIPVAE(-1.0, 1.0), "`lambda_offdiagonal` of DIPVAE is the weight"),
        (lambda: DIPVAE(1.0, None), "`lambda_diagonal` of DIPVAE is the weight"),
        (lambda: DIPVAE(1.0, 1.0, kind="iii"), "`kind` of DIPVAE is unknown"),
        (lambda: InfoVAE(1.5, 1.0), "`alpha` of InfoVAE is one minus"),
        (lambda: InfoVAE("0", 1.0), "`alpha` of InfoVAE is one minus"),
        (lambda: InfoVAE(0.5, 0.4), "`lambda_` of InfoVAE is the weight"),
        (lambda: InfoVAE(0.5, float("inf")), "`lambda_` of InfoVAE is the weight"),
        (lambda: InfoVAE(1.0, 1.0, kernel="linear"), "`kernel` of InfoVAE is unknown"),
        (lambda: InfoVAE(1.0, 1.0, width=0.0), "`width` of InfoVAE is the kernel's"),
    ],
)
def test_arguments_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "Received: " in str(error.value)


class OnSphere(posteriors.DiagonalNormal):
    support = SPHERE


@pytest.mark.parametrize(
    "make",
    [
        lambda: BetaTCVAE(4.0, 100),
        lambda: FactorVAE(4.0, discriminator()),
        lambda: DIPVAE(1.0, 1.0),
    ],
)
def test_directions_on_a_sphere_are_never_independent(make):
    with pytest.raises(ValueError, match="unit vectors") as error:
        make().require(OnSphere(LATENT_SIZE), priors.StandardNormal(LATENT_SIZE))
    assert "Received: OnSphere" in str(error.value)


def test_a_discrepancy_is_defined_on_a_sphere_too():
    InfoVAE(1.0, 1.0).require(OnSphere(LATENT_SIZE), priors.StandardNormal(LATENT_SIZE))


def test_the_total_correlation_by_scipy_is_that_of_the_tests():
    """Of a bivariate Normal, by a sum over a grid."""
    grid = np.linspace(-6, 6, 301)
    z = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    joint = stats.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]])
    ratio = joint.logpdf(z) - stats.norm.logpdf(z).sum(-1)
    found = (joint.pdf(z) * ratio).sum() * (grid[1] - grid[0]) ** 2
    assert correlated(2, 0.8)[1] == pytest.approx(found, rel=1e-4)
