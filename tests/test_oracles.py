"""The package against models whose log p(x) is known.

A linear Gaussian model `x = W z + b + eps`, `z ~ N(0, I)`, `eps ~ N(0, sigma^2 I)` is a VAE
whose networks are identities. With `M = W^T W + sigma^2 I`,
`log p(x) = log N(x; b, W W^T + sigma^2 I)`, `p(z|x) = N(M^-1 W^T (x - b), sigma^2 M^-1)` and
`ELBO(q) = log p(x) - KL(q || p(z|x))` (Tipping and Bishop 1999; Lucas et al. 2019).
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from linear_gaussian import VALUES, D, Linear, linear_vae, random_linear, set_exact_posterior
from parts import SHAPED, assert_close_to_mean, built, data_for, density, every
from scipy import stats
from sklearn.datasets import load_breast_cancer
from tensorflow_probability import distributions as tfd

from keras_vae import VAE, likelihoods, networks, objectives, posteriors, priors
from keras_vae.divergences import kl_divergence
from keras_vae.networks import inverse_positive

B = 4


def random_x(n=B):
    return np.random.default_rng(1).normal(size=(n, VALUES)) * 1.5


class SigmaPoints(tfd.MultivariateNormalTriL):
    """A Normal whose 2D "draws" are `loc +- sqrt(D) L_i`.

    Their mean of any quadratic is its expectation, so what is made of the log-densities of
    a linear Gaussian model is exact: no draw, no error.
    """

    def sample(self, sample_shape=(), seed=None, name="sample"):
        if sample_shape != 2 * D:
            return super().sample(sample_shape, seed=seed, name=name)
        columns = tf.unstack(np.sqrt(D) * self.scale_tril, axis=-1)
        return tf.stack([self.loc + sign * c for c in columns for sign in (1.0, -1.0)])

    @property
    def scale_tril(self):
        return self.parameters["scale_tril"]


class SigmaPointPosterior(posteriors.FullCovarianceNormal):
    def distribution(self, parameters):
        return SigmaPoints(parameters["loc"], parameters["scale_tril"])


class DiagonalSigmaPointPosterior(posteriors.DiagonalNormal):
    def distribution(self, parameters):
        return SigmaPoints(parameters["loc"], tf.linalg.diag(parameters["scale_diag"]))


SIGMA_POINTS = objectives.ELBO(num_samples=2 * D)
both_posteriors = pytest.mark.parametrize(
    "posterior", [SigmaPointPosterior, DiagonalSigmaPointPosterior]
)


def moments(vae, x):
    """Mean and lower triangle of q(z|x), `[B, D]` and `[B, D, D]`."""
    q = vae.encode(x)
    return q.mean().numpy(), q.scale_tril.numpy()


def normal_kl(mean, tril, other_mean, other_covariance):
    precision = np.linalg.inv(other_covariance)
    offset = mean - other_mean
    covariance = tril @ np.swapaxes(tril, -1, -2)
    logs = np.linalg.slogdet(other_covariance)[1] - np.linalg.slogdet(covariance)[1]
    squares = np.einsum("bi,ij,bj->b", offset, precision, offset)
    return 0.5 * (np.einsum("ij,bji->b", precision, covariance) + squares - D + logs)


@pytest.fixture
def double():
    """Double precision everywhere, so that "exactly" means ten digits."""
    keras.config.set_dtype_policy("float64")


# The value


@both_posteriors
@pytest.mark.usefixtures("double")
def test_the_elbo_is_log_p_x_less_the_kl_to_the_true_posterior(posterior):
    linear, x = random_linear(), random_x()
    vae = linear_vae(linear, posterior(D), SIGMA_POINTS)
    mean, tril = moments(vae, x)
    gap = normal_kl(mean, tril, linear.posterior_mean(x), linear.posterior_covariance)
    expected = linear.log_prob(x) - gap
    np.testing.assert_allclose(vae.elbo(x, num_samples=2 * D), expected, rtol=1e-10)
    np.testing.assert_allclose(vae.compute_loss(x), -expected.mean(), rtol=1e-10)


@pytest.mark.parametrize("posterior", [posteriors.DiagonalNormal, posteriors.FullCovarianceNormal])
def test_the_elbo_of_random_draws_has_that_expectation(posterior):
    linear, x = random_linear(), random_x()
    vae = linear_vae(linear, posterior(D))
    q = vae.encode(x)
    tril = np.linalg.cholesky(q.covariance())
    gap = normal_kl(q.mean().numpy(), tril, linear.posterior_mean(x), linear.posterior_covariance)
    draws = vae.elbo(np.tile(x, (2_000, 1)), num_samples=5, seed=0).numpy().reshape(2_000, B)
    assert_close_to_mean(draws, linear.log_prob(x) - gap)


@pytest.mark.usefixtures("double")
def test_the_exact_posterior_closes_the_gap_for_every_draw():
    linear, x = random_linear(), random_x()
    for num_samples in (1, 5):
        objective = objectives.IWAE(num_samples)
        vae = linear_vae(linear, posteriors.FullCovarianceNormal(D), objective)
        set_exact_posterior(vae, linear)
        losses = [vae.compute_loss(x).numpy() for _ in range(10)]
        np.testing.assert_allclose(losses, -linear.log_prob(x).mean(), rtol=1e-10)


def test_the_exact_posterior_closes_the_gap_for_every_draw_in_single_precision():
    linear, x = random_linear(), random_x()
    vae = linear_vae(linear, posteriors.FullCovarianceNormal(D))
    set_exact_posterior(vae, linear)
    q, p = vae.encode(x), vae.prior.distribution()
    z = q.sample(50, seed=0)
    bound = vae.decode(z).log_prob(x.astype("float32")) + p.log_prob(z) - q.log_prob(z)
    np.testing.assert_allclose(bound, np.tile(linear.log_prob(x), (50, 1)), rtol=1e-5)


@pytest.mark.usefixtures("double")
def test_a_diagonal_posterior_closes_the_gap_only_if_the_columns_of_w_are_orthogonal():
    linear, x = random_linear(), random_x()
    orthogonal = np.linalg.qr(linear.w)[0] * [2.0, 0.5]
    for w, closes in ((orthogonal, True), (linear.w, False)):
        model = Linear(w, linear.b, linear.sigma)
        vae = linear_vae(model, DiagonalSigmaPointPosterior(D), SIGMA_POINTS)
        vae.posterior.projections["loc"].kernel.assign(
            w @ model.posterior_covariance / model.sigma**2
        )
        vae.posterior.projections["loc"].bias.assign(model.posterior_mean(np.zeros(VALUES)))
        best = 1 / np.sqrt(np.diagonal(np.linalg.inv(model.posterior_covariance)))
        vae.posterior.projections["scale_diag"].kernel.assign(np.zeros((VALUES, D)))
        vae.posterior.projections["scale_diag"].bias.assign(inverse_positive(best))
        gap = model.log_prob(x) - vae.elbo(x, num_samples=2 * D).numpy()
        assert np.all(gap > -1e-10)
        assert np.all((gap < 1e-10) == closes)


# The gradient


def gradients_of(vae, x, weights):
    with tf.GradientTape() as tape:
        loss = vae.compute_loss(x)
    return [g.numpy() for g in tape.gradient(loss, [w.value for w in weights])]


def generative_weights(vae):
    return [
        vae.likelihood.projections["loc"].kernel,
        vae.likelihood.projections["loc"].bias,
        vae.likelihood.learned["scale"],
    ]


def generative_gradients(linear, x, mean, tril):
    """Of minus the bound, by W^T, b and the raw scale."""
    w, sigma = linear.w, linear.sigma
    covariance = tril @ np.swapaxes(tril, -1, -2)
    residual = x - mean @ w.T - linear.b
    by_w = (np.einsum("bi,bj->bij", residual, mean) - w @ covariance) / sigma**2
    by_b = residual / sigma**2
    spread = np.einsum("ij,bjk,ik->b", w, covariance, w)
    by_sigma = -VALUES / sigma + ((residual**2).sum(-1) + spread) / sigma**3
    raw = np.log(np.expm1(sigma - 1e-6))
    by_raw = by_sigma / (1 + np.exp(-raw))
    return [-by_w.mean(0).T, -by_b.mean(0), -by_raw.mean()]


@both_posteriors
@pytest.mark.usefixtures("double")
def test_the_gradient_by_the_generative_weights_is_that_of_the_bound(posterior):
    linear, x = random_linear(), random_x()
    vae = linear_vae(linear, posterior(D), SIGMA_POINTS)
    found = gradients_of(vae, x, generative_weights(vae))
    expected = generative_gradients(linear, x, *moments(vae, x))
    for gradient, analytic in zip(found, expected, strict=True):
        np.testing.assert_allclose(gradient, analytic, rtol=1e-9)


@pytest.mark.usefixtures("double")
def test_the_gradient_by_the_weights_of_the_posterior_is_that_of_the_bound():
    """By loc: `W^T (x - W loc - b) / sigma^2 - loc`; by L: `-(W^T W / sigma^2 + I) L + L^-T`."""
    linear, x = random_linear(), random_x()
    vae = linear_vae(linear, SigmaPointPosterior(D), SIGMA_POINTS)
    head = vae.posterior
    loc, scale_tril = head.projections["loc"], head.projections["scale_tril"]
    weights = [loc.kernel, loc.bias, scale_tril.kernel, scale_tril.bias]
    found = gradients_of(vae, x, weights)
    mean, tril = moments(vae, x)
    residual = x - mean @ linear.w.T - linear.b
    by_loc = residual @ linear.w / linear.sigma**2 - mean
    precision = np.linalg.inv(linear.posterior_covariance)
    by_tril = -precision @ tril + np.swapaxes(np.linalg.inv(tril), -1, -2)
    diagonal = np.diagonal(tril, axis1=1, axis2=2)
    by_diagonal = np.diagonal(by_tril, axis1=1, axis2=2) * -np.expm1(-(diagonal - 1e-6))
    by_raw = np.stack([by_diagonal[:, 1], by_tril[:, 1, 0], by_diagonal[:, 0]], -1)
    expected = [-x.T @ by_loc / B, -by_loc.mean(0), -x.T @ by_raw / B, -by_raw.mean(0)]
    for gradient, analytic in zip(found, expected, strict=True):
        np.testing.assert_allclose(gradient, analytic, rtol=1e-9)


def test_the_gradient_of_random_draws_has_that_expectation():
    linear, x = random_linear(), random_x()
    vae = linear_vae(linear, posteriors.FullCovarianceNormal(D), objectives.ELBO(num_samples=20))
    weights = generative_weights(vae)
    step = tf.function(lambda: _gradients(vae, tf.constant(x, tf.float32), weights))
    draws = [[g.numpy() for g in step()] for _ in range(200)]
    mean, tril = vae.encode(x).mean().numpy(), np.linalg.cholesky(vae.encode(x).covariance())
    expected = generative_gradients(linear, x, mean, tril)
    for gradients, analytic in zip(zip(*draws, strict=True), expected, strict=True):
        assert_close_to_mean(np.stack(gradients), analytic)


def _gradients(vae, x, weights):
    with tf.GradientTape() as tape:
        loss = vae.compute_loss(x)
    return tape.gradient(loss, [w.value for w in weights])


@pytest.mark.usefixtures("double")
def test_at_the_exact_posterior_the_gradient_is_that_of_log_p_x():
    """By W: `C^-1 (S C^-1 - I) W`, where C is the covariance of x in the model, S in the data."""
    linear, x = random_linear(), random_x(50)
    vae = linear_vae(linear, SigmaPointPosterior(D), SIGMA_POINTS)
    set_exact_posterior(vae, linear)
    by_w, by_b, _ = gradients_of(vae, x, generative_weights(vae))
    precision = np.linalg.inv(linear.w @ linear.w.T + linear.sigma**2 * np.eye(VALUES))
    scatter = (x - linear.b).T @ (x - linear.b) / len(x)
    expected = precision @ (scatter @ precision - np.eye(VALUES)) @ linear.w
    np.testing.assert_allclose(by_w, -expected.T, rtol=1e-9)
    np.testing.assert_allclose(by_b, -precision @ (x - linear.b).mean(0), rtol=1e-9)


# The importance-weighted bound


def losses(vae, x, repeats):
    x = tf.constant(x, tf.float32)
    loss = tf.function(lambda: vae.compute_loss(x, training=False))
    return np.array([loss().numpy() for _ in range(repeats)])


def test_the_importance_weighted_bound_grows_with_k_from_the_elbo_to_log_p_x():
    linear, x = random_linear(), random_x(1)
    vae = linear_vae(linear, DiagonalSigmaPointPosterior(D))
    elbo, log_p_x = vae.elbo(x, num_samples=2 * D).numpy().item(), linear.log_prob(x)
    previous = elbo
    many = np.tile(x, (2_000, 1))
    for k in (1, 3, 10, 100):
        vae = linear_vae(linear, posteriors.DiagonalNormal(D), objectives.IWAE(k))
        bounds = -losses(vae, many, 20)
        bound, error = bounds.mean(), bounds.std(ddof=1) / np.sqrt(20)
        assert bound < log_p_x + 4 * error
        if k == 1:
            assert abs(bound - previous) < 4 * error
        else:
            assert bound > previous
        previous = bound
    assert log_p_x - previous < 0.1 * (log_p_x - elbo)


@pytest.mark.parametrize("make", every(SHAPED))
def test_an_importance_weighted_estimate_is_the_integral_over_a_one_dimensional_z(make):
    vae = VAE(
        encoder=networks.mlp([4], activation="tanh"),
        decoder=networks.mlp([8], activation="tanh"),
        posterior=posteriors.DiagonalNormal(1),
        prior=priors.StandardNormal(1),
        likelihood=make((3,)),
        objective=objectives.IWAE(2_000),
        seed=0,
    )
    vae.compile()
    for part in (vae.decoder, vae.likelihood):
        for weight in part.trainable_weights:
            weight.assign(weight + 0.3 * keras.random.normal(weight.shape, seed=len(weight.path)))
    loc, scale = vae.posterior.projections.values()  # q(z|x) = N(0, 1.5^2), which misses nothing
    for weight, value in zip((*loc.weights, *scale.weights), (0.0, 0.0, 0.0, 1.25), strict=True):
        weight.assign(np.full(weight.shape, value))
    x = data_for(vae.likelihood, 1)
    grid = np.linspace(-9, 9, 4_001)
    parameters = vae.likelihood(vae.decoder(grid[:, None].astype("float32")))
    integrand = np.exp(density(vae.likelihood, parameters, x) + stats.norm.logpdf(grid))
    log_p_x = np.log(integrand.sum() * (grid[1] - grid[0]))
    assert_close_to_mean(-losses(vae, x, 50), log_p_x)


# What is learned


def ppca(x, latent_size):
    """The maximum of the mean log p(x) over W, b and sigma (Tipping and Bishop 1999)."""
    values = x.shape[1]
    eigenvalues = np.linalg.eigvalsh(np.cov(x, rowvar=False, bias=True))[::-1]
    noise = eigenvalues[latent_size:].mean()
    logs = np.log(eigenvalues[:latent_size]).sum() + (values - latent_size) * np.log(noise)
    return -0.5 * (values * np.log(2 * np.pi) + logs + values), noise


def test_a_linear_vae_learns_probabilistic_pca():
    """To 0.01 nats of 29.2 on the thirty measurements of 569 tumours, with three directions."""
    x = load_breast_cancer().data
    x = (x - x.mean(0)) / x.std(0)
    best, noise = ppca(x, 3)
    vae = VAE(
        encoder=networks.mlp([]),
        decoder=networks.mlp([]),
        posterior=posteriors.FullCovarianceNormal(3),
        prior=priors.StandardNormal(3),
        likelihood=likelihoods.Normal((30,), scale="shared"),
        objective=objectives.ELBO(),
        seed=0,
    )
    steps = 2_000
    rate = keras.optimizers.schedules.CosineDecay(0.03, steps)
    vae.compile(keras.optimizers.Adam(rate), jit_compile=True)
    rows = x.astype("float32")
    data = tf.data.Dataset.from_tensors(rows).repeat()
    vae.fit(data, steps_per_epoch=steps, verbose=0)
    w = vae.likelihood.projections["loc"].kernel.numpy().T.astype("float64")
    sigma = vae.likelihood.one_scale()
    model = stats.multivariate_normal(
        vae.likelihood.projections["loc"].bias.numpy(), w @ w.T + sigma**2 * np.eye(30)
    )
    log_p_x = model.logpdf(x).mean()
    assert best - 0.01 < log_p_x <= best + 1e-6
    assert sigma**2 == pytest.approx(noise, rel=0.01)
    elbo = np.mean([vae.elbo(rows, num_samples=100, seed=seed) for seed in range(10)])
    assert best - 0.01 < elbo < best + 0.005


# Where squared error comes from


@pytest.mark.parametrize("sigma", [0.1, 1.0, 3.0])
@pytest.mark.usefixtures("double")
def test_a_fixed_scale_has_the_value_and_gradient_of_squared_error(sigma):
    head = built(likelihoods.Normal((4, 4, 1), scale=sigma))
    random = np.random.default_rng(0)
    features, x = random.normal(size=(3, 5)), random.normal(size=(3, 4, 4, 1))
    weights = [weight.value for weight in head.trainable_weights]
    with tf.GradientTape(persistent=True) as tape:
        p = head.distribution(head(features))
        value = -p.log_prob(x)
        squared = tf.reduce_sum((x - p.mean()) ** 2, axis=(1, 2, 3)) / (2 * sigma**2)
    constant = 16 / 2 * np.log(2 * np.pi * sigma**2)
    np.testing.assert_allclose(value - squared, np.full(3, constant), rtol=1e-10)
    for ours, theirs in zip(
        tape.gradient(value, weights), tape.gradient(squared, weights), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_the_squared_error_of_a_draw_exceeds_that_of_the_mean_by_the_noise():
    head = built(likelihoods.Normal((4, 4, 1), scale=0.5))
    random = np.random.default_rng(0)
    features = random.normal(size=(3, 5)).astype("float32")
    x = random.normal(size=(3, 4, 4, 1)).astype("float32")
    p = head.distribution(head(features))
    draws = ((x - p.sample(4_000, seed=0).numpy()) ** 2).sum((2, 3, 4))
    of_mean = ((x - p.mean().numpy()) ** 2).sum((1, 2, 3))
    assert_close_to_mean(draws, of_mean + 16 * 0.5**2)


@pytest.mark.usefixtures("double")
def test_pixel_mean_squared_error_with_a_latent_mean_kl_is_an_elbo_of_a_wide_normal():
    """`D (mean_i (x_i - loc_i)^2 + mean_d KL_d) + constant = -ELBO` at `sigma^2 = d / 2 D`."""
    linear, x = random_linear(), random_x()
    sigma = np.sqrt(VALUES / (2 * D))
    vae = linear_vae(linear, SigmaPointPosterior(D), SIGMA_POINTS, scale=sigma)
    weights = [weight.value for weight in vae.trainable_weights]
    with tf.GradientTape() as tape:
        loss = vae.compute_loss(x)
    gradients = tape.gradient(loss, weights)
    with tf.GradientTape() as tape:
        q = vae.encode(x)
        z = q.sample(2 * D)
        squared = tf.reduce_mean((x - vae.decode(z).mean()) ** 2, axis=-1)
        kl = kl_divergence(q, vae.prior.distribution(), z) / D
        usual = tf.reduce_mean(squared) + tf.reduce_mean(kl)
    constant = VALUES / 2 * np.log(2 * np.pi * sigma**2)
    np.testing.assert_allclose(loss, D * usual + constant, rtol=1e-10)
    for ours, theirs in zip(gradients, tape.gradient(usual, weights), strict=True):
        np.testing.assert_allclose(ours, D * theirs, rtol=1e-8, atol=1e-12)
