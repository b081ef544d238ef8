"""What weights say of themselves, against the weights."""

import warnings

import numpy as np
import pytest

from keras_vae.evaluation.weights import standard_errors, summary, warn_of_few

LOG_WEIGHTS = np.random.default_rng(0).normal(0, 1.5, (40, 3)) - 900.0  # exp of them is 0


def test_the_mean_and_the_effective_number_are_those_of_the_weights():
    weights = np.exp(LOG_WEIGHTS + 900)
    found = summary(LOG_WEIGHTS)
    np.testing.assert_allclose(found["log_mean"] + 900, np.log(weights.mean(axis=0)))
    effective = weights.sum(axis=0) ** 2 / np.square(weights).sum(axis=0)
    np.testing.assert_allclose(found["effective_sample_sizes"], effective)


def test_the_standard_error_is_that_of_the_mean_over_the_mean():
    weights = np.exp(LOG_WEIGHTS + 900)
    expected = weights.std(axis=0, ddof=1) / np.sqrt(len(weights)) / weights.mean(axis=0)
    sizes = summary(LOG_WEIGHTS)["effective_sample_sizes"]
    np.testing.assert_allclose(standard_errors(sizes, len(weights)), expected)


def test_of_one_weight_there_is_no_error():
    assert np.isnan(standard_errors(np.ones(3), 1)).all()


def test_too_few_are_warned_of_also_where_all_weights_are_zero():
    with pytest.warns(
        UserWarning, match=r"2 of 3 examples have fewer than 10 effective draws of 50"
    ):
        warn_of_few(np.array([9.9, 10.0, np.nan]), 50, 10, "draws", "Take more.")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_few(np.array([10.0]), 50, 10, "draws", "Take more.")
