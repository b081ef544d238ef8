"""The families for counts: Poisson, negative binomial, with extra zeros."""

import numpy as np
import pytest
import tensorflow as tf
from parts import assert_finite, built, every, features, numpy
from scipy import special, stats

from keras_vae import likelihoods
from keras_vae.distributions import negative_binomial

FAMILIES = {
    "Poisson": likelihoods.Poisson,
    "NegativeBinomial": likelihoods.NegativeBinomial,
    "ZeroInflatedNegativeBinomial": likelihoods.ZeroInflatedNegativeBinomial,
}
X = np.array([0, 1, 2, 5, 30, 1_000], "float32")
INVERSE_DISPERSIONS = (1e-6, 1e-3, 0.1, 1, 7.99, 8, 8.01, 100, 1e4, 1e6)
MEANS = (1e-6, 0.01, 1, 30, 1e3, 1e4)

all_families = pytest.mark.parametrize("make", every(FAMILIES))


@all_families
def test_a_size_factor_multiplies_the_mean(make):
    head = built(make((4, 2), size_factor=True))
    parameters = head(features(3))
    factor = np.array([0.5, 1, 20], "float32")
    mean = head.distribution(parameters).mean()
    scaled = head.distribution(head.observed(parameters, factor)).mean()
    np.testing.assert_allclose(scaled, factor[:, None, None] * mean, rtol=1e-5)
    assert set(head.observed(parameters, factor)) == set(parameters)


@all_families
def test_a_size_factor_belongs_to_its_x_whichever_the_draw_of_z(make):
    head = built(make((2,), size_factor=True))
    parameters = {name: tf.stack([v, 2 * v]) for name, v in head(features(3)).items()}
    factor = tf.constant([0.5, 1, 20])
    together = head.observed(parameters, factor)
    for k in range(2):
        alone = head.observed({name: v[k] for name, v in parameters.items()}, factor)
        for name, value in alone.items():
            np.testing.assert_array_equal(together[name][k], value)


@all_families
def test_no_size_factor_is_one(make):
    head = built(make((2,), size_factor=True))
    parameters = head(features(3))
    assert head.observed(parameters, None) is parameters
    for name, value in head.observed(parameters, tf.ones(3)).items():
        np.testing.assert_array_equal(value, parameters[name])


@all_families
def test_a_family_takes_a_size_factor_only_where_it_says_so(make):
    assert make((2,), size_factor=True).takes_size_factor
    assert not make((2,)).takes_size_factor
    assert not likelihoods.Bernoulli((2,)).takes_size_factor
    said = make((2,), size_factor=True).statement().parameters
    assert sum("size factor" in source for source in said.values()) == 1


@all_families
@pytest.mark.parametrize("value", [None, 1, 0.0, "yes", np.ones(3)])
def test_size_factor_is_a_flag(make, value):
    with pytest.raises(ValueError, match="says whether a size factor is observed") as error:
        make((2,), size_factor=value)
    assert f"Received: {value!r}" in str(error.value)


@pytest.mark.parametrize("value", [None, 1.0, "gene", "per_channel", True])
@pytest.mark.parametrize("name", ["NegativeBinomial", "ZeroInflatedNegativeBinomial"])
def test_the_dispersion_is_shared_or_per_value(name, value):
    with pytest.raises(ValueError, match=f"`dispersion` of {name} says") as error:
        FAMILIES[name]((2,), dispersion=value)
    assert f"Received: {value!r}." in str(error.value)


@all_families
def test_the_encoder_is_given_logarithms(make):
    x = np.array([[0, 1, 1e6]], "float32")
    np.testing.assert_allclose(make((3,)).encoder_input(x), np.log(1 + x), rtol=1e-6)


@all_families
@pytest.mark.parametrize("x", [[0.5], [-1.0], [np.nan]])
def test_what_is_no_count_is_refused(make, x):
    with pytest.raises(ValueError, match="outside the support"):
        make((1,)).check(np.array([x], "float32"))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_starts_from_the_moments_of_the_data(name):
    """Of counts that vary more than a Poisson's: mean 3, variance 12."""
    head = FAMILIES[name]((2,))
    mean, variance = tf.fill((2,), 3.0), tf.fill((2,), 12.0)
    p = head.distribution(head.independent(mean, variance))
    np.testing.assert_allclose(p.mean(), mean, rtol=1e-5)
    if name != "Poisson":
        np.testing.assert_allclose(p.variance(), variance, rtol=1e-5)


@pytest.mark.parametrize("name", ["NegativeBinomial", "ZeroInflatedNegativeBinomial"])
def test_counts_that_vary_less_than_a_poissons_start_as_one(name):
    head = FAMILIES[name]((2,))
    parameters = head.independent(tf.constant([3.0, 0.0]), tf.zeros(2))
    np.testing.assert_allclose(parameters["inverse_dispersion"], [1e3, 1e3], rtol=1e-5)
    np.testing.assert_allclose(head.distribution(parameters).mean(), [3, 1e-4], rtol=1e-3)


def test_a_shared_dispersion_is_one_number_for_each_value_whatever_z():
    head = built(likelihoods.NegativeBinomial((3,)))
    head.learned["inverse_dispersion"].assign([-1.0, 0.0, 1.0])
    found = head(features(4))["inverse_dispersion"].numpy()
    expected = np.log1p(np.exp([-1.0, 0.0, 1.0])) + 1e-6
    np.testing.assert_allclose(found, np.tile(expected, (4, 1)), rtol=1e-6)
    head = built(likelihoods.NegativeBinomial((3,), "per_value"))
    assert not head.learned
    assert np.ptp(head(features(4))["inverse_dispersion"], axis=0).min() > 0


# The negative binomial


def grid(dtype):
    """x, mean and inverse dispersion in every combination, `[n]` each."""
    values = np.meshgrid(X, MEANS, INVERSE_DISPERSIONS, indexing="ij")
    return [value.reshape(-1).astype(dtype) for value in values]


def of_scipy(x, mean, t):
    """By SciPy's special functions: its `nbinom` loses digits where t is much above the mean."""
    x, mean, t = (np.asarray(value, "float64") for value in (x, mean, t))
    orders = special.gammaln(x + t) - special.gammaln(t) - special.gammaln(x + 1)
    return orders - t * np.log1p(mean / t) - x * np.log1p(t / mean)


@pytest.mark.parametrize(("dtype", "digits"), [("float32", 2e-6), ("float64", 1e-9)])
def test_the_mass_is_scipys_from_the_smallest_to_the_largest_dispersion(dtype, digits):
    """To the rounding of its largest terms, which are log x! and x log(mean) as in a Poisson's."""
    x, mean, t = grid(dtype)
    found, exact = negative_binomial.log_mass(x, mean, t).numpy(), of_scipy(x, mean, t)
    largest = special.gammaln(x + 1) + x * (1 + np.abs(np.log(mean))) + mean
    error = np.abs(found - exact) / (1 + np.abs(exact) + largest)
    assert error.max() < digits
    ordinary = (t < 1e4) & (t > 0.01) & (np.abs(np.log(mean)) < 10)
    nbinom = stats.nbinom.logpmf(x, t.astype("float64"), t / (t + mean.astype("float64")))
    np.testing.assert_allclose(found[ordinary], nbinom[ordinary], rtol=1e-4)


def test_the_limit_of_large_inverse_dispersions_is_the_poisson():
    x, mean = (value.astype("float32") for value in np.meshgrid(X[:-1], [0.01, 1.0, 30.0]))
    limit = negative_binomial.log_mass(x, mean, np.float32(1e6)).numpy()
    np.testing.assert_allclose(limit, stats.poisson.logpmf(x, mean), rtol=1e-5, atol=1e-3)


def test_the_gradient_is_that_of_the_closed_form():
    x, mean, t = grid("float64")
    variables = [tf.constant(mean), tf.constant(t)]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        log_mass = negative_binomial.log_mass(tf.constant(x), *variables)
    by_mean, by_t = tape.gradient(log_mass, variables)
    expected = (x - mean) * t / (mean * (mean + t))
    np.testing.assert_allclose(by_mean, expected, rtol=1e-7, atol=1e-12)
    expected = special.digamma(x + t) - special.digamma(t) - np.log1p(mean / t)
    expected += (mean - x) / (t + mean)
    np.testing.assert_allclose(by_t, expected, rtol=1e-6, atol=1e-9)


def test_the_gradient_in_single_precision_vanishes_in_the_limit_as_it_should():
    """d/dt is x (m - x / 2 + 1 / 2) / t^2 - ... of order 1e-12, where TFP's has noise of 1e-7."""
    x, mean, t = grid("float32")
    t_variable = tf.constant(t)
    with tf.GradientTape() as tape:
        tape.watch(t_variable)
        log_mass = negative_binomial.log_mass(x, mean, t_variable)
    found = tape.gradient(log_mass, t_variable).numpy()
    limit = (t == 1e6) & (np.maximum(x, mean) <= 30)
    assert np.abs(found[limit]).max() < 1e-9
    assert_finite(found)


@pytest.mark.parametrize("t", [1e-6, 0.01, 1e6])
def test_draws_are_finite_counts_at_every_dispersion(t):
    p = negative_binomial.NegativeBinomial(tf.fill((2_000,), 3.0), tf.fill((2_000,), t))
    draws = p.sample(5, seed=0).numpy()
    assert_finite(draws)
    assert np.all(draws == draws.round())
    assert draws.min() >= 0
    if t == 1e6:
        assert draws.mean() == pytest.approx(3, abs=5 * np.sqrt(3 / draws.size))
        assert draws.var() == pytest.approx(3, rel=0.1)


# Extra zeros


def test_extra_zeros_are_counted_at_any_log_odds():
    """`log(w + (1 - w) NB(0))` and its gradient, from nearly no extra zero to nearly only."""
    logits = np.array([-1e4, -50, -1, 0, 1, 50, 1e4])
    mean, t = 3.0, 2.0
    raw = tf.constant(logits, tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(raw)
        p = negative_binomial.ZeroInflatedNegativeBinomial(
            tf.fill((7,), mean), tf.fill((7,), t), raw
        )
        at_zero, at_four = p.log_prob(tf.zeros(7)), p.log_prob(tf.fill((7,), 4.0))
    nb = of_scipy(np.array([0.0, 4.0]), mean, t)
    expected = np.logaddexp(special.log_expit(logits), special.log_expit(-logits) + nb[0])
    np.testing.assert_allclose(at_zero, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(at_four, special.log_expit(-logits) + nb[1], rtol=1e-5)
    np.testing.assert_allclose(
        tape.gradient(at_four, raw), -special.expit(logits), rtol=1e-5, atol=1e-20
    )
    share = special.expit(logits) * np.exp(-expected)  # of the zeros, those that are extra
    np.testing.assert_allclose(
        tape.gradient(at_zero, raw), share - special.expit(logits), rtol=1e-4, atol=1e-6
    )


def test_without_extra_zeros_it_is_a_negative_binomial():
    mean, t = tf.constant([0.5, 3.0, 40.0]), tf.constant([0.3, 2.0, 50.0])
    plain = negative_binomial.NegativeBinomial(mean, t)
    inflated = negative_binomial.ZeroInflatedNegativeBinomial(mean, t, tf.fill((3,), -100.0))
    x = tf.range(60.0)[:, None]
    np.testing.assert_allclose(inflated.log_prob(x), plain.log_prob(x), rtol=2e-5)
    np.testing.assert_allclose(inflated.mean(), plain.mean())
    np.testing.assert_allclose(inflated.variance(), plain.variance())


def test_the_rate_of_a_poisson_is_the_exponential_while_it_is_small():
    head = likelihoods.Poisson((3,))
    raw = tf.constant([-10.0, -5.0, 50.0])
    rate = numpy(head.link({"rate": raw}))["rate"]
    np.testing.assert_allclose(rate[:2], np.exp([-10, -5]), rtol=0.05)
    assert rate[2] == pytest.approx(50, rel=1e-5)
