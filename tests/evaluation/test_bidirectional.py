"""Bounds from both sides against models whose log p(x) is known."""

import dataclasses

import numpy as np
import pytest
from interrupted import resumed
from linear_gaussian import D, linear_vae, random_linear
from parts import PRIORS, assert_close_to_mean, assert_moments, beside_for, make_vae
from scipy import stats

import keras_vae
from keras_vae import conditions, evaluation, likelihoods, networks, posteriors, priors
from keras_vae.evaluation import bidirectional
from keras_vae.evaluation.bidirectional import LogLikelihoodBounds
from keras_vae.networks import inverse_positive


def bounds(vae, **arguments):
    """From few short chains, unless said otherwise."""
    short = {"num_examples": 6, "num_chains": 4, "num_steps": 4, "num_leapfrog_steps": 2}
    return evaluation.bidirectional_monte_carlo(vae, **{**short, **arguments})


@pytest.fixture
def vae():
    return linear_vae(random_linear(), posteriors.DiagonalNormal(D))


def test_the_examples_are_those_of_the_model(vae):
    linear = random_linear()
    source, z = bidirectional._drawn(vae, 4_000, None, None, seed=0)
    noise = source.values - z @ linear.w.T - linear.b
    both = np.concatenate([z, noise], axis=1)
    scales = [1.0] * D + [linear.sigma] * len(linear.b)
    assert_moments(both, np.zeros(len(scales)), np.diag(np.square(scales)))
    other, _ = bidirectional._drawn(vae, 4_000, None, None, seed=1)
    assert np.all(other.values != source.values)


# From a posterior that is not trained, 1 / w' of a dozen steps has no variance that could be seen.
@pytest.mark.parametrize(("start", "steps"), [("prior", 12), ("posterior", 50)])
def test_both_bounds_are_of_estimates_without_bias(vae, start, steps):
    """E[w] = p(x) and E[1 / w'] = 1 / p(x), however few the steps."""
    found = bounds(vae, num_examples=1_500, num_chains=16, num_steps=steps, start=start)
    expected = random_linear().log_prob(found.x)
    assert_close_to_mean(np.exp(found.lower - expected), 1.0)
    assert_close_to_mean(np.exp(expected - found.upper), 1.0)
    for slack in (expected - found.lower, found.upper - expected):
        assert slack.mean() > 4 * stats.sem(slack)


def test_the_gap_closes_with_the_number_of_steps(vae):
    few, many = (bounds(vae, num_examples=64, num_chains=16, num_steps=n) for n in (10, 300))
    assert few.gap.mean > 5 * many.gap.mean
    assert many.gap.mean < 0.05
    np.testing.assert_array_equal(few.x, many.x)
    expected = random_linear().log_prob(many.x)
    np.testing.assert_allclose(many.lower, expected, atol=0.5)
    np.testing.assert_allclose(many.upper, expected, atol=0.5)


def test_the_gap_has_the_standard_error_of_a_mean():
    lower, upper = np.random.default_rng(0).normal(size=(2, 6))
    found = LogLikelihoodBounds(np.zeros((6, 1)), lower, upper, np.ones(6), 4, 10)
    assert found.gap.mean == pytest.approx((upper - lower).mean())
    assert found.gap.standard_error == pytest.approx(stats.sem(upper - lower))
    assert str(found).startswith(f"log p(x) of 6 samples of the model: {lower.mean():.3f} to ")
    assert str(found).endswith("(4 chains of 10 steps)")


def test_the_gap_is_within_two_standard_errors_about_as_often_as_it_says(vae):
    """Of 200 repetitions on 20 examples each, around the mean of all: t with 19 degrees."""
    found = bounds(vae, num_examples=4_000, num_chains=8, num_steps=30, num_leapfrog_steps=3)
    parts = zip(*(np.split(each, 200) for each in (found.lower, found.upper)), strict=True)
    gaps = [dataclasses.replace(found, lower=low, upper=up).gap for low, up in parts]
    within = sum(abs(gap.mean - found.gap.mean) < 2 * gap.standard_error for gap in gaps)
    least, most = stats.binom(200, 2 * stats.t(19).cdf(2) - 1).interval(0.999)
    assert least <= within <= most


def test_little_memory_changes_nothing_but_the_rounding(vae):
    whole, parts = (bounds(vae, num_examples=40, num_steps=30, memory=m) for m in (2**28, 1))
    np.testing.assert_allclose(parts.lower, whole.lower, atol=1e-3)
    np.testing.assert_allclose(parts.upper, whole.upper, atol=1e-3)


@pytest.mark.filterwarnings("ignore:.*effective")
def test_a_row_depends_on_its_number_and_the_seed_alone(vae):
    """Not on memory: to the last bit."""
    whole, parts = (bounds(vae, num_examples=66, memory=size) for size in (2**28, 2**24))
    np.testing.assert_array_equal(parts.lower, whole.lower)
    np.testing.assert_array_equal(parts.upper, whole.upper)
    assert np.all(bounds(vae, num_examples=66, seed=1).lower != whole.lower)


def test_a_run_that_was_stopped_goes_on_where_it_was(vae, tmp_path, monkeypatch):
    file = tmp_path / "kept.npz"
    whole = bounds(vae, num_chains=128, seed=3)  # groups of 2 rows
    found, done = resumed(
        monkeypatch,
        bidirectional._BothWays,
        2,
        lambda: bounds(vae, num_chains=128, seed=3, checkpoint=file),
    )
    assert len(done) == len(set(done))
    np.testing.assert_array_equal(found.lower, whole.lower)
    np.testing.assert_array_equal(found.upper, whole.upper)


def test_what_goes_with_x_is_asked_for_and_counts():
    vae = make_vae(
        prior=PRIORS["ConditionalNormal"],
        likelihood=lambda: likelihoods.Poisson((3,), size_factor=True),
    )
    beside = beside_for(vae, 6)
    found = bounds(vae, num_chains=16, num_steps=100, **beside)
    source = keras_vae.data.Source(found.x, **beside)
    expected = evaluation.annealed_importance_sampling(vae, source, num_steps=100)
    np.testing.assert_allclose(found.lower, expected.per_example, atol=0.3)
    np.testing.assert_allclose(found.upper, expected.per_example, atol=0.3)
    for missing, words in (("condition", "conditional"), ("size_factor", "size factor")):
        with pytest.raises(ValueError, match=words):
            bounds(vae, **{name: value for name, value in beside.items() if name != missing})


def test_labels_are_given():
    vae = keras_vae.VAE(
        networks.mlp([6]),
        networks.mlp([6]),
        posteriors.DiagonalNormal(2),
        priors.StandardNormal(2),
        likelihoods.Bernoulli((5,)),
        condition=conditions.Labels(3, networks.mlp([4], "tanh")),
        seed=0,
    )
    for projection in vae.posterior.projections.values():  # q(z|x) is the prior
        projection.kernel.assign(projection.kernel * 0)
    vae.posterior.projections["scale_diag"].bias.assign(inverse_positive(np.ones(2)))
    found = bounds(vae, num_steps=100, condition=2)
    source = keras_vae.data.Source(found.x, condition=np.full(6, 2))
    expected = evaluation.log_likelihood(vae, source, 2_000).per_example  # log p(x, c)
    np.testing.assert_allclose(found.lower, expected, atol=0.2)
    np.testing.assert_allclose(found.upper, expected, atol=0.2)
    with pytest.raises(ValueError, match="condition"):
        bounds(vae)
    with pytest.raises(ValueError, match="num_examples"):
        bounds(vae, num_examples=0, condition=2)
