"""q(z|x) on the sphere."""

import numpy as np
import pytest
import tensorflow as tf
from integration import assert_draws_are_of_the_density, expectations
from parts import assert_close_to_mean, assert_finite, built, every, features
from scipy import special, stats
from tensorflow_probability import distributions as tfd

from keras_vae import posteriors, priors
from keras_vae.distributions import sphere
from keras_vae.distributions.power_spherical import PowerSpherical
from keras_vae.distributions.von_mises_fisher import VonMisesFisher, moments
from keras_vae.divergences import is_exact, kl_divergence
from keras_vae.latents import SPHERE

SIZES = (2, 3, 4, 5, 10, 20, 101)
CONCENTRATIONS = (1e-3, 0.5, 7.0, 300.0, 1e5)

on_the_sphere = pytest.mark.parametrize("family", [VonMisesFisher, PowerSpherical])
heads = pytest.mark.parametrize(
    "make",
    every({k.__name__: k for k in (posteriors.VonMisesFisher, posteriors.PowerSpherical)}),
)


def directions(batch, size):
    z = np.random.default_rng(0).normal(size=(batch, size))
    return (z / np.linalg.norm(z, axis=-1, keepdims=True)).astype("float32")


def near(mean_direction, concentration):
    """Unit vectors about as far from each mean direction as a draw is."""
    noise = np.random.default_rng(1).normal(size=mean_direction.shape)
    z = mean_direction + noise / np.sqrt(concentration + 1)[:, None]
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def example(family, size, dtype="float32"):
    """One of each concentration."""
    mu = directions(len(CONCENTRATIONS), size)
    return family(tf.constant(mu, dtype), tf.constant(CONCENTRATIONS, dtype))


def log_area(size):
    return np.log(2) + size / 2 * np.log(np.pi) - special.gammaln(size / 2)


def power_spherical(size, kappa, cosine):
    """De Cao and Aziz (2020), equations 4 and 5."""
    alpha, beta = (size - 1) / 2 + kappa, (size - 1) / 2
    log_normaliser = (
        (alpha + beta) * np.log(2)
        + beta * np.log(np.pi)
        + special.gammaln(alpha)
        - special.gammaln(alpha + beta)
    )
    return kappa * np.log1p(cosine) - log_normaliser


def mean_length(family, size, kappa):
    """The length of E[z]."""
    if family is PowerSpherical:
        return kappa / (kappa + size - 1)
    return special.ive(size / 2, kappa) / special.ive(size / 2 - 1, kappa)


def exact_kl(family, size, kappa):
    """The KL to the uniform density, by SciPy."""
    if family is PowerSpherical:
        alpha, beta = (size - 1) / 2 + kappa, (size - 1) / 2
        mean = np.log(2) + special.digamma(alpha) - special.digamma(alpha + beta)
        return power_spherical(size, kappa, 0.0) + kappa * mean + log_area(size)
    order = size / 2 - 1
    log_bessel = np.log(special.ive(order, kappa)) + kappa
    log_normaliser = order * np.log(kappa) - size / 2 * np.log(2 * np.pi) - log_bessel
    return kappa * mean_length(family, size, kappa) + log_normaliser + log_area(size)


@pytest.mark.parametrize("size", SIZES)
def test_the_von_mises_fisher_density_is_scipys(size):
    q = example(VonMisesFisher, size, "float64")
    mu = q.mean_direction.numpy()
    mu /= np.linalg.norm(mu, axis=-1, keepdims=True)
    q = VonMisesFisher(tf.constant(mu), q.concentration)
    z = near(mu, np.array(CONCENTRATIONS))
    expected = [
        stats.vonmises_fisher(mu[b], kappa).logpdf(z[b]) for b, kappa in enumerate(CONCENTRATIONS)
    ]
    np.testing.assert_allclose(q.log_prob(z), expected, rtol=1e-7)


@pytest.mark.parametrize("size", SIZES)
def test_the_power_spherical_density_is_the_published_formula(size):
    mu = directions(len(CONCENTRATIONS), size).astype("float64")
    mu /= np.linalg.norm(mu, axis=-1, keepdims=True)
    q = PowerSpherical(tf.constant(mu), tf.constant(CONCENTRATIONS, "float64"))
    z = near(mu, np.array(CONCENTRATIONS))
    expected = power_spherical(size, np.array(CONCENTRATIONS), (mu * z).sum(-1))
    np.testing.assert_allclose(q.log_prob(z), expected, rtol=1e-7, atol=1e-7)


@on_the_sphere
@pytest.mark.parametrize("size", SIZES)
def test_single_precision_keeps_five_digits(family, size):
    single, double = example(family, size), example(family, size, "float64")
    z = single.sample(50, seed=0)
    expected = double.log_prob(tf.cast(z, "float64"))
    np.testing.assert_allclose(single.log_prob(z), expected, rtol=2e-5, atol=2e-4)


@on_the_sphere
def test_the_density_integrates_to_one_over_the_circle(family):
    q = example(family, 2)
    for b, kappa in enumerate(CONCENTRATIONS[:-1]):
        total, _ = expectations(q[b], SPHERE)
        assert total == pytest.approx(1, abs=1e-4), kappa
        assert_draws_are_of_the_density(q[b], SPHERE)


@on_the_sphere
@pytest.mark.parametrize("size", [2, 3, 4, 20])
def test_draws_are_unit_vectors_with_the_mean_of_the_family(family, size):
    q = example(family, size)
    z = q.sample(20_000, seed=0).numpy().astype("float64")
    np.testing.assert_allclose(np.linalg.norm(z, axis=-1), 1, atol=1e-6)
    length = mean_length(family, size, np.array(CONCENTRATIONS))
    along = (z * q.mean_direction.numpy()).sum(-1)
    assert_close_to_mean(along[:, :-1], length[:-1])
    np.testing.assert_allclose(along[:, -1].mean(), length[-1], atol=1e-5)
    mean = length[:, None] * q.mean_direction.numpy()
    np.testing.assert_allclose(q.mean(), mean, atol=1e-5)
    assert_close_to_mean(z[:, :-1], mean[:-1], errors=5)


@on_the_sphere
@pytest.mark.parametrize("size", SIZES)
def test_the_kl_to_the_uniform_is_the_closed_form(family, size):
    q, p = example(family, size), tfd.SphericalUniform(size)
    assert is_exact(q, p)
    kappa = np.array(CONCENTRATIONS)
    if size < 50:  # SciPy's Bessel functions underflow above
        expected = exact_kl(family, size, kappa)
        np.testing.assert_allclose(kl_divergence(q, p, None), expected, rtol=2e-5, atol=2e-6)
    z = q.sample(20_000 if size < 50 else 2_000, seed=0)
    kl = kl_divergence(q, p, z).numpy()
    assert_close_to_mean(q.log_prob(z)[:, 1:] - p.log_prob(z)[:, 1:], kl[1:])


@on_the_sphere
def test_the_kl_is_not_negative_and_has_a_gradient_at_any_concentration(family):
    kappa = tf.constant(np.geomspace(1e-6, 1e6, 200), "float32")
    mu = tf.constant(directions(200, 7))
    with tf.GradientTape() as tape:
        tape.watch(kappa)
        kl = family(mu, kappa).kl_divergence(tfd.SphericalUniform(7))
    assert kl.numpy().min() >= 0
    gradient = tape.gradient(kl, kappa).numpy()
    assert_finite(kl, gradient)
    double = exact_kl(
        family, 7, kappa.numpy().astype("float64") * np.array([[1 - 1e-4], [1 + 1e-4]])
    )
    expected = (double[1] - double[0]) / (2e-4 * kappa.numpy())
    within = slice(100, 190)  # where the difference has digits
    np.testing.assert_allclose(gradient[within], expected[within], rtol=1e-3)


@on_the_sphere
@pytest.mark.parametrize("size", [2, 3, 4, 20])
@pytest.mark.parametrize("kappa", [0.3, 4.0, 200.0])
def test_the_gradient_of_draws_by_the_concentration_is_unbiased(family, size, kappa):
    """Of E[<mu, z>] and of E[<mu, z>^3], against differences of their integrals."""
    concentration = tf.fill((20_000,), kappa)
    mu = tf.constant(np.repeat(directions(1, size), 20_000, 0))
    for power in (1, 3):
        with tf.GradientTape() as tape:
            tape.watch(concentration)
            z = family(mu, concentration).sample(seed=0)
            value = tf.reduce_sum(mu * z, -1) ** power
        gradient = tape.gradient(value, concentration)
        step = 1e-4 * kappa
        means = [cosine_moment(family, size, kappa + sign * step, power) for sign in (-1, 1)]
        assert_close_to_mean(gradient, (means[1] - means[0]) / (2 * step))


def cosine_moment(family, size, kappa, power):
    """E[cos(t)^power], by a sum over the angle t."""
    t = (np.arange(200_000) + 0.5) * np.pi / 200_000
    cosine = np.cos(t)
    log_density = kappa * (cosine - 1 if family is VonMisesFisher else np.log((1 + cosine) / 2))
    density = np.exp(log_density + (size - 2) * np.log(np.sin(t)))
    return (density * cosine**power).sum() / density.sum()


def test_a_draw_moves_with_the_concentration_as_by_the_inverse_distribution_function():
    """Of the cosine w in three dimensions: `F(w) = (e^(kw) - e^-k) / (e^k - e^-k)`."""
    kappa = tf.constant(np.geomspace(1e-2, 30, 500))
    mu = tf.constant(np.tile([[0.0, 0.6, 0.8]], (500, 1)))
    with tf.GradientTape() as tape:
        tape.watch(kappa)
        w = tf.reduce_sum(mu * VonMisesFisher(mu, kappa).sample(seed=0), -1)
    k = kappa.numpy()
    u = (np.exp(k * (w - 1)) - np.exp(-2 * k)) / -np.expm1(-2 * k)

    def inverse(k):
        return 1 + np.log(u + (1 - u) * np.exp(-2 * k)) / k

    np.testing.assert_allclose(inverse(k), w, atol=1e-9)
    expected = (inverse(k * (1 + 1e-5)) - inverse(k * (1 - 1e-5))) / (2e-5 * k)
    np.testing.assert_allclose(tape.gradient(w, kappa), expected, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("size", [2, 3, 10, 40])
def test_the_moments_of_the_angle_are_bessel_functions(size):
    kappa = np.geomspace(1e-3, 1e3, 60)
    log_integral, fall = moments(tf.constant(kappa), size)
    order = size / 2 - 1
    expected = np.log(special.ive(order, kappa)) - order * np.log(kappa)
    expected += size / 2 * np.log(2 * np.pi) - log_area(size - 1)
    np.testing.assert_allclose(log_integral, expected, rtol=1e-10, atol=1e-10)
    ratio = special.ive(order + 1, kappa) / special.ive(order, kappa)
    np.testing.assert_allclose(fall, 1 - ratio, rtol=1e-9)


@on_the_sphere
@pytest.mark.parametrize("size", [2, 3, 20])
@pytest.mark.parametrize("kappa", [1e-6, 1e6])
def test_draws_and_their_gradients_are_finite_at_the_ends(family, size, kappa):
    mu, concentration = tf.constant(directions(200, size)), tf.fill((200,), kappa)
    with tf.GradientTape() as tape:
        tape.watch((mu, concentration))
        q = family(mu, concentration)
        z = q.sample(50, seed=0)
        total = tf.reduce_sum(q.log_prob(z)) + tf.reduce_sum(z**3)
    assert_finite(total, *tape.gradient(total, (mu, concentration)))


@on_the_sphere
def test_the_opposite_direction_has_a_finite_log_density(family):
    q = example(family, 5)
    with tf.GradientTape() as tape:
        z = -q.mean_direction
        tape.watch(z)
        log_prob = q.log_prob(z)
    assert_finite(log_prob, tape.gradient(log_prob, z))


@on_the_sphere
def test_draws_are_about_their_own_direction_wherever_it_points(family):
    axes = np.concatenate([np.eye(4), -np.eye(4)]).astype("float32")
    z = family(tf.constant(axes), tf.fill((8,), 1e5)).sample(10, seed=0)
    np.testing.assert_allclose(z, np.tile(axes, (10, 1, 1)), atol=0.03)


@on_the_sphere
def test_xla_draws_from_the_same_distribution(family):
    q = example(family, 5)
    drawn = tf.function(lambda seed: q.sample(20_000, seed=seed), jit_compile=True)
    z = drawn(tf.constant([0, 1])).numpy()
    length = mean_length(family, 5, np.array(CONCENTRATIONS))
    assert_close_to_mean((z * q.mean_direction.numpy()).sum(-1)[:, :-1], length[:-1])


@heads
def test_the_centre_is_the_mean_direction(make):
    head = built(make(6))
    parameters = head(features(4))
    centre = head.centre(head.distribution(parameters))
    np.testing.assert_array_equal(centre, parameters["mean_direction"])
    np.testing.assert_allclose(np.linalg.norm(centre, axis=-1), 1, atol=1e-6)
    assert parameters["concentration"].shape == (4,)


@heads
@pytest.mark.parametrize("raw", [-1e4, -50.0, 0.0, 50.0, 1e4])
def test_features_of_any_size_give_a_direction_and_a_concentration(make, raw):
    head = built(make(3))
    for weight in head.weights:
        weight.assign(tf.fill(weight.shape, raw if weight.path.endswith("bias") else 0.0))
    with tf.GradientTape() as tape:
        parameters = head(features())
        kl = head.distribution(parameters).kl_divergence(tfd.SphericalUniform(3))
        total = tf.reduce_sum(parameters["mean_direction"] ** 3) + tf.reduce_sum(kl)
    np.testing.assert_allclose(np.linalg.norm(parameters["mean_direction"], axis=-1), 1, rtol=1e-6)
    concentration = parameters["concentration"].numpy()
    assert concentration.min() > 0
    assert concentration.max() < sphere.LARGEST_CONCENTRATION
    assert_finite(*tape.gradient(total, head.trainable_weights))


def test_features_of_zero_point_along_the_first_axis_and_can_leave_it():
    raw = tf.zeros((2, 3))
    with tf.GradientTape() as tape:
        tape.watch(raw)
        direction = sphere.direction(raw)
        second = tf.reduce_sum(direction[:, 1])
    np.testing.assert_array_equal(direction, [[1, 0, 0]] * 2)
    gradient = tape.gradient(second, raw).numpy()
    assert_finite(gradient)
    assert gradient[0, 1] > 0


@pytest.mark.parametrize(
    "make", [posteriors.VonMisesFisher, posteriors.PowerSpherical, priors.UniformSphere]
)
def test_a_sphere_has_two_dimensions_or_more(make):
    with pytest.raises(ValueError, match=r"Expected: 2 or more\. Received: latent_size=1"):
        make(1)


@pytest.mark.parametrize("size", [2, 3, 20])
def test_the_uniform_density_is_one_over_the_area(size):
    prior = priors.UniformSphere(size)
    prior.build(None)
    z = directions(5, size)
    np.testing.assert_allclose(prior.distribution().log_prob(z), -log_area(size), rtol=1e-6)
    assert prior.weights == []
