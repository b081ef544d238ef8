"""The parts of the KL against closed forms, and against integrals of the aggregate posterior."""

import numpy as np
import pytest
import tensorflow as tf
from linear_gaussian import D, linear_vae, random_linear
from parts import POSTERIORS, PRIORS, data_for, make_vae
from scipy import integrate, stats

from keras_vae import posteriors
from keras_vae.data import Source
from keras_vae.evaluation import decomposition, kl_decomposition, rate
from keras_vae.evaluation.decomposition import _over_draws


def aggregate(vae, x):
    """The mean and the scale of each component of q(z), `[N, D]`."""
    q = vae.encode(x)
    return q.mean().numpy().astype("float64"), q.stddev().numpy().astype("float64")


def diagonal_vae():
    linear = random_linear()
    vae = linear_vae(linear, posteriors.DiagonalNormal(D))
    x = np.random.default_rng(1).normal(size=(40, 5)).astype("float32") * 1.5
    return vae, x


def test_the_parts_add_up_to_the_kl():
    vae, x = diagonal_vae()
    found = kl_decomposition(vae, x, num_samples=500)
    parts = (found.mutual_information, found.total_correlation, found.dimension_kl)
    assert sum(part.mean for part in parts) == pytest.approx(found.kl.mean, abs=1e-9)
    both = found.total_correlation.mean + found.dimension_kl.mean
    assert both == pytest.approx(found.marginal_kl.mean, abs=1e-9)
    exact = rate(vae, x)
    assert abs(found.kl.mean - exact.mean) < 4 * found.kl.standard_error < 0.2


def integrals(vae, x):
    """Each part, over a grid of z that holds all of q(z), a mixture of Normals in two dimensions."""
    loc, scale = aggregate(vae, x)
    low, high = (loc - 8 * scale).min(0), (loc + 8 * scale).max(0)
    axes = [np.linspace(low[d], high[d], 401) for d in range(D)]
    by_dimension = [stats.norm.pdf(axes[d][:, None], loc[:, d], scale[:, d]) for d in range(D)]
    joint = np.einsum("an,bn->ab", *by_dimension) / len(x)
    marginals = [density.mean(axis=1) for density in by_dimension]
    tiny = 1e-300

    def integral(values):
        return integrate.simpson(integrate.simpson(values, x=axes[1]), x=axes[0])

    log_product = np.log(marginals[0] + tiny)[:, None] + np.log(marginals[1] + tiny)
    log_joint = np.log(joint + tiny)
    log_prior = stats.norm.logpdf(axes[0])[:, None] + stats.norm.logpdf(axes[1])
    entropy = np.mean(np.sum(0.5 * np.log(2 * np.pi * np.e * scale**2), axis=1))
    return {
        "mutual_information": -integral(joint * log_joint) - entropy,
        "total_correlation": integral(joint * (log_joint - log_product)),
        "dimension_kl": integral(joint * (log_product - log_prior)),
        "marginal_kl": integral(joint * (log_joint - log_prior)),
    }


def test_each_part_is_its_integral():
    vae, x = diagonal_vae()
    found = kl_decomposition(vae, x, num_samples=500, seed=2)
    for name, value in integrals(vae, x).items():
        part = getattr(found, name)
        assert abs(part.mean - value) < 4 * part.standard_error, name
        assert part.standard_error < 0.05


def test_the_errors_are_over_the_draws_for_the_rows_as_they_are():
    """200 repetitions, rows that differ far more than their draws do."""
    random = np.random.default_rng(0)
    rows = 10 * random.normal(size=(40, 1))
    within = 0
    for _ in range(200):
        found = _over_draws(rows + random.normal(size=(40, 2)) * np.linspace(0.5, 2, 40)[:, None])
        within += abs(found.mean - rows.mean()) < 2 * found.standard_error
    assert 182 <= within <= 198
    assert np.isnan(_over_draws(rows).standard_error)


def test_the_errors_of_its_parts_are_as_large_as_they_say(monkeypatch):
    """Of 200 repetitions 95 % within two errors: 182 to 198 with probability 0.999.

    2,000 draws of each row, which are independent, are 200 repetitions with 10.
    """
    vae, x = diagonal_vae()
    parts = []
    monkeypatch.setattr(
        decomposition, "_over_draws", lambda values: (parts.append(values), _over_draws(values))[1]
    )
    kl_decomposition(vae, x, num_samples=2_000, seed=1)
    names = ("kl", "mutual_information", "marginal_kl", "total_correlation", "dimension_kl")
    expected = integrals(vae, x)
    expected["kl"] = expected["mutual_information"] + expected["marginal_kl"]
    for name, values in zip(names, parts, strict=True):
        found = [_over_draws(values[:, i::200]) for i in range(200)]
        scores = [(one.mean - expected[name]) / one.standard_error for one in found]
        assert 182 <= np.sum(np.abs(scores) < 2) <= 198, name
        assert np.std(scores) == pytest.approx(1, abs=0.2), name


def test_one_example_has_no_information_and_equal_ones_have_none_either():
    vae, x = diagonal_vae()
    for rows in (x[:1], np.repeat(x[:1], 20, axis=0)):
        found = kl_decomposition(vae, rows, num_samples=50)
        assert found.mutual_information.mean == pytest.approx(0, abs=1e-5)


def test_examples_that_are_far_apart_have_the_information_of_their_number():
    vae, _ = diagonal_vae()
    for projection, value in (("loc", 0.0), ("scale_diag", -3.0)):
        vae.posterior.projections[projection].kernel.assign(np.zeros((5, D)))
        vae.posterior.projections[projection].bias.assign(np.full(D, value))
    vae.posterior.projections["loc"].kernel.assign(np.eye(5, D) * 10)
    x = np.zeros((7, 5), "float32")
    x[:, 0] = np.arange(7)
    found = kl_decomposition(vae, x, num_samples=20)
    assert found.mutual_information.mean == pytest.approx(np.log(7), abs=1e-4)
    assert found.total_correlation.mean == pytest.approx(0, abs=1e-4)


def test_the_correlation_of_a_line_is_that_of_its_coordinates():
    """q(z) concentrated on z_1 = z_2: of N far points both coordinates say which, log N."""
    vae, _ = diagonal_vae()
    vae.posterior.projections["scale_diag"].kernel.assign(np.zeros((5, D)))
    vae.posterior.projections["scale_diag"].bias.assign(np.full(D, -3.0))
    kernel = np.zeros((5, D))
    kernel[0] = 10
    vae.posterior.projections["loc"].kernel.assign(kernel)
    x = np.zeros((9, 5), "float32")
    x[:, 0] = np.arange(9)
    found = kl_decomposition(vae, x, num_samples=20)
    assert found.total_correlation.mean == pytest.approx(np.log(9), abs=1e-4)


def test_the_chunks_and_the_seed():
    vae, x = diagonal_vae()
    whole, again, other = (
        kl_decomposition(vae, x, 3, seed, memory)
        for seed, memory in ((0, 2**28), (0, 10_000), (1, 2**28))
    )
    assert whole.mutual_information.mean == pytest.approx(again.mutual_information.mean, rel=1e-5)
    assert whole.mutual_information.mean != other.mutual_information.mean


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch):
    vae, x = diagonal_vae()
    file, compute, done = tmp_path / "kept.npz", decomposition._log_densities, []

    def stopped(q, p, z, numbers, split):
        if not tf.inside_function():  # where it is traced for its memory
            if len(done) == 3:
                done.append("stopped")
                raise KeyboardInterrupt
            done.append(len(z))
        return compute(q, p, z, numbers, split)

    monkeypatch.setattr(decomposition, "_log_densities", stopped)
    with pytest.raises(KeyboardInterrupt):
        kl_decomposition(vae, x, 3, memory=10_000, checkpoint=file)
    resumed = kl_decomposition(vae, x, 3, memory=10_000, checkpoint=file)
    assert sum(size for size in done if size != "stopped") == 3 * len(x)
    assert resumed == kl_decomposition(vae, x, 3, memory=10_000)


@pytest.mark.parametrize(
    ("posterior", "prior", "splits"),
    [
        ("FullCovarianceNormal", "StandardNormal", False),
        ("DiagonalNormal", "MixtureOfNormals", False),
        ("DiagonalNormal", "VampPrior", False),
        ("Laplace", "StandardNormal", True),
        ("InverseAutoregressiveFlow", "StandardNormal", False),
        ("Bernoulli", "UniformBernoulli", True),
    ],
)
def test_dimensions_that_depend_on_each_other_are_not_split(posterior, prior, splits):
    objective = {"objective": lambda: score()} if posterior == "Bernoulli" else {}
    vae = make_vae(POSTERIORS[posterior], PRIORS[prior], **objective)
    found = kl_decomposition(vae, data_for(vae.likelihood, 10), num_samples=5)
    assert (found.total_correlation is not None) == splits == (found.dimension_kl is not None)
    total = found.mutual_information.mean + found.marginal_kl.mean
    assert total == pytest.approx(found.kl.mean, abs=1e-5)
    assert found.mutual_information.mean < np.log(10) + 1e-5


def score():
    from keras_vae import objectives

    return objectives.ELBO(num_samples=2, gradient="score")


def test_a_prior_that_differs_from_x_to_x_is_refused():
    vae = make_vae(prior=PRIORS["ConditionalNormal"])
    x = Source(data_for(vae.likelihood, 4), condition=np.zeros((4, 3), "float32"))
    with pytest.raises(ValueError, match="the same for each x"):
        kl_decomposition(vae, x)
