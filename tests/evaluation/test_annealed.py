"""Annealed importance sampling against models whose log p(x) is known."""

import math

import integration
import numpy as np
import pytest
from interrupted import resumed
from linear_gaussian import D, Linear, drawn, linear_vae, random_linear
from parts import (
    LIKELIHOODS,
    POSTERIORS,
    PRIORS,
    assert_close_to_mean,
    beside_for,
    data_for,
    make_vae,
)

import keras_vae
from keras_vae import conditions, evaluation, likelihoods, networks, posteriors, priors
from keras_vae.data import Source
from keras_vae.evaluation import annealed
from keras_vae.evaluation.annealed_path import AnnealedPath
from keras_vae.evaluation.annealing import temperatures

# Where the subject is another one: a few steps leave a few chains.
few_do_not_matter = pytest.mark.filterwarnings("ignore:.*effective")


def sampled(vae, x, **arguments):
    """Few short chains, unless said otherwise."""
    short = {"num_chains": 4, "num_steps": 4, "num_leapfrog_steps": 2, **arguments}
    return evaluation.annealed_importance_sampling(vae, x, **short)


# The estimate


def test_the_estimate_is_within_two_standard_errors_about_as_often_as_it_says():
    """Of 200 rows 95 %: 183 to 197 with probability 0.999 if the errors are Normal."""
    linear = random_linear()
    x = drawn(linear, 200)
    vae = linear_vae(linear, posteriors.DiagonalNormal(D))
    found = sampled(vae, x, num_chains=16, num_steps=100, num_leapfrog_steps=5, seed=1)
    scores = (found.per_example - linear.log_prob(x)) / found.standard_errors
    assert 183 <= np.sum(np.abs(scores) < 2) <= 197
    assert scores.std() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(("start", "schedule"), [("prior", "linear"), ("posterior", "sigmoid")])
def test_the_mean_weight_is_p_of_x_however_few_the_steps(start, schedule):
    """The step sizes are found by other chains: what is not tuned well is not biased."""
    linear = random_linear()
    vae = linear_vae(linear, posteriors.DiagonalNormal(D))
    x = np.repeat(drawn(linear, 1), 60, axis=0)
    found = sampled(vae, x, num_chains=256, num_steps=3, start=start, schedule=schedule)
    assert_close_to_mean(np.exp(found.per_example - linear.log_prob(x)), 1.0)
    assert found.per_example.std() > 0.02  # else there were nothing to be fair about


def test_a_bad_encoder_does_not_matter():
    linear = random_linear()
    vae = linear_vae(linear, posteriors.DiagonalNormal(D))
    vae.posterior.projections["loc"].bias.assign_add(np.full(D, 8.0))
    x = drawn(linear, 16)
    with pytest.warns(UserWarning, match=r"evaluation\.annealed_importance_sampling"):
        by_encoder = evaluation.log_likelihood(vae, x, num_samples=1_000)
    found = sampled(vae, x, num_chains=16, num_steps=200, num_leapfrog_steps=5)
    expected = linear.log_prob(x)
    assert np.all(by_encoder.per_example < expected - 3)
    error = (found.per_example - expected).mean()
    assert abs(error) < 3 * found.standard_error_of_draws


def test_it_agrees_with_quadrature_under_a_decoder_that_is_not_linear():
    vae = make_vae()
    random = np.random.default_rng(0)
    for weight in (*vae.decoder.weights, *vae.likelihood.weights):
        weight.assign(1.5 * random.normal(size=weight.shape))
    x = data_for(vae.likelihood, 6)
    found = sampled(vae, x, num_chains=32, num_steps=300, num_leapfrog_steps=5)
    errors = np.abs(found.per_example - integration.log_p(vae, x, {}, side=241, reach=7.0))
    np.testing.assert_array_less(errors, 4 * found.standard_errors)
    assert np.all(found.standard_errors < 0.1)


FAMILIES = {name.split("-")[0]: name for name in reversed(LIKELIHOODS)}  # one of each


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_it_agrees_with_quadrature_over_two_latents(family):
    vae = make_vae(likelihood=LIKELIHOODS[FAMILIES[family]])
    random = np.random.default_rng(0)
    for weight in vae.decoder.weights:
        weight.assign(1.5 * random.normal(size=weight.shape))
    x = data_for(vae.likelihood, 3)
    beside = {k: v for k, v in beside_for(vae, 3).items() if k != "condition"}
    found = sampled(vae, Source(x, **beside), num_chains=32, num_steps=300, num_leapfrog_steps=5)
    expected = integration.log_p(vae, x, beside)
    errors = np.abs(found.per_example - expected)
    np.testing.assert_array_less(errors, 4 * found.standard_errors + 1e-5 * np.abs(expected))
    assert np.all(found.standard_errors < 0.2)


def test_what_goes_with_x_counts():
    vae = make_vae(
        prior=PRIORS["ConditionalNormal"],
        likelihood=lambda: likelihoods.Poisson((3,), size_factor=True),
    )
    for projection in vae.posterior.projections.values():  # q(z|x) wider than any p(z|x)
        projection.kernel.assign(projection.kernel * 0)
    vae.posterior.projections["scale_diag"].bias.assign([3.0, 3.0])
    source = Source(data_for(vae.likelihood, 4), **beside_for(vae, 4))
    found = sampled(vae, source, num_chains=16, num_steps=200, num_leapfrog_steps=5)
    expected = evaluation.log_likelihood(vae, source, num_samples=20_000)
    errors = np.hypot(found.standard_errors, expected.standard_errors)
    np.testing.assert_array_less(np.abs(found.per_example - expected.per_example), 4 * errors)
    changed = Source(source.values, condition=-source.condition, size_factor=source.size_factor)
    other = evaluation.log_likelihood(vae, changed, num_samples=20_000)
    assert np.any(np.abs(found.per_example - other.per_example) > 8 * errors)


# The chains


def test_the_temperatures_rise_from_0_to_1():
    np.testing.assert_allclose(temperatures("linear", 4), [0, 0.25, 0.5, 0.75, 1])
    raw = 1 / (1 + np.exp(-np.array([-4.0, -2.0, 0.0, 2.0, 4.0])))
    expected = (raw - raw[0]) / (raw[-1] - raw[0])
    np.testing.assert_allclose(temperatures("sigmoid", 4), expected, atol=1e-15)


@few_do_not_matter
@pytest.mark.parametrize("sigma", [0.03, 3.0])
def test_the_step_sizes_of_each_row_are_found(sigma):
    """Where p(z|x) is 30 times as narrow as p(z), and where it is as wide."""
    linear = Linear(random_linear().w, random_linear().b, sigma)
    vae = linear_vae(linear, posteriors.DiagonalNormal(D))
    found = sampled(vae, drawn(linear, 8), num_steps=300)
    assert np.all(np.abs(found.acceptance_rates - 0.65) < 0.1)


@few_do_not_matter
def test_a_row_depends_on_its_number_and_the_seed_alone():
    """Not on the rows beside it, nor on memory: to the last bit."""
    linear = random_linear()
    vae, x = linear_vae(linear, posteriors.DiagonalNormal(D)), drawn(linear, 70)
    x[1] = x[0]
    whole = sampled(vae, x)  # groups of 64 rows
    part = sampled(vae, x[:66], memory=2**24)
    np.testing.assert_array_equal(part.per_example, whole.per_example[:66])
    np.testing.assert_array_equal(part.acceptance_rates, whole.acceptance_rates[:66])
    assert whole.per_example[0] != whole.per_example[1]
    assert np.all(sampled(vae, x[:66], seed=1).per_example != part.per_example)


@few_do_not_matter
@pytest.mark.parametrize(("memory", "chains"), [(1, {1}), (2**13, {1, 2, 3})])
def test_little_memory_divides_the_chains_and_changes_nothing(monkeypatch, memory, chains):
    """But for rounding: the draws are those of the whole group."""
    linear = random_linear()
    vae, x = linear_vae(linear, posteriors.DiagonalNormal(D)), drawn(linear, 45)
    whole = sampled(vae, x, num_chains=6, num_steps=60)
    sizes = set()
    terms = AnnealedPath._terms

    def spied(self, z):
        sizes.add(z.shape[0])
        return terms(self, z)

    monkeypatch.setattr(AnnealedPath, "_terms", spied)
    found = sampled(vae, x, num_chains=6, num_steps=60, memory=memory)
    assert sizes <= chains
    assert 6 not in sizes
    np.testing.assert_allclose(found.per_example, whole.per_example, atol=1e-3)


@few_do_not_matter
def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch):
    linear = random_linear()
    vae, x = linear_vae(linear, posteriors.DiagonalNormal(D)), drawn(linear, 9)
    file = tmp_path / "kept.npz"
    whole = sampled(vae, x, num_chains=128)  # groups of 2 rows
    found, done = resumed(
        monkeypatch, annealed._Forward, 2, lambda: sampled(vae, x, num_chains=128, checkpoint=file)
    )
    assert done == [0, 2, 4, 6, 8]
    np.testing.assert_array_equal(found.per_example, whole.per_example)
    with pytest.raises(ValueError, match="is of another run"):
        sampled(vae, x, num_chains=128, schedule="linear", checkpoint=file)


# What is said of it


def test_few_effective_chains_are_warned_of():
    linear = Linear(random_linear().w, random_linear().b, 0.01)
    vae = linear_vae(linear, posteriors.DiagonalNormal(D))
    with pytest.warns(UserWarning, match=r"fewer than 2 effective chains of 4 .*more steps"):
        sampled(vae, drawn(linear, 4), num_steps=1)


# What is refused


def labelled():
    return keras_vae.VAE(
        networks.mlp([6]),
        networks.mlp([6]),
        posteriors.DiagonalNormal(2),
        priors.StandardNormal(2),
        likelihoods.Bernoulli((5,)),
        condition=conditions.Labels(3, networks.mlp([4], "tanh")),
        seed=0,
    )


@few_do_not_matter
def test_labels_that_are_known_are_taken_and_others_refused():
    vae = labelled()
    x = np.random.default_rng(0).integers(0, 2, (3, 5)).astype("float32")
    source = Source(x, condition=np.array([0, 2, 1]))
    found = sampled(vae, source, num_chains=16, num_steps=100)
    expected = integration.log_p(vae, x, {"condition": source.condition}) - math.log(3)
    errors = np.abs(found.per_example - expected)  # of log p(x, c)
    np.testing.assert_array_less(errors, 4 * found.standard_errors)
    assert found.bits_per_dimension == pytest.approx(-found.mean.mean / (5 * math.log(2)))
    assert "of 16 draws" in str(found)
    assert (found.num_samples, found.num_steps) == (16, 100)
    for unknown in (x, Source(x, condition=np.array([0, -1, 1]))):
        with pytest.raises(ValueError, match=r"A label .* Expected: a label for each row"):
            sampled(vae, unknown)


@pytest.mark.parametrize(
    ("posterior", "prior"),
    [("VonMisesFisher", "UniformSphere"), ("RelaxedBernoulli", "UniformBernoulli-relaxed")],
)
def test_latents_that_are_no_real_vectors_are_refused(posterior, prior):
    vae = make_vae(posterior=POSTERIORS[posterior], prior=PRIORS[prior])
    with pytest.raises(ValueError, match="Expected: a prior whose z are all real vectors"):
        sampled(vae, data_for(vae.likelihood, 1))


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("num_chains", 0),
        ("num_steps", 2.5),
        ("num_leapfrog_steps", 0),
        ("schedule", "cosine"),
        ("start", "encoder"),
        ("memory", 0),
    ],
)
def test_arguments_out_of_range_are_refused(argument, value):
    vae = make_vae()
    with pytest.raises(ValueError, match=f"`{argument}`"):
        sampled(vae, data_for(vae.likelihood, 1), **{argument: value})
