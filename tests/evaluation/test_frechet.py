"""The Frechet distance of Normals against closed forms and SciPy's matrix square root."""

import numpy as np
import pytest
from scipy import linalg, stats

from keras_vae.evaluation import frechet_distance
from keras_vae.evaluation.frechet import Moments, distance_of_normals


def random_covariance(size, seed):
    return stats.wishart(size + 2, np.eye(size), seed=seed).rvs()


def with_moments(mean, covariance, rows=50, seed=0):
    """Rows that have this mean and this covariance exactly."""
    x = np.random.default_rng(seed).normal(size=(rows, len(mean)))
    x = x - x.mean(0)
    white = x @ np.linalg.inv(linalg.sqrtm(np.cov(x, rowvar=False)))
    return mean + white @ linalg.sqrtm(covariance)


# The distance of two Normals


def test_of_one_dimension_it_is_that_of_means_and_standard_deviations():
    first, second = (Moments(np.array([m]), np.array([[s**2]])) for m, s in ((1, 0.5), (-2, 3)))
    assert distance_of_normals(first, second) == pytest.approx(3**2 + 2.5**2)


def test_of_independent_values_it_is_the_sum_over_them():
    random = np.random.default_rng(0)
    (m1, m2), (s1, s2) = random.normal(size=(2, 6)), random.uniform(0.1, 3, (2, 6))
    found = distance_of_normals(Moments(m1, np.diag(s1**2)), Moments(m2, np.diag(s2**2)))
    assert found == pytest.approx(np.sum((m1 - m2) ** 2 + (s1 - s2) ** 2))


def test_of_covariances_that_commute_it_is_that_of_their_eigenvalues():
    random = np.random.default_rng(1)
    vectors = np.linalg.qr(random.normal(size=(6, 6)))[0]
    a, b = random.uniform(0, 4, (2, 6))
    first, second = (Moments(np.zeros(6), vectors @ np.diag(e) @ vectors.T) for e in (a, b))
    expected = np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    assert distance_of_normals(first, second) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_of_any_covariances_it_is_that_of_the_root_of_their_product(seed):
    first, second = random_covariance(7, seed), random_covariance(7, seed + 100)
    mean = np.random.default_rng(seed).normal(size=7)
    root = linalg.sqrtm(first @ second).real
    expected = mean @ mean + np.trace(first + second - 2 * root)
    found = distance_of_normals(Moments(mean, first), Moments(np.zeros(7), second))
    assert found == pytest.approx(expected, rel=1e-9)


def test_without_full_rank_it_is_still_real_and_right():
    """Of two lines that cross at an angle: `tr (S_1 S_2)^1/2 = |u| |v| |cos|`."""
    u, v = np.array([2.0, 0, 0]), np.array([1.0, 1, 0])
    first, second = (Moments(np.zeros(3), np.outer(a, a)) for a in (u, v))
    assert distance_of_normals(first, second) == pytest.approx(4 + 2 - 2 * 2, abs=1e-12)


def test_it_does_not_lose_digits_where_covariances_are_nearly_singular():
    """`S_2 = (1 + e)^2 S_1`: the distance is `e^2 tr S_1`."""
    vectors = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    covariance = vectors @ np.diag(10.0 ** -np.arange(8)) @ vectors.T
    first, second = (Moments(np.zeros(8), factor**2 * covariance) for factor in (1, 1.001))
    expected = 1e-6 * np.trace(covariance)
    assert distance_of_normals(first, second) == pytest.approx(expected, rel=1e-6)


# Of two sets


def test_of_sets_with_given_moments_it_is_that_of_the_moments():
    covariances = [random_covariance(4, seed) for seed in (1, 2)]
    means = np.random.default_rng(0).normal(size=(2, 4))
    sets = [
        with_moments(m, c, seed=i) for i, (m, c) in enumerate(zip(means, covariances, strict=True))
    ]
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = np.sum((means[0] - means[1]) ** 2) + np.trace(sum(covariances) - 2 * root)
    assert frechet_distance(*sets) == pytest.approx(expected)
    assert frechet_distance(*sets[::-1]) == pytest.approx(expected)


def test_of_equal_sets_it_is_zero():
    x = np.random.default_rng(0).normal(size=(40, 6)) * 10.0 ** -np.arange(6)
    assert frechet_distance(x, x[::-1]) == pytest.approx(0, abs=1e-14)


def test_far_from_the_origin_it_is_the_same():
    x, y = np.random.default_rng(0).normal(size=(2, 40, 6))
    assert frechet_distance(x + 1e4, y + 1e4) == pytest.approx(frechet_distance(x, y), rel=1e-9)


def test_too_few_examples_are_told_of():
    x = np.random.default_rng(0).normal(size=(10, 6))
    with pytest.warns(UserWarning, match="`generated` has 6 examples of 6 features"):
        frechet_distance(x, x[:6])
    with pytest.raises(ValueError, match=r"`real` has no covariance. .* Received: 1"):
        frechet_distance(x[:1], x)
