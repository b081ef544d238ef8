"""p(x|z) = Student's t: heavy tails."""

import numpy as np
import pytest
import tensorflow as tf
from parts import assert_finite, built, density, features
from scipy import stats

from keras_vae.likelihoods import Normal, StudentT


@pytest.mark.parametrize("df", [2.1, 4, np.float32(7.5)])
def test_a_number_fixes_the_degrees_of_freedom(df):
    head = built(StudentT((3,), scale=0.5, df=df))
    parameters = head(features(4))
    assert {name: value.shape[1:] for name, value in parameters.items()} == {
        "loc": (3,),
        "scale": (1,),
        "df": (1,),
    }
    np.testing.assert_allclose(parameters["df"], np.full((4, 1), df), rtol=1e-6)
    x = np.random.default_rng(0).normal(size=(4, 3))
    log_prob = head.distribution(parameters).log_prob(x.astype("float32"))
    np.testing.assert_allclose(log_prob, density(head, parameters, x), rtol=1e-5)
    assert "df" in head.statement().fixed


def test_learned_degrees_of_freedom_start_at_five_and_stay_above_two():
    head = built(StudentT((3,)))
    np.testing.assert_allclose(head(features(2))["df"], np.full((2, 1), 5.0), rtol=1e-6)
    head.learned["df"].assign([-1e4])
    assert head(features(2))["df"].numpy().min() >= 2
    assert_finite(head.distribution(head(features(2))).sample(100, seed=0))


@pytest.mark.parametrize("df", [2, 0, -1.0, float("nan"), float("inf"), "per_value", None, True])
def test_without_a_finite_variance_it_is_refused(df):
    with pytest.raises(ValueError, match="`df` of StudentT is its degrees of freedom") as error:
        StudentT((3,), df=df)
    assert 'a number above 2, where the variance is finite, or "shared"' in str(error.value)
    assert f"Received: {df!r}." in str(error.value)


def test_many_degrees_of_freedom_are_a_normal():
    random = np.random.default_rng(0)
    x, loc = (random.normal(size=(4, 3)).astype("float32") for _ in range(2))
    heavy = StudentT((3,), scale=0.7, df=1e6)
    parameters = {"loc": loc, "scale": np.float32(0.7), "df": np.float32(1e6)}
    parameters = {name: tf.constant(value) for name, value in parameters.items()}
    normal = Normal((3,), scale=0.7).distribution({"loc": loc, "scale": parameters["scale"]})
    found = heavy.distribution(parameters).log_prob(x)
    np.testing.assert_allclose(found, normal.log_prob(x), rtol=1e-4)


def test_the_start_has_the_moments_of_the_data():
    mean, variance = tf.constant([1.0, -2.0]), tf.constant([0.5, 4.0])
    for df in (3.0, "shared"):
        head = StudentT((2,), scale="per_value", df=df)
        p = head.distribution(head.independent(mean, variance))
        np.testing.assert_allclose(p.mean(), mean)
        np.testing.assert_allclose(p.variance(), variance, rtol=1e-5)


def test_the_pull_of_a_value_vanishes_the_further_off_it_is():
    head = StudentT((1,), df=3.0)
    loc, x = tf.zeros((3, 1)), tf.constant([[1.0], [100.0], [1e6]])
    with tf.GradientTape() as tape:
        tape.watch(loc)
        ones = tf.ones((3, 1))
        log_prob = head.distribution({"loc": loc, "scale": ones, "df": 3 * ones}).log_prob(x)
    pull = tape.gradient(log_prob, loc).numpy().ravel()
    np.testing.assert_allclose(pull, 4 * x[:, 0] / (3 + x[:, 0] ** 2), rtol=1e-5)
    np.testing.assert_allclose(log_prob, stats.t.logpdf(x[:, 0], 3), rtol=1e-5)
