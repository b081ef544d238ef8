"""Predictive checks of models that are right, and of models that are wrong in a known way."""

import importlib

import numpy as np
import pytest
from linear_gaussian import (
    Linear,
    drawn,
    exact_vae,
    random_linear,
)
from parts import LIKELIHOODS, data_for, make_vae, table
from scipy import stats

import keras_vae
from keras_vae import conditions, likelihoods, networks, posteriors, priors
from keras_vae.data import Source
from keras_vae.evaluation import predictive_check
from keras_vae.evaluation.predictive_check import p_value

MODULE = importlib.import_module("keras_vae.evaluation.predictive_check")  # hidden by its function
MOMENTS = {"mean": lambda x: x.mean(), "variance": lambda x: x.var(axis=0).mean()}


# The p-value


def test_the_p_value_counts_the_nearer_end_twice():
    replicates = np.arange(1.0, 10.0)  # nine of them
    assert p_value(replicates, 0.0) == pytest.approx(2 / 10)  # outside: the smallest there is
    assert p_value(replicates, 1.0) == pytest.approx(4 / 10)
    assert p_value(replicates, 8.5) == pytest.approx(4 / 10)
    assert p_value(replicates, 5.0) == 1.0
    assert p_value(np.ones(9), 1.0) == 1.0  # a statistic that never differs says nothing


def test_of_exchangeable_values_the_p_value_is_uniform():
    """Its values are 2/20, 4/20 ... 1, each as likely: the mean is 0.55."""
    random = np.random.default_rng(0)
    found = [p_value(row[1:], row[0]) for row in random.normal(size=(2_000, 20))]
    counts = np.bincount(np.round(np.array(found) * 10).astype(int), minlength=11)[1:]
    assert stats.chisquare(counts).pvalue > 0.001


# Models that are right or wrong


def test_a_model_that_is_right_has_uniform_p_values():
    """Over 200 data sets of it, among the same 199 replicates, far more of them than 1 / 0.05."""
    linear = random_linear()
    pool = [drawn(linear, 40, seed) for seed in range(200)]
    check = predictive_check(exact_vae(linear), pool[0], MOMENTS, 199)
    for name, statistic in MOMENTS.items():
        p = np.array([p_value(check.replicates[name], statistic(x)) for x in pool])
        assert stats.ks_2samp(p, np.arange(1, 101) / 100).pvalue > 0.01
        assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=4 * np.sqrt(2 * 0.05 * 0.95 / 200))


def test_the_replicates_have_the_moments_of_the_model():
    linear = random_linear()
    check = predictive_check(exact_vae(linear), drawn(linear, 50, 0), MOMENTS, 200)
    variances = np.diagonal(linear.w @ linear.w.T) + linear.sigma**2
    for name, expected in (("mean", linear.b.mean()), ("variance", variances.mean() * 49 / 50)):
        values = check.replicates[name]
        assert values.mean() == pytest.approx(expected, abs=4 * values.std() / np.sqrt(200))


@pytest.mark.parametrize("predictive", ["prior", "posterior"])
def test_a_wrong_scale_is_caught_by_the_variance_and_not_by_the_mean(predictive):
    linear = random_linear()
    wide = Linear(linear.w, linear.b, 1.6 * linear.sigma)
    check = predictive_check(
        exact_vae(wide),
        drawn(linear, 200, 0),
        num_replicates=99,
        predictive=predictive,
    )
    assert check.p_values["variance"] == pytest.approx(0.02)
    assert check.p_values["mean"] > 0.1


def test_a_wrong_prior_is_seen_from_the_prior_and_not_from_the_posterior():
    """Data of z twice as wide: q(z|x) follows it, p(z) does not."""
    linear = random_linear()
    vae = exact_vae(Linear(linear.w, linear.b, 0.1))
    x = drawn(Linear(2 * linear.w, linear.b, 0.1), 100, 0)
    found = {
        kind: predictive_check(vae, x, None, 99, kind).p_values["variance"]
        for kind in ("prior", "posterior")
    }
    assert found["prior"] == pytest.approx(0.02)
    assert found["posterior"] > 0.1


def test_replicates_from_the_posterior_have_its_moments():
    """Of one x: mean `W E[z|x] + b`, and variance `W Cov[z|x] W^T + sigma^2`."""
    linear = random_linear()
    x = drawn(linear, 1, 0)
    statistics = {"first": lambda rows: rows[0, 0]}
    check = predictive_check(
        exact_vae(linear), x, statistics, num_replicates=300, predictive="posterior"
    )
    values = check.replicates["first"]
    mean = linear.w[0] @ linear.posterior_mean(x)[0] + linear.b[0]
    variance = linear.w[0] @ linear.posterior_covariance @ linear.w[0] + linear.sigma**2
    assert values.mean() == pytest.approx(mean, abs=4 * np.sqrt(variance / 300))
    assert values.var() == pytest.approx(variance, abs=4 * variance * np.sqrt(2 / 300))


def test_equal_seeds_give_equal_replicates():
    vae, x = exact_vae(random_linear()), drawn(random_linear(), 30, 0)
    first, again, other = (
        predictive_check(vae, x, num_replicates=3, seed=seed).replicates["mean"]
        for seed in (-1, -1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.all(first != other)
    assert len(np.unique(first)) == 3


def test_their_number_does_not_change_a_replicate(monkeypatch):
    vae, x = exact_vae(random_linear()), drawn(random_linear(), 30, 0)
    monkeypatch.setattr(MODULE, "REPLICATES", 2)
    few, more = (predictive_check(vae, x, MOMENTS, number) for number in (5, 7))
    assert len(np.unique(more.replicates["mean"])) == 7
    for name in MOMENTS:
        np.testing.assert_array_equal(more.replicates[name][:5], few.replicates[name])


def test_a_large_replicate_is_drawn_in_blocks_of_rows(monkeypatch):
    vae, x = exact_vae(random_linear()), drawn(random_linear(), 30, 0)
    monkeypatch.setattr(MODULE, "VALUES", 7 * x.shape[1])
    statistics = {"rows": len, "different": lambda x: len(np.unique(x, axis=0))}
    check = predictive_check(vae, x, statistics, 5)
    np.testing.assert_array_equal(check.replicates["rows"], [30] * 5)
    np.testing.assert_array_equal(check.replicates["different"], [30] * 5)


def test_a_check_that_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(MODULE, "REPLICATES", 1)
    vae, x, file = exact_vae(random_linear()), drawn(random_linear(), 30, 0), tmp_path / "kept.npz"
    seen = []

    def mean(rows):
        if len(seen) == 4:
            seen.append("stopped")
            raise KeyboardInterrupt
        seen.append(rows)
        return rows.mean()

    with pytest.raises(KeyboardInterrupt):
        predictive_check(vae, x, {"mean": mean}, 5, checkpoint=file)
    resumed = predictive_check(vae, x, {"mean": mean}, 5, checkpoint=file)
    whole = predictive_check(vae, x, {"mean": np.mean}, 5)
    np.testing.assert_array_equal(resumed.replicates["mean"], whole.replicates["mean"])
    assert len(seen) == 4 + 1 + 1 + 2  # x, three replicates, the stop; x again, the other two
    with pytest.raises(ValueError, match="of another run"):
        predictive_check(vae, x, {"mean": np.mean}, 6, checkpoint=file)


def test_a_statistic_of_the_same_name_is_another(tmp_path):
    vae = make_vae()
    x, file = data_for(vae.likelihood, 6), tmp_path / "kept.npz"
    predictive_check(vae, x, {"T": np.mean}, 3, checkpoint=file)
    with pytest.raises(ValueError, match="of another run"):
        predictive_check(vae, x, {"T": np.max}, 3, checkpoint=file)


# The statistics


def test_the_default_statistics_are_moments_and_extremes():
    x = np.array([[0.0, 1, 4], [2, 1, 0], [4, 1, 2], [2, 1, 2]])
    vae = make_vae(likelihood=lambda: likelihoods.Poisson((3,)))
    observed = predictive_check(vae, x, num_replicates=1).observed
    assert observed == pytest.approx(
        {
            "mean": 20 / 12,
            "variance": (2 + 0 + 2) / 3,
            "variance of the totals": np.var([5, 3, 7, 5]),
            "minimum": 0,
            "maximum": 4,
            "share of zeros": 2 / 12,
        }
    )


def test_of_grey_values_drawn_as_bits_the_observed_ones_are_bits():
    grey = Source(np.full((50, 4, 4, 1), 0.5, "float32"), dynamic=True)
    check = predictive_check(make_vae(), grey, {"middle": lambda x: (x == 0.5).mean()}, 2)
    assert check.observed["middle"] == 0
    np.testing.assert_array_equal(check.replicates["middle"], 0)


def test_values_are_missing_in_the_replicates_where_they_are_in_the_data():
    x = np.random.default_rng(0).normal(size=(20, 4, 4, 1)).astype("float32")
    x[:7, 0] = np.nan
    vae = make_vae(likelihood=LIKELIHOODS["Missing"])
    row = np.isnan(x)
    missing = {"as in x": lambda values: np.array_equal(np.isnan(values), row)}
    for predictive in ("prior", "posterior"):
        check = predictive_check(vae, x, missing, 2, predictive)
        np.testing.assert_array_equal(check.replicates["as in x"], 1.0)
    defaults = predictive_check(vae, x, num_replicates=2).observed
    assert defaults["mean"] == pytest.approx(np.nanmean(x), rel=1e-5)
    assert defaults["minimum"] == pytest.approx(np.nanmin(x))


@pytest.mark.parametrize("predictive", ["prior", "posterior"])
def test_a_statistic_of_a_table_is_one_of_its_columns(predictive):
    random = np.random.default_rng(0)
    x = {
        "age": random.normal(size=30).astype("float32"),
        "visits": random.poisson(2, 30),
        "plan": random.integers(0, 3, 30),
        "member": random.integers(0, 2, 30),
    }
    vae = make_vae(likelihood=table)
    plans = {
        "last plan": lambda t: np.mean(t["plan"] == 2),
        "whole": lambda t: t["plan"].dtype == int,
    }
    check = predictive_check(vae, x, plans, 3, predictive)
    assert check.observed["last plan"] == np.mean(x["plan"] == 2)
    np.testing.assert_array_equal(check.replicates["whole"], 1)
    assert 0 < check.replicates["last plan"].mean() < 1
    with pytest.raises(ValueError, match="default statistics are those of arrays"):
        predictive_check(vae, x)


@pytest.mark.parametrize("statistic", [lambda x: x, lambda x: np.nan, lambda x: "high"])
def test_a_statistic_that_is_no_number_is_refused(statistic):
    x = np.zeros((3, 4, 4, 1), "float32")
    with pytest.raises(ValueError, match="Statistic 'T' is a number for a data set"):
        predictive_check(make_vae(), x, {"T": statistic}, 1)


def test_arguments_are_checked():
    x = np.zeros((3, 4, 4, 1), "float32")
    with pytest.raises(ValueError, match=r"'prior', 'posterior'. Received: 'mixed'"):
        predictive_check(make_vae(), x, predictive="mixed")
    with pytest.raises(ValueError, match="num_replicates=0"):
        predictive_check(make_vae(), x, num_replicates=0)
    with pytest.raises(ValueError, match="outside the support of Bernoulli"):
        predictive_check(make_vae(), x + 0.5)
    for statistics in ({}, {"T": 3}, [np.mean]):
        with pytest.raises(ValueError, match="`statistics` are functions of a data set"):
            predictive_check(make_vae(), x, statistics)


# What goes with x


def given_condition(condition):
    """A model whose x is 10 where the condition says so, else 0, nearly without noise."""
    vae = keras_vae.VAE(
        networks.mlp([]),
        networks.mlp([]),
        posteriors.DiagonalNormal(1),
        priors.StandardNormal(1),
        likelihoods.Normal((1,), scale=0.01),
        condition=condition,
        seed=0,
    )
    loc = vae.likelihood.projections["loc"]
    loc.kernel.assign([[0.0], [0.0], [10.0]])  # of z, class 0, class 1
    loc.bias.assign([0.0])
    return vae


@pytest.mark.parametrize("predictive", ["prior", "posterior"])
def test_each_replicate_has_the_condition_of_the_data(predictive):
    classes = np.arange(20) % 2
    x = Source(10.0 * classes[:, None].astype("float32"), condition=classes)
    vae = given_condition(conditions.OneHot(2))
    error = {"furthest from x": lambda rows: np.abs(rows - x.values).max()}
    check = predictive_check(vae, x, error, 5, predictive)
    assert check.replicates["furthest from x"].max() < 0.1


def test_a_label_that_is_not_known_is_drawn():
    classes = np.repeat([1, -1], 200)
    x = Source(np.full((400, 1), 10.0, "float32"), condition=classes)
    vae = given_condition(conditions.Labels(2, networks.mlp([])))
    halves = {"known": lambda x: (x[:200] > 5).mean(), "drawn": lambda x: (x[200:] > 5).mean()}
    check = predictive_check(vae, x, halves, 5)
    np.testing.assert_array_equal(check.replicates["known"], 1.0)
    error = 4 * np.sqrt(0.25 / 1_000)
    assert check.replicates["drawn"].mean() == pytest.approx(0.5, abs=error)


@pytest.mark.parametrize("predictive", ["prior", "posterior"])
def test_each_replicate_has_the_size_factor_of_the_data(predictive):
    """Counts of 5 times the factor: the second half has a thousand times those of the first."""
    vae = make_vae(likelihood=lambda: likelihoods.Poisson((3,), size_factor=True))
    rate = vae.likelihood.projections["rate"]
    rate.kernel.assign(np.zeros(rate.kernel.shape))
    factor = np.repeat([1.0, 1_000.0], 20)
    x = Source(np.ones((40, 3), "float32"), size_factor=factor)
    halves = {"first": lambda x: x[:20].mean(), "second": lambda x: x[20:].mean()}
    check = predictive_check(vae, x, halves, 5, predictive)
    ratio = check.replicates["second"].mean() / check.replicates["first"].mean()
    assert ratio == pytest.approx(1_000, rel=4 / np.sqrt(300 * check.replicates["first"].mean()))


def test_it_prints_a_line_for_each_statistic():
    vae, x = exact_vae(random_linear()), drawn(random_linear(), 30, 0)
    check = predictive_check(vae, x, MOMENTS, num_replicates=9)
    first, second = str(check).splitlines()
    assert first.startswith(f"mean: {x.mean():.4g}, replicated ")
    assert second.endswith(f"p = {check.p_values['variance']:.3g}")
