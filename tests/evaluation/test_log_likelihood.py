"""The importance-weighted log p(x) against models whose log p(x) is known."""

import dataclasses
import math

import integration
import keras
import numpy as np
import pytest
from interrupted import resumed
from linear_gaussian import VALUES, D, drawn, linear_vae, random_linear, set_exact_posterior
from parts import LIKELIHOODS, beside_for, data_for, make_vae
from scipy import special

import keras_vae
from keras_vae import conditions, evaluation, likelihoods, networks, posteriors, priors
from keras_vae.data import Source
from keras_vae.evaluation.log_likelihood import LogLikelihood, _Sampler, log_likelihood

FULL = posteriors.FullCovarianceNormal
# Where the subject is another one: an untrained encoder has few effective samples.
few_do_not_matter = pytest.mark.filterwarnings("ignore:.*effective samples")


def near_vae(linear):
    """A model whose q(z|x) is near p(z|x) and wider, so that its weights have a variance."""
    vae = linear_vae(linear, FULL(D))
    set_exact_posterior(vae, linear)
    vae.posterior.projections["loc"].kernel.assign_add(np.full((VALUES, D), 0.02))
    vae.posterior.projections["scale_tril"].bias.assign_add(np.full(3, 0.3))
    return vae


def test_the_estimate_is_within_two_standard_errors_about_as_often_as_it_says():
    """Of 200 repetitions 95 %: 183 to 197 with probability 0.999 if the errors are Normal."""
    linear = random_linear()
    x = drawn(linear, 200)
    found = log_likelihood(near_vae(linear), x, num_samples=1_000, seed=1)
    scores = (found.per_example - linear.log_prob(x)) / found.standard_errors
    assert 183 <= np.sum(np.abs(scores) < 2) <= 197
    assert scores.std() == pytest.approx(1, abs=0.2)


@pytest.mark.filterwarnings("ignore:.*effective samples")  # a few of 10,000 x have fewer
def test_the_error_of_the_mean_is_over_the_examples_and_as_large_as_it_says():
    """200 repetitions on 50 x each; the mean of log p(x) is minus the entropy."""
    linear = random_linear()
    found = log_likelihood(near_vae(linear), drawn(linear, 10_000), num_samples=50)
    covariance = linear.w @ linear.w.T + linear.sigma**2 * np.eye(VALUES)
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * covariance)[1]
    parts = np.split(found.per_example, 200)
    means = [dataclasses.replace(found, per_example=part).mean for part in parts]
    within = sum(abs(mean.mean + entropy) < 2 * mean.standard_error for mean in means)
    assert 182 <= within <= 198


def test_the_error_of_the_draws_is_that_of_these_very_examples():
    """200 repetitions on 20 x each, whose log p(x) is known; means of 20 are nearly Normal."""
    linear = random_linear()
    x = drawn(linear, 4_000)
    found = log_likelihood(near_vae(linear), x, num_samples=200)
    errors = (found.per_example - linear.log_prob(x)).reshape(200, 20).mean(1)
    both = found.per_example, found.standard_errors
    parts = zip(*(np.split(each, 200) for each in both), strict=True)
    said = [
        dataclasses.replace(found, per_example=p, standard_errors=e).standard_error_of_draws
        for p, e in parts
    ]
    assert 182 <= np.sum(np.abs(errors) < 2 * np.array(said)) <= 198
    assert np.std(errors / said) == pytest.approx(1, abs=0.2)


def test_with_the_exact_posterior_every_draw_says_log_p_x():
    linear = random_linear()
    vae = linear_vae(linear, FULL(D))
    set_exact_posterior(vae, linear)
    x = drawn(linear, 20)
    found = log_likelihood(vae, x, num_samples=300)
    np.testing.assert_allclose(found.per_example, linear.log_prob(x), rtol=1e-5)
    np.testing.assert_allclose(found.effective_sample_sizes, 300, rtol=1e-4)
    np.testing.assert_allclose(found.standard_errors, 0, atol=1e-3)


def test_the_estimate_rises_with_the_number_of_draws():
    linear = random_linear()
    x = drawn(linear, 100)
    vae = linear_vae(linear, FULL(D))  # of random weights
    with pytest.warns(UserWarning, match="effective samples"):
        means = [log_likelihood(vae, x, num_samples=k).mean.mean for k in (1, 10, 100, 1_000)]
    assert np.all(np.diff(means) > 0)
    assert means[-1] < linear.log_prob(x).mean() + 0.05


def covering(vae):
    """The model with q(z|x) = N(0, 1.7^2), wider than any p(z|x): its weights are bounded."""
    for projection in vae.posterior.projections.values():
        projection.kernel.assign(projection.kernel * 0)
    vae.posterior.projections["scale_diag"].bias.assign([1.5, 1.5])
    return vae


@few_do_not_matter
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_it_agrees_with_quadrature_over_two_latents(name):
    vae = covering(make_vae(likelihood=LIKELIHOODS[name]))
    x = data_for(vae.likelihood, 3)
    beside = {k: v for k, v in beside_for(vae, 3).items() if k != "condition"}
    source = Source(x, **beside)
    expected = integration.log_p(vae, x, beside)
    found = log_likelihood(vae, source, num_samples=4_000)
    errors = np.abs(found.per_example - expected)
    np.testing.assert_array_less(errors, 4 * found.standard_errors + 1e-5 * np.abs(expected))
    assert np.all(found.standard_errors < 0.2)


@few_do_not_matter
def test_the_size_factor_of_a_source_counts():
    vae = covering(make_vae(likelihood=lambda: likelihoods.Poisson((3,), size_factor=True)))
    x = np.array([[1.0, 0.0, 4.0], [3.0, 2.0, 7.0]], "float32")
    factor = np.array([0.5, 2.0], "float32")
    found = log_likelihood(vae, Source(x, size_factor=factor), num_samples=2_000)
    expected = integration.log_p(vae, x, {"size_factor": factor})
    np.testing.assert_array_less(np.abs(found.per_example - expected), 4 * found.standard_errors)


@few_do_not_matter
def test_the_condition_of_a_source_counts():
    vae = covering(make_vae(prior=lambda: priors.ConditionalNormal(2)))
    x = data_for(vae.likelihood, 4)
    condition = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    found = log_likelihood(vae, Source(x, condition=condition), num_samples=2_000)
    other = log_likelihood(vae, Source(x, condition=-condition), num_samples=2_000)
    q, p = vae.latents(x, condition)
    z = q.sample(20_000, seed=(3, 3))
    weights = vae.decode(z, condition).log_prob(x) + p.log_prob(z) - q.log_prob(z)
    expected = special.logsumexp(weights, axis=0) - math.log(20_000)
    np.testing.assert_array_less(np.abs(found.per_example - expected), 4 * found.standard_errors)
    assert np.all(np.abs(other.per_example - expected) > 0.01)


@few_do_not_matter
def test_a_label_that_is_not_known_is_summed_over():
    vae = keras_vae.VAE(
        networks.mlp([6]),
        networks.mlp([6]),
        posteriors.DiagonalNormal(2),
        priors.StandardNormal(2),
        likelihoods.Bernoulli((5,)),
        condition=conditions.Labels(3, networks.mlp([4], "tanh")),
        seed=0,
    )
    covering(vae)
    x = np.random.default_rng(0).integers(0, 2, (4, 5)).astype("float32")
    unknown = log_likelihood(vae, x, num_samples=4_000)
    each = [
        log_likelihood(vae, Source(x, condition=np.full(4, label)), num_samples=4_000)
        for label in range(3)
    ]  # log p(x, c)
    expected = special.logsumexp([e.per_example for e in each], axis=0)
    errors = np.hypot(unknown.standard_errors, np.max([e.standard_errors for e in each], axis=0))
    np.testing.assert_array_less(np.abs(unknown.per_example - expected), 4 * errors)


# Chunks


def test_the_chunks_do_not_change_the_estimate():
    linear = random_linear()
    vae, x = near_vae(linear), drawn(linear, 30)
    whole = log_likelihood(vae, x, num_samples=600)
    for memory in (1, 500_000):
        parts = log_likelihood(vae, x, num_samples=600, memory=memory)
        np.testing.assert_allclose(parts.per_example, whole.per_example, rtol=1e-5)
        np.testing.assert_allclose(parts.standard_errors, whole.standard_errors, rtol=1e-3)


@few_do_not_matter
def test_the_chunks_fit_the_memory(monkeypatch):
    linear = random_linear()
    vae, x = near_vae(linear), drawn(linear, 100)
    sizes = []
    call = _Sampler.__call__

    def spied(self, source, numbers):
        sizes.append(len(source))
        return call(self, source, numbers)

    monkeypatch.setattr(_Sampler, "__call__", spied)
    row = _Sampler(vae, 250, 0).bytes_of_row(Source(x))
    assert row > 250 * (VALUES + D) * 4  # z and the mean of p(x|z) at least
    log_likelihood(vae, x, num_samples=250, memory=40 * row)
    assert sizes == [40, 40, 20]


@few_do_not_matter
def test_the_seed_decides():
    linear = random_linear()
    vae, x = near_vae(linear), drawn(linear, 5)
    first, same, other = (log_likelihood(vae, x, 50, seed=s).per_example for s in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert np.all(first != other)


@few_do_not_matter
def test_equal_rows_have_draws_of_their_own():
    linear = random_linear()
    x = np.repeat(drawn(linear, 1), 5, axis=0)
    found = log_likelihood(near_vae(linear), x, 50).per_example
    assert len(set(found.tolist())) == 5


@few_do_not_matter
def test_bits_that_are_drawn_at_each_visit_are_drawn_once():
    vae = make_vae()
    grey = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 1), dtype=np.uint8)
    source = Source(grey, 255.0, dynamic=True)
    found = log_likelihood(vae, source, 50)
    bits = log_likelihood(vae, source.array(), 50)
    np.testing.assert_array_equal(found.per_example, bits.per_example)
    again = log_likelihood(vae, source, 50, memory=1)  # chunks round otherwise
    np.testing.assert_allclose(found.per_example, again.per_example, rtol=1e-5)


# Resuming


@few_do_not_matter
def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch):
    linear = random_linear()
    vae, x, file = near_vae(linear), drawn(linear, 10), tmp_path / "kept.npz"
    whole = log_likelihood(vae, x, 50, memory=1)
    found, done = resumed(
        monkeypatch, _Sampler, 4, lambda: log_likelihood(vae, x, 50, memory=1, checkpoint=file)
    )
    assert done == list(range(10))
    np.testing.assert_array_equal(found.per_example, whole.per_example)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.npz"]


@few_do_not_matter
def test_the_same_model_made_again_goes_on_whatever_keras_calls_it(tmp_path):
    file = tmp_path / "kept.npz"
    x = data_for(make_vae().likelihood, 3)
    keras.utils.set_random_seed(1)
    first, name = make_vae(), make_vae().name
    keras.utils.set_random_seed(1)
    again = make_vae()
    assert again.name not in (first.name, name)
    found = log_likelihood(first, x, 50, checkpoint=file)
    kept = log_likelihood(again, x, 50, checkpoint=file)
    np.testing.assert_array_equal(found.per_example, kept.per_example)


@few_do_not_matter
@pytest.mark.parametrize("changed", ["weights", "x", "seed", "num_samples"])
def test_the_checkpoint_of_another_run_is_refused(tmp_path, changed):
    linear = random_linear()
    vae, x, file = near_vae(linear), drawn(linear, 4), tmp_path / "kept.npz"
    log_likelihood(vae, x, 50, seed=0, checkpoint=file)
    arguments = {"x": x, "num_samples": 50, "seed": 0}
    if changed == "weights":
        vae.likelihood.projections["loc"].bias.assign_add(np.full(VALUES, 1e-3))
    else:
        arguments[changed] = arguments[changed] + 1
    with pytest.raises(ValueError, match="is of another run"):
        log_likelihood(vae, checkpoint=file, **arguments)


@few_do_not_matter
def test_a_network_that_cannot_say_how_it_was_made_can_be_evaluated(tmp_path):
    class Plain(keras.layers.Layer):
        def __init__(self, dense):
            super().__init__()
            self.dense = dense

        def call(self, x):
            return self.dense(keras.ops.reshape(x, (-1, 16)))

    vae = make_vae(encoder=lambda: Plain(keras.layers.Dense(3)))
    x = data_for(vae.likelihood, 3)
    found = log_likelihood(vae, x, 50)
    kept = log_likelihood(vae, x, 50, checkpoint=tmp_path / "kept.npz")
    np.testing.assert_array_equal(found.per_example, kept.per_example)


# What is said of it


def test_few_effective_samples_are_warned_of():
    linear = random_linear()
    vae = near_vae(linear)
    vae.posterior.projections["loc"].bias.assign_add(np.full(D, 6.0))
    with pytest.warns(UserWarning, match=r"20 of 20 examples have fewer than 10 effective"):
        log_likelihood(vae, drawn(linear, 20), num_samples=100)


def test_the_bootstrap_interval_holds_the_mean_about_as_often_as_it_says():
    """Percentiles of 60 examples hold it a little less often than 95 %."""
    linear = random_linear()
    covariance = linear.w @ linear.w.T + linear.sigma**2 * np.eye(VALUES)
    expected = -0.5 * np.linalg.slogdet(2 * math.pi * math.e * covariance)[1]
    held = 0
    for seed in range(200):
        values = linear.log_prob(drawn(linear, 60, seed=100 + seed))
        found = LogLikelihood(values, values * 0, values * 0 + 1, 1, None)
        low, high = found.interval(seed=seed)
        held += low < expected < high
    assert 178 <= held <= 197


@few_do_not_matter
def test_bits_are_of_discrete_data_alone():
    bits = log_likelihood(make_vae(), data_for(make_vae().likelihood, 5), 50)
    assert bits.bits_per_dimension == pytest.approx(-bits.mean.mean / (16 * math.log(2)))
    linear = random_linear()
    real = log_likelihood(near_vae(linear), drawn(linear, 5), 50)
    assert real.bits_per_dimension is None
    assert "bits" in str(bits)
    assert "bits" not in str(real)


@few_do_not_matter
def test_a_one_hot_vector_is_one_value_and_missing_values_are_none():
    one_hot = make_vae(likelihood=lambda: likelihoods.OneHotCategorical((5, 3)))
    found = log_likelihood(one_hot, data_for(one_hot.likelihood, 4), 50)
    assert found.bits_per_dimension == pytest.approx(-found.mean.mean / (5 * math.log(2)))
    missing = make_vae(likelihood=lambda: likelihoods.Missing(likelihoods.Bernoulli((6,))))
    found = log_likelihood(missing, data_for(missing.likelihood, 4), 50)
    assert found.bits_per_dimension is None


@pytest.mark.parametrize("num_samples", [0, -1, 2.5, "many"])
def test_a_number_of_draws_that_is_none_is_refused(num_samples):
    with pytest.raises(ValueError, match="num_samples"):
        log_likelihood(make_vae(), np.zeros((1, 4, 4, 1)), num_samples)


@pytest.mark.parametrize("confidence", [95, 0, 1, -0.5, "a"])
def test_a_confidence_that_is_none_is_refused(confidence):
    found = LogLikelihood(np.zeros(3), np.zeros(3), np.ones(3), 1, None)
    with pytest.raises(ValueError, match="between 0 and 1"):
        found.interval(confidence)


@pytest.mark.parametrize("x", [None, "digits", 3, keras_vae.data.load("digits")])
def test_what_is_no_rows_is_refused(x):
    with pytest.raises(ValueError, match="x is no rows of numbers"):
        log_likelihood(make_vae(), x)


def test_other_bad_input_is_refused():
    vae = make_vae()
    with pytest.raises(ValueError, match="support"):
        log_likelihood(vae, np.full((2, 4, 4, 1), 0.5))
    with pytest.raises(ValueError, match="holds no examples"):
        log_likelihood(vae, np.zeros((0, 4, 4, 1)))
    with pytest.raises(ValueError, match="memory"):
        log_likelihood(vae, np.zeros((1, 4, 4, 1)), memory=0)


def test_it_is_what_users_find():
    assert evaluation.log_likelihood is log_likelihood
    assert keras.backend.backend() == "tensorflow"
