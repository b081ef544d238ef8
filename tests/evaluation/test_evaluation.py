"""Held-out numbers against numbers computed otherwise."""

import gc
import weakref

import numpy as np
import pytest
from linear_gaussian import VALUES, D, linear_vae, random_linear, set_exact_posterior
from parts import OBJECTIVES, POSTERIORS, PRIORS, data_for, make_vae
from scipy import stats

import keras_vae
from keras_vae import evaluation
from keras_vae.data import Source
from keras_vae.evaluation import latent
from keras_vae.evaluation.bound import estimate


def small_vae(likelihood):
    return keras_vae.VAE(
        keras_vae.networks.mlp([8]),
        keras_vae.networks.mlp([8]),
        keras_vae.posteriors.DiagonalNormal(3),
        keras_vae.priors.StandardNormal(3),
        likelihood,
        seed=0,
    )


def test_an_estimate_is_a_mean_with_its_standard_error():
    values = np.random.default_rng(0).normal(size=50)
    result = estimate(values)
    assert result.mean == pytest.approx(values.mean())
    assert result.standard_error == pytest.approx(stats.sem(values))
    assert result.num_examples == 50


def test_the_bound_is_the_mean_of_the_models_own():
    vae = small_vae(keras_vae.likelihoods.Normal((4,)))
    x = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
    expected = np.mean(vae.elbo(x, num_samples=4000, seed=5))
    result = evaluation.elbo(vae, x, num_samples=4000, memory=1)
    assert result.mean == pytest.approx(expected, abs=0.02)
    assert result.num_examples == 30


def test_the_bound_is_the_same_for_the_same_seed():
    vae = small_vae(keras_vae.likelihoods.Normal((4,)))
    x = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
    assert evaluation.elbo(vae, x, seed=1) == evaluation.elbo(vae, x, seed=1)
    assert evaluation.elbo(vae, x, seed=1) != evaluation.elbo(vae, x, seed=2)


def test_the_baseline_of_bits_is_that_of_independent_pixels():
    rng = np.random.default_rng(0)
    p = np.array([0.1, 0.5, 0.9])
    train, test = rng.random((500, 3)) < p, rng.random((200, 3)) < p
    result = evaluation.independent_baseline(
        keras_vae.likelihoods.Bernoulli((3,)), train.astype("uint8"), test.astype("uint8")
    )
    expected = stats.bernoulli.logpmf(test, train.mean(axis=0)).sum(axis=1)
    assert result.mean == pytest.approx(expected.mean(), rel=1e-5)
    assert result.standard_error == pytest.approx(stats.sem(expected), rel=1e-4)


def test_a_baseline_of_what_the_likelihood_does_not_take_is_refused():
    bits, grey = np.zeros((4, 3), "float32"), np.full((4, 3), 0.5, "float32")
    for train, test, argument in ((grey, bits, "x_train"), (bits, grey, "x")):
        with pytest.raises(ValueError, match=f"`{argument}` is outside the support of Bernoulli"):
            evaluation.independent_baseline(keras_vae.likelihoods.Bernoulli((3,)), train, test)


@pytest.mark.parametrize("scale", [0.7, "shared", "per_value"])
def test_the_baseline_of_real_values_is_that_of_independent_normals(scale):
    rng = np.random.default_rng(0)
    train, test = rng.normal([1, 2], [0.5, 3], (400, 2)), rng.normal([1, 2], [0.5, 3], (300, 2))
    sigma = {"shared": np.sqrt(train.var(axis=0).mean()), "per_value": train.std(axis=0)}
    expected = stats.norm.logpdf(test, train.mean(axis=0), sigma.get(scale, scale)).sum(axis=1)
    likelihood = keras_vae.likelihoods.Normal((2,), scale=scale)
    result = evaluation.independent_baseline(likelihood, train, test)
    assert result.mean == pytest.approx(expected.mean(), rel=1e-4)


def test_the_baseline_of_counts_is_the_rate_times_the_size_factor():
    """The maximum likelihood of a Poisson's rate for a size of 1: all counts over all sizes."""
    rng = np.random.default_rng(0)
    sizes = rng.uniform(5, 15, 400)
    x = rng.poisson(sizes[:, None] * [0.5, 2.0]).astype("float32")
    train, test = (Source(x[i], size_factor=sizes[i]) for i in (slice(300), slice(300, None)))
    rate = x[:300].sum(axis=0) / sizes[:300].sum()
    expected = stats.poisson.logpmf(x[300:], sizes[300:, None] * rate).sum(axis=1).mean()
    likelihood = keras_vae.likelihoods.Poisson((2,), size_factor=True)
    result = evaluation.independent_baseline(likelihood, train, test)
    assert result.mean == pytest.approx(expected, rel=1e-5)


def test_the_kl_of_the_dimensions_adds_up_to_the_kl_of_the_bound():
    vae = small_vae(keras_vae.likelihoods.Normal((4,)))
    x = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
    q = vae.encode(x)
    loc, scale = q.mean().numpy(), q.stddev().numpy()
    expected = 0.5 * (scale**2 + loc**2 - 1 - 2 * np.log(scale)).mean(axis=0)
    result = evaluation.kl_per_dimension(vae, x, memory=1)
    assert result == pytest.approx(expected, rel=1e-4)
    assert result.sum() == pytest.approx(
        float(np.mean(q.kl_divergence(vae.prior.distribution()))), rel=1e-4
    )


def test_latent_means_are_the_means_of_q():
    vae = small_vae(keras_vae.likelihoods.Normal((4,)))
    x = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
    assert evaluation.latent_means(vae, x, memory=1) == pytest.approx(
        vae.encode(x).mean().numpy(), abs=1e-6
    )


def test_rate_and_distortion_add_up_to_minus_the_bound():
    vae = small_vae(keras_vae.likelihoods.Normal((4,)))
    x = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
    bound, rate, distortion = (
        f(vae, x, seed=3) for f in (evaluation.elbo, evaluation.rate, evaluation.distortion)
    )
    assert rate.mean + distortion.mean == pytest.approx(-bound.mean, rel=1e-6)
    assert rate.mean == pytest.approx(evaluation.kl_per_dimension(vae, x).sum(), rel=1e-5)
    assert evaluation.terms(vae, x, seed=3, memory=1).distortion.mean == pytest.approx(
        distortion.mean, rel=1e-5
    )


def test_a_unit_is_active_if_its_mean_varies_by_more_than_burdas_threshold():
    vae = small_vae(keras_vae.likelihoods.Normal((4,)))
    x = np.random.default_rng(0).normal(size=(200, 4)).astype("float32")
    loc = vae.posterior.projections["loc"]
    scale = np.array([1.0, 0.05, 0.0])
    loc.kernel.assign(loc.kernel * scale)
    variances = vae.encode(x).mean().numpy().var(axis=0, ddof=1)
    found = evaluation.active_units(vae, x)
    np.testing.assert_allclose(found.variances, variances, rtol=1e-4)
    assert found.active.tolist() == (variances > 0.01).tolist() == [True, False, False]
    assert found.count == 1
    assert evaluation.active_units(vae, x, threshold=float(variances[1]) / 2).count == 2
    with pytest.raises(ValueError, match="at least 2"):
        evaluation.active_units(vae, x[:1])


def test_the_errors_of_the_bound_and_its_terms_are_as_large_as_they_say():
    """200 repetitions on 50 x each, of the linear Gaussian model with its exact posterior.

    Then the mean rate is the mutual information of x and z, the mean distortion the entropy of
    x given z, and the mean bound minus the entropy of x.
    """
    linear = random_linear()
    vae = linear_vae(linear, keras_vae.posteriors.FullCovarianceNormal(D))
    set_exact_posterior(vae, linear)
    random = np.random.default_rng(0)
    z, noise = random.normal(size=(10_000, D)), random.normal(size=(10_000, VALUES))
    x = (z @ linear.w.T + linear.b + linear.sigma * noise).astype("float32")
    covariance = linear.w @ linear.w.T + linear.sigma**2 * np.eye(VALUES)
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * covariance)[1]
    given_z = 0.5 * VALUES * np.log(2 * np.pi * np.e * linear.sigma**2)
    terms = evaluation.terms(vae, x, num_samples=10)
    expected = {
        "elbo": (terms.log_likelihood - terms.kl, -entropy),
        "rate": (terms.kl, entropy - given_z),
        "distortion": (-terms.log_likelihood, given_z),
    }
    for name, (values, mean) in expected.items():
        found = [estimate(part) for part in np.split(values, 200)]
        within = sum(abs(e.mean - mean) < 2 * e.standard_error for e in found)
        assert 182 <= within <= 198, name
        assert getattr(terms, name).mean == pytest.approx(values.mean(), rel=1e-5)


def test_the_units_of_a_choice_are_judged_by_its_probabilities():
    """Their most probable class may jump where the probabilities hardly move."""
    vae = make_vae(
        POSTERIORS["OneHot"], PRIORS["UniformCategorical"], objective=OBJECTIVES["ELBO-score"]
    )
    x = data_for(vae.likelihood, 50)
    found = evaluation.active_units(vae, x)
    np.testing.assert_allclose(
        found.variances, vae.encode(x).mean().numpy().var(axis=0, ddof=1), rtol=1e-4
    )
    assert str(found).startswith(f"{found.count} of 2 latents active")


@pytest.mark.parametrize("threshold", [-1, float("nan"), "a", True])
def test_a_threshold_that_is_none_is_refused(threshold):
    vae = small_vae(keras_vae.likelihoods.Normal((4,)))
    with pytest.raises(ValueError, match="`threshold` is on a variance"):
        evaluation.active_units(vae, np.zeros((3, 4)), threshold=threshold)


def test_a_model_that_was_evaluated_is_not_kept():
    vae = small_vae(keras_vae.likelihoods.Normal((4,)))
    evaluation.active_units(vae, np.zeros((5, 4), "float32"))
    evaluation.latent_means(vae, np.zeros((5, 4), "float32"))
    kept, there = latent._COMPILED, weakref.ref(vae)
    assert len(kept[vae]) == 2
    number = len(kept)
    del vae
    gc.collect()
    assert there() is None
    assert len(kept) < number
