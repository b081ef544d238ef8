"""The gaps of inference against those of a linear Gaussian model, which have closed forms."""

import numpy as np
import pytest
from interrupted import resumed
from linear_gaussian import VALUES, D, drawn, linear_vae, random_linear, set_exact_posterior
from parts import OBJECTIVES, POSTERIORS, PRIORS, data_for, make_vae
from scipy import stats

import keras_vae
from keras_vae import conditions, evaluation, likelihoods, networks, posteriors, priors
from keras_vae.data import Source
from keras_vae.evaluation import gaps
from keras_vae.evaluation.gaps import InferenceGaps
from keras_vae.networks import inverse_positive

FULL, DIAGONAL = posteriors.FullCovarianceNormal, posteriors.DiagonalNormal

# Where the subject is another one: few draws, or few steps towards the best q.
few_do_not_matter = pytest.mark.filterwarnings("ignore:.*effective samples")


def found_gaps(vae, x, log_likelihood=None, **arguments):
    """From few steps and draws, unless said otherwise."""
    short = {"num_samples": 20, "num_steps": 3, **arguments}
    return evaluation.inference_gaps(vae, x, log_likelihood, **short)


def diagonal_gap(linear):
    """KL of the best diagonal Normal, of variances 1 / diag(precision): half its log-ratio."""
    precision = np.linalg.inv(linear.posterior_covariance)
    return 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])


def best_diagonal(linear):
    """A model whose q(z|x) is the best diagonal one, for each x."""
    vae = linear_vae(linear, DIAGONAL(D))
    set_mean(vae, linear)
    best = np.diag(np.linalg.inv(linear.posterior_covariance)) ** -0.5
    vae.posterior.projections["scale_diag"].kernel.assign(np.zeros((VALUES, D)))
    vae.posterior.projections["scale_diag"].bias.assign(inverse_positive(best))
    return vae


def set_mean(vae, linear):
    loc = vae.posterior.projections["loc"]
    loc.kernel.assign(linear.w @ linear.posterior_covariance / linear.sigma**2)
    loc.bias.assign(linear.posterior_mean(np.zeros(VALUES)))


# Closed forms


def test_the_gaps_of_a_diagonal_family_are_the_closed_forms():
    """The encoder's means are off by `shift`, its scales right: it loses `shift^T P shift / 2`."""
    linear = random_linear()
    vae = best_diagonal(linear)
    shift = np.array([0.3, -0.2])
    vae.posterior.projections["loc"].bias.assign_add(shift)
    x = drawn(linear, 40)
    found = found_gaps(vae, x, linear.log_prob(x), num_samples=4_000, num_steps=300)
    lost = 0.5 * shift @ np.linalg.inv(linear.posterior_covariance) @ shift
    for gap, expected in ((found.approximation, diagonal_gap(linear)), (found.amortisation, lost)):
        assert abs(gap.mean - expected) < 4 * gap.standard_error
        assert gap.standard_error < 0.01
    np.testing.assert_allclose(found.approximation_gaps, diagonal_gap(linear), atol=0.06)
    np.testing.assert_array_equal(found.log_likelihood, linear.log_prob(x))
    np.testing.assert_allclose(found.amortised_bound, vae.elbo(x, 4_000, seed=1), atol=0.1)


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_their_errors_are_as_large_as_they_say(shift):
    """200 repetitions on 50 x each, 95 % within two errors: 182 to 198 with probability 0.999.

    One tiny step leaves the best q where it is, and a worse one, whose gap is then known, too.
    """
    linear = random_linear()
    vae = best_diagonal(linear)
    vae.posterior.projections["loc"].bias.assign_add(np.full(D, shift))
    x = drawn(linear, 10_000)
    few = {"num_samples": 100, "num_steps": 1, "learning_rate": 1e-6}
    found = found_gaps(vae, x, linear.log_prob(x), **few)
    lost = 0.5 * shift**2 * np.linalg.inv(linear.posterior_covariance).sum()
    scores = []
    for rows in np.split(np.arange(10_000), 200):
        part = InferenceGaps(*(values[rows] for values in arrays(found)), found.num_samples)
        for gap in (part.approximation, part.inference):
            scores.append((gap.mean - diagonal_gap(linear) - lost) / gap.standard_error)
    for of_gap in np.reshape(scores, (200, 2)).T:
        assert 182 <= np.sum(np.abs(of_gap) < 2) <= 198
        assert of_gap.std() == pytest.approx(1, abs=0.2)


def test_the_error_of_the_amortisation_gap_is_as_large_as_it_says():
    """200 repetitions on 20 x each, of an encoder whose means are off and whose best q is found."""
    linear, shift = random_linear(), np.array([0.6, -0.4])
    vae = best_diagonal(linear)
    vae.posterior.projections["loc"].bias.assign_add(shift)
    x = drawn(linear, 4_000)
    steps = {"num_steps": 60, "learning_rate": 0.03}
    found = found_gaps(vae, x, linear.log_prob(x), num_samples=20, **steps)
    lost = 0.5 * shift @ np.linalg.inv(linear.posterior_covariance) @ shift
    parts = np.split(found.amortisation_gaps, 200)
    scores = [(part.mean() - lost) / stats.sem(part) for part in parts]
    assert 182 <= np.sum(np.abs(scores) < 2) <= 198
    assert np.std(scores) == pytest.approx(1, abs=0.2)


def arrays(found):
    return found.log_likelihood, found.optimised_bound, found.amortised_bound


def test_a_family_with_the_exact_posterior_has_no_approximation_gap():
    linear = random_linear()
    vae = linear_vae(linear, FULL(D))
    set_exact_posterior(vae, linear)
    tril = vae.posterior.projections["scale_tril"].bias
    tril.assign_add(np.full(3, 0.4))
    x = drawn(linear, 30)
    found = found_gaps(vae, x, num_samples=2_000, num_steps=500)
    np.testing.assert_allclose(found.log_likelihood, linear.log_prob(x), atol=0.01)
    np.testing.assert_allclose(found.approximation_gaps, 0, atol=0.01)
    too_wide = vae.encode(x[:1]).covariance().numpy()[0]
    ratio = np.linalg.solve(linear.posterior_covariance, too_wide)
    expected = 0.5 * (np.trace(ratio) - D - np.linalg.slogdet(ratio)[1])  # KL(q || p(z|x))
    assert abs(found.amortisation.mean - expected) < 4 * found.amortisation.standard_error
    assert found.amortisation.standard_error < 0.02


def test_an_encoder_far_off_loses_to_amortisation_alone():
    linear = random_linear()
    vae = best_diagonal(linear)
    vae.posterior.projections["loc"].bias.assign_add(np.full(D, 2.0))
    x = drawn(linear, 10)
    found = found_gaps(
        vae, x, linear.log_prob(x), num_samples=1_000, num_steps=400, learning_rate=0.03
    )
    assert np.all(found.amortisation_gaps > 5)
    np.testing.assert_allclose(found.approximation_gaps, diagonal_gap(linear), atol=0.1)


@few_do_not_matter
def test_what_is_reported_is_of_draws_that_no_step_has_seen(monkeypatch):
    """One step of a huge rate on one draw: on that draw the bound rises, on others it falls."""
    monkeypatch.setattr("keras_vae.evaluation.own_posterior.DRAWS", 1)
    linear = random_linear()
    vae, x = best_diagonal(linear), drawn(linear, 50)
    found = found_gaps(vae, x, num_samples=500, num_steps=1, learning_rate=0.5)
    assert found.amortisation.mean < -4 * found.amortisation.standard_error


# Sums


@few_do_not_matter
def test_the_gaps_add_up():
    log_p, optimised, amortised = np.random.default_rng(0).normal(size=(3, 50))
    found = InferenceGaps(log_p, optimised, amortised, num_samples=1)
    total = log_p - amortised
    both = found.approximation_gaps + found.amortisation_gaps
    np.testing.assert_allclose(both, total, rtol=0, atol=1e-14)
    assert found.inference.mean == pytest.approx(found.approximation.mean + found.amortisation.mean)
    assert found.inference.standard_error == pytest.approx(stats.sem(total))
    assert found.amortisation.standard_error == pytest.approx(stats.sem(optimised - amortised))


@few_do_not_matter
def test_what_it_says_has_all_three():
    found = InferenceGaps(np.array([3.0, 4.0]), np.array([2.0, 3.0]), np.array([0.0, 1.0]), 1)
    assert str(found) == (
        "inference gap 3.000 +- 0.000 nats: approximation 1.000 +- 0.000 nats, "
        "amortisation 2.000 +- 0.000 nats"
    )


# Families


@few_do_not_matter
@pytest.mark.parametrize("posterior", ["PlanarFlow", "TopDown"])
def test_the_bound_rises_in_a_flow_and_in_a_hierarchy(posterior):
    vae = make_vae(posterior=POSTERIORS[posterior])
    random = np.random.default_rng(0)
    for weight in vae.trainable_weights:
        weight.assign(weight + 0.5 * random.normal(size=weight.shape))
    found = found_gaps(
        vae, data_for(vae.likelihood, 4), num_samples=250, num_steps=60, learning_rate=0.05
    )
    assert np.all(found.amortisation_gaps > 0)
    assert np.all(found.approximation_gaps > 0)  # by Jensen's inequality, on the same draws


# Chunks, seeds, resuming


def test_a_best_q_that_misses_p_is_warned_of():
    linear = random_linear()
    vae = linear_vae(linear, posteriors.DiagonalNormal(D))
    vae.posterior.projections["loc"].bias.assign_add(np.full(D, 9.0))
    x = np.zeros((3, VALUES), "float32")
    with pytest.warns(UserWarning, match="3 of 3 examples have fewer than 10 effective samples"):
        found_gaps(vae, x, num_samples=50, num_steps=1)


@few_do_not_matter
def test_neither_chunks_nor_the_rows_beside_it_change_a_row():
    linear = random_linear()
    vae, x = linear_vae(linear, DIAGONAL(D)), drawn(linear, 7)
    whole, other = found_gaps(vae, x), found_gaps(vae, x[:3], seed=1)
    parts = found_gaps(vae, x[:5], memory=1)
    for name in ("amortised_bound", "optimised_bound", "log_likelihood"):
        np.testing.assert_allclose(
            getattr(parts, name), getattr(whole, name)[:5], rtol=1e-5, err_msg=name
        )
        assert np.all(getattr(other, name) != getattr(whole, name)[:3])


@few_do_not_matter
def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch):
    linear = random_linear()
    vae, x, file = linear_vae(linear, DIAGONAL(D)), drawn(linear, 4), tmp_path / "kept.npz"
    whole = found_gaps(vae, x, memory=1)
    found, done = resumed(
        monkeypatch, gaps._Bounds, 2, lambda: found_gaps(vae, x, memory=1, checkpoint=file)
    )
    assert done == [0, 1, 2, 3]
    np.testing.assert_array_equal(found.optimised_bound, whole.optimised_bound)
    with pytest.raises(ValueError, match="is of another run"):
        found_gaps(vae, x, num_steps=4, checkpoint=file)


# What is refused


def test_draws_without_a_gradient_are_refused():
    vae = make_vae(
        posterior=POSTERIORS["Bernoulli"],
        prior=PRIORS["UniformBernoulli"],
        objective=OBJECTIVES["ELBO-score"],
    )
    with pytest.raises(ValueError, match=r"Received: Bernoulli, whose draws are choices"):
        found_gaps(vae, data_for(vae.likelihood, 1))


@few_do_not_matter
def test_labels_are_known_or_refused():
    vae = keras_vae.VAE(
        networks.mlp([6]),
        networks.mlp([6]),
        DIAGONAL(2),
        priors.StandardNormal(2),
        likelihoods.Bernoulli((5,)),
        condition=conditions.Labels(3, networks.mlp([4], "tanh")),
        seed=0,
    )
    x = np.random.default_rng(0).integers(0, 2, (3, 5)).astype("float32")
    with pytest.raises(ValueError, match="a label for each row"):
        found_gaps(vae, x)
    source = Source(x, condition=np.array([0, 2, 1]))
    found = found_gaps(vae, source, num_samples=4_000)
    np.testing.assert_allclose(found.amortised_bound, vae.elbo(source, 4_000, seed=1), atol=0.1)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("num_samples", 0),
        ("num_steps", 0),
        ("learning_rate", 0.0),
        ("learning_rate", "fast"),
        ("log_likelihood", np.zeros(2)),
        ("log_likelihood", np.array([np.nan])),
        ("memory", -1),
    ],
)
def test_arguments_out_of_range_are_refused(argument, value):
    vae = make_vae()
    with pytest.raises(ValueError, match=f"`{argument}`"):
        found_gaps(vae, data_for(vae.likelihood, 1), **{argument: value})
