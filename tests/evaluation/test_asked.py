"""What is wrong with the model, the data or the seed is said before anything is computed."""

import dataclasses

import numpy as np
import pytest
from parts import data_for, make_vae

import keras_vae
from keras_vae import evaluation, likelihoods
from keras_vae.data import Source

OF_ROWS = {
    "log_likelihood": evaluation.log_likelihood,
    "annealed_importance_sampling": evaluation.annealed_importance_sampling,
    "inference_gaps": evaluation.inference_gaps,
    "terms": evaluation.terms,
    "kl_decomposition": evaluation.kl_decomposition,
    "kl_per_dimension": evaluation.kl_per_dimension,
    "latent_means": evaluation.latent_means,
    "active_units": evaluation.active_units,
    "predictive_check": evaluation.predictive_check,
    "anomaly_scores": evaluation.anomaly_scores,
}
of_rows = pytest.mark.parametrize("estimate", OF_ROWS.values(), ids=OF_ROWS)
WITH_DRAWS = {n: f for n, f in OF_ROWS.items() if n not in ("latent_means", "active_units")}
with_draws = pytest.mark.parametrize("estimate", WITH_DRAWS.values(), ids=WITH_DRAWS)


@pytest.fixture(scope="module")
def vae():
    return make_vae(likelihood=lambda: likelihoods.Normal((3,)))


@of_rows
def test_a_value_that_is_none_is_named_by_its_row(vae, estimate):
    x = data_for(vae.likelihood, 600)
    x[501, 2] = np.nan
    with pytest.raises(ValueError, match=r"nan at index \[501, 2\]"):
        estimate(vae, x)


@of_rows
def test_what_goes_with_x_is_checked_whole(estimate):
    counts = make_vae(likelihood=lambda: likelihoods.Poisson((3,), size_factor=True))
    factors = np.ones(600, "float32")
    factors[501] = -1
    x = Source(data_for(counts.likelihood, 600), size_factor=factors)
    with pytest.raises(ValueError, match="`size_factor`"):
        estimate(counts, x)


@of_rows
def test_the_shape_that_is_refused_is_that_of_x(vae, estimate):
    with pytest.raises(ValueError, match=r"Received: .*\[12, 4\]"):
        estimate(vae, np.zeros((12, 4), "float32"))


@of_rows
@pytest.mark.parametrize("model", [None, keras_vae.VAE, np.zeros((2, 3))])
def test_what_is_no_model_is_refused(estimate, model):
    with pytest.raises(TypeError, match=r"`vae` is the model.*Expected: a keras_vae\.VAE"):
        estimate(model, np.zeros((2, 3), "float32"))


def test_a_background_that_is_no_model_is_refused(vae):
    x = data_for(vae.likelihood, 2)
    with pytest.raises(TypeError, match="`background` is the model"):
        evaluation.anomaly_scores(vae, x, 3)


@with_draws
@pytest.mark.parametrize("seed", ["a", 1.5, None, True, 2**70])
def test_a_seed_is_an_integer(vae, estimate, seed):
    with pytest.raises(ValueError, match=r"^`seed` is of the draws"):
        estimate(vae, data_for(vae.likelihood, 2), seed=seed)


ON_ARRAYS = {
    "perturbed": lambda x, seed: evaluation.perturbed(x, 0.2, seed=seed),
    "sap": lambda x, seed: evaluation.separated_attribute_predictability(x, x > 0.5, seed),
    "dci": lambda x, seed: evaluation.dci(x, x > 0.5, seed),
    "kernel": lambda x, seed: evaluation.kernel_two_sample_test(x, x + 1, seed=seed),
    "classifier": lambda x, seed: evaluation.classifier_two_sample_test(x, x + 1, seed=seed),
}


@pytest.mark.parametrize("of_arrays", ON_ARRAYS.values(), ids=ON_ARRAYS)
def test_so_is_that_of_estimates_on_arrays(of_arrays):
    x = np.random.default_rng(0).random((20, 2))
    with pytest.raises(ValueError, match=r"^`seed` is of the draws"):
        of_arrays(x, "a")
    of_arrays(x, np.int64(-1))


@of_rows
def test_a_checkpoint_is_a_file(vae, estimate, tmp_path):
    x = data_for(vae.likelihood, 2)
    for checkpoint in (3, tmp_path):
        with pytest.raises(ValueError, match="`checkpoint` is a file"):
            estimate(vae, x, checkpoint=checkpoint)


def test_where_no_checkpoint_can_be_it_is_said_at_once(vae, tmp_path):
    (tmp_path / "file").touch()
    x = data_for(vae.likelihood, 2)
    rows = evaluation.rows.Rows(checkpoint=tmp_path / "file" / "kept.npz")

    def compute(*_):
        raise AssertionError("nothing is computed")

    with pytest.raises(OSError, match="file"):
        rows(compute, vae.likelihood.as_source(x), 1, "label", lambda: "")


@pytest.mark.parametrize("memory", [0, True, 1e9, "1 GB", None])
def test_memory_is_a_number_of_bytes(memory):
    with pytest.raises(ValueError, match="`memory`"):
        evaluation.rows.Rows(memory)


def test_numpys_integers_are_integers(vae):
    x = data_for(vae.likelihood, 2)
    found = evaluation.terms(vae, x, seed=np.int64(3), memory=np.int64(2**20))
    expected = evaluation.terms(vae, x, seed=3)
    assert dataclasses.asdict(found).keys() == dataclasses.asdict(expected).keys()
    np.testing.assert_array_equal(found.kl, expected.kl)
