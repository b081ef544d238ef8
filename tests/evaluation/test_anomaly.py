"""Anomaly scores and their area under the curve, against sums over pairs and exact densities."""

import keras
import numpy as np
import pytest
from linear_gaussian import (
    VALUES,
    D,
    Linear,
    exact_vae,
    linear_vae,
    random_linear,
)
from parts import LIKELIHOODS, make_vae

from keras_vae import evaluation, posteriors
from keras_vae.data import Source
from keras_vae.evaluation import anomaly_scores, auroc, perturbed
from keras_vae.evaluation.log_likelihood import _Sampler

# The score


def random_x(n, seed=1):
    return np.random.default_rng(seed).normal(size=(n, VALUES)).astype("float32")


def another_linear():
    random = np.random.default_rng(9)
    return Linear(random.normal(size=(VALUES, D)), random.normal(size=VALUES), 1.3)


def test_the_score_is_minus_log_p_x():
    linear, x = random_linear(), random_x(20)
    found = anomaly_scores(exact_vae(linear), x, num_samples=50)
    np.testing.assert_allclose(found, -linear.log_prob(x), rtol=1e-4)


def test_the_score_against_a_background_is_minus_the_log_ratio():
    linear, other, x = random_linear(), another_linear(), random_x(20)
    found = anomaly_scores(exact_vae(linear), x, exact_vae(other), num_samples=50)
    np.testing.assert_allclose(found, other.log_prob(x) - linear.log_prob(x), rtol=1e-3, atol=1e-3)


@pytest.mark.filterwarnings("ignore:.*effective samples")
def test_the_ratio_is_the_difference_of_two_log_likelihoods():
    x = random_x(20)
    vae, background = (
        linear_vae(linear, posteriors.DiagonalNormal(D))
        for linear in (random_linear(), another_linear())
    )
    found = anomaly_scores(vae, x, background, num_samples=30, seed=4)
    logs = [
        evaluation.log_likelihood(model, x, num_samples=30, seed=4).per_example
        for model in (vae, background)
    ]
    np.testing.assert_array_equal(found, logs[1] - logs[0])


def test_a_checkpoint_keeps_the_rows_of_both_models(tmp_path, monkeypatch):
    x, file = random_x(20), tmp_path / "scores.npz"
    vae, background = exact_vae(random_linear()), exact_vae(another_linear())
    found = anomaly_scores(vae, x, background, num_samples=50, checkpoint=file)
    assert {p.name for p in tmp_path.iterdir()} == {"scores.npz", "scores.background.npz"}
    monkeypatch.setattr(_Sampler, "__call__", lambda *_: pytest.fail("a row is computed again"))
    again = anomaly_scores(vae, x, background, num_samples=50, checkpoint=str(file))
    np.testing.assert_array_equal(again, found)
    with pytest.raises(ValueError, match="another run"):
        anomaly_scores(vae, x, background, num_samples=51, checkpoint=file)


def test_the_ratio_tells_the_data_of_two_models_apart_best():
    """By the lemma of Neyman and Pearson, with log p(x) exact."""
    random = np.random.default_rng(3)
    x = np.concatenate(
        [
            random.normal(size=(500, D)) @ linear.w.T
            + linear.b
            + linear.sigma * random.normal(size=(500, VALUES))
            for linear in (random_linear(), another_linear())
        ]
    ).astype("float32")
    vae, background = exact_vae(random_linear()), exact_vae(another_linear())
    plain, ratio = (
        auroc(*np.split(anomaly_scores(vae, x, of, num_samples=20), 2)) for of in (None, background)
    )
    assert ratio.value > plain.value + 4 * ratio.standard_error > 0.5


@pytest.mark.parametrize("likelihood", ["Normal-fixed", "Bernoulli"])
def test_a_background_of_other_values_is_refused(likelihood):
    vae = exact_vae(random_linear())
    background = make_vae(likelihood=LIKELIHOODS[likelihood])
    with pytest.raises(ValueError, match=r"densities of \[5\].*Received: .* of \[4, 4, 1\]"):
        anomaly_scores(vae, random_x(3), background)


def test_a_ratio_of_a_density_and_a_probability_is_refused():
    vae, background = (
        make_vae(likelihood=LIKELIHOODS[name]) for name in ("Normal-fixed", "Bernoulli")
    )
    with pytest.raises(ValueError, match=r"densities of .* Received: probabilities of"):
        anomaly_scores(vae, np.zeros((3, 4, 4, 1)), background)


# The area under the curve


def by_pairs(inside, outside):
    """P(out > in) + P(out = in) / 2 over all pairs, and DeLong's variance from its rows."""
    wins = (outside[:, None] > inside) + (outside[:, None] == inside) / 2
    rows, columns = wins.mean(1), wins.mean(0)
    return wins.mean(), np.sqrt(rows.var(ddof=1) / len(rows) + columns.var(ddof=1) / len(columns))


@pytest.mark.parametrize("digits", [0, 6])
def test_the_area_is_the_share_of_pairs_in_order(digits):
    random = np.random.default_rng(0)
    inside = random.normal(0, 2, 40).round(digits)  # whole numbers: many are equal
    outside = random.normal(1, 1, 25).round(digits)
    found = auroc(inside, outside)
    assert (found.value, found.standard_error) == pytest.approx(by_pairs(inside, outside))


def test_the_area_of_scores_in_order_is_one_and_the_wrong_way_round_none():
    assert auroc([1, 2, 3], [4, 5]) == evaluation.AUROC(1.0, 0.0)
    assert auroc([4, 5, 6], [2, 3]) == evaluation.AUROC(0.0, 0.0)
    assert auroc([1, 1], [1, 1, 1]).value == 0.5
    assert auroc([1, 2], [np.inf, np.inf]).value == 1.0  # p(x) = 0 is a score, too


def test_the_standard_error_is_the_spread_over_repetitions():
    """Of 400 repetitions the standard deviation is known to 3.5 %."""
    random = np.random.default_rng(0)
    repeated = [auroc(random.normal(0, 1, 60), random.normal(0.8, 2, 40)) for _ in range(400)]
    spread = np.std([r.value for r in repeated])
    squares = [r.standard_error**2 for r in repeated]
    assert np.sqrt(np.mean(squares)) == pytest.approx(spread, rel=4 * 0.035)


@pytest.mark.parametrize("scores", [[], [0.1, np.nan], [[1.0, 2.0]]])
def test_scores_that_are_none_are_refused(scores):
    with pytest.raises(ValueError, match=r"`scores_out` has a score for each example"):
        auroc([1.0, 2.0], scores)


# The background's data


KINDS = {
    "bytes": np.arange(256, dtype="uint8").repeat(400).reshape(-1, 8, 8),
    "bits": np.random.default_rng(0).integers(0, 2, (1_600, 8, 8)).astype("uint8"),
    "grey": np.random.default_rng(0).random((1_600, 8, 8), dtype="float32"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.0, 0.2, 1.0])
def test_the_stated_share_of_the_values_is_another_one(kind, rate):
    x = KINDS[kind]
    found = perturbed(x, rate).values
    error = np.sqrt(rate * (1 - rate) / x.size)
    assert np.mean(found != x) == pytest.approx(rate, abs=4 * error)
    assert found.dtype == x.dtype
    assert x.min() <= found.min() <= found.max() <= x.max()


def test_the_other_values_are_equally_likely():
    """A chi-squared of 255 cells, 400 expected in each: below 350 with probability 0.9999."""
    x = np.array([[0] * 50, [255] * 50]).repeat(1_020, 0).astype("uint8")
    found = perturbed(x, 1.0).values
    for own, row in ((0, found[x == 0]), (255, found[x == 255])):
        counts = np.delete(np.bincount(row, minlength=256), own)
        expected = len(row) / 255
        assert np.sum((counts - expected) ** 2 / expected) < 350


def test_a_replaced_grey_value_is_uniform():
    found = perturbed(np.array([[0.0, 1.0, 0.5]]).repeat(10_000, 0), 1.0).values
    assert found.mean() == pytest.approx(0.5, abs=4 / np.sqrt(12 * 30_000))
    assert found.var() == pytest.approx(1 / 12, abs=4 / np.sqrt(180 * 30_000))


def test_what_goes_with_x_stays_and_so_does_what_is_missing():
    x = np.where(np.eye(4) == 1, np.nan, np.arange(16.0).reshape(4, 4))
    source = Source(x, divisor=16.0, condition=np.arange(4))
    found = perturbed(source, 0.5)
    np.testing.assert_array_equal(np.isnan(found.values), np.isnan(x))
    np.testing.assert_array_equal(found.condition, source.condition)
    assert found.divisor == 16.0
    assert source.values is x


def test_the_seed_says_what_is_replaced():
    x = KINDS["bytes"]
    np.testing.assert_array_equal(perturbed(x, 0.3, 5).values, perturbed(x, 0.3, 5).values)
    assert np.any(perturbed(x, 0.3, 5).values != perturbed(x, 0.3, 6).values)


def test_a_model_trains_on_what_was_perturbed():
    vae = make_vae()
    vae.compile(keras.optimizers.Adam())
    history = vae.fit(perturbed(np.eye(16).reshape(16, 4, 4, 1), 0.2), epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize("rate", [-0.1, 1.1, np.nan, "0.2"])
def test_a_rate_that_is_no_share_is_refused(rate):
    with pytest.raises(ValueError, match=r"number in \[0, 1\]. Received: rate="):
        perturbed(np.eye(2), rate)


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="`x` of perturbed is numbers"):
        perturbed(np.array([["a", "b"]]), 0.2)


@pytest.mark.parametrize("x", [np.ones((2, 3)), np.full((2, 3), np.nan), np.zeros((0, 3))])
def test_values_without_another_one_are_refused(x):
    with pytest.raises(ValueError, match="no other value to put in place of one"):
        perturbed(x, 0.2)
