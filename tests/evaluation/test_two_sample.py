"""Two-sample tests: their statistics against direct sums, their p-values under the null."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist, pdist

from keras_vae.evaluation import classifier_two_sample_test, kernel_two_sample_test
from keras_vae.evaluation.kernel_two_sample import _mmd_squared
from keras_vae.evaluation.rows import MEMORY, Rows

both = pytest.mark.parametrize("test", [kernel_two_sample_test, classifier_two_sample_test])


def normals(n, m, shift=0.0, seed=0, size=3):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, size)), random.normal(size=(m, size)) + shift


def direct_mmd_squared(x, y, width):
    """The three means of Gretton et al., equation 3, by loops over pairs."""
    kernel = lambda a, b: math.exp(-np.sum((a - b) ** 2) / (2 * width**2))  # noqa: E731
    n, m = len(x), len(y)
    of_x = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j)
    of_y = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j)
    across = sum(kernel(a, b) for a in x for b in y)
    return of_x / (n * (n - 1)) + of_y / (m * (m - 1)) - 2 * across / (n * m)


# The statistic of kernels


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_mmd_squared_is_the_direct_sum_over_pairs(shift):
    x, y = normals(12, 17, shift)
    found = kernel_two_sample_test(x, y, width=0.8, num_permutations=1)
    assert found.statistic == pytest.approx(direct_mmd_squared(x, y, 0.8), abs=1e-14)


def test_the_width_is_the_median_distance_of_the_pooled_rows():
    x, y = normals(12, 17, 1.0)
    median = np.median(pdist(np.concatenate([x, y])))
    found = kernel_two_sample_test(x, y, num_permutations=1)
    assert found.statistic == pytest.approx(direct_mmd_squared(x, y, median), abs=1e-14)


@pytest.mark.parametrize("memory", [1, 1_500, MEMORY])
def test_each_permutation_has_the_mmd_squared_of_its_rows(memory):
    x, y = normals(9, 14)
    pooled, random = np.concatenate([x, y]), np.random.default_rng(1)
    chosen = np.stack([random.permutation(np.repeat([True, False], [9, 14])) for _ in range(5)], 1)
    found = _mmd_squared(pooled, chosen, 9, 14, 1.1, Rows(memory))
    expected = [direct_mmd_squared(pooled[c], pooled[~c], 1.1) for c in chosen.T]
    np.testing.assert_allclose(found, expected, atol=1e-14)


def test_far_from_the_origin_it_is_the_same():
    """To the digits that x itself keeps there: 1e-10 of 1e6."""
    x, y = normals(20, 15, 0.4)
    near, far = (kernel_two_sample_test(x + a, y + a, num_permutations=9) for a in (0, 1e6))
    assert far.statistic == pytest.approx(near.statistic, abs=1e-9)


def test_without_bias_its_mean_is_zero_where_the_distributions_are_equal():
    found = [
        kernel_two_sample_test(*normals(10, 20, seed=s), width=1.0, num_permutations=1).statistic
        for s in range(300)
    ]
    assert np.mean(found) == pytest.approx(0, abs=4 * np.std(found) / np.sqrt(300))


def test_its_mean_is_that_of_normals():
    """`E k(x, y) = (1 + 2 s)^(-d/2) exp(-a^2 / 2 (1 + 2 s))`, a the shift, s = 1 / width^2."""
    shift, s, size = 0.7, 1 / 1.5**2, 2
    expected = 2 * (1 + 2 * s) ** (-size / 2) * (1 - np.exp(-s * size * shift**2 / (2 + 4 * s)))
    found = [
        kernel_two_sample_test(
            *normals(20, 20, shift, seed, size), width=1.5, num_permutations=1
        ).statistic
        for seed in range(300)
    ]
    assert np.mean(found) == pytest.approx(expected, abs=4 * np.std(found) / np.sqrt(300))


def test_the_p_value_counts_permutations_and_the_true_one():
    """Of 2 and 2 rows 6 choices: the true one and its mirror are the largest, 1/3 of them."""
    x, y = np.array([[0.0], [0.1]]), np.array([[5.0], [5.1]])
    found = kernel_two_sample_test(x, y, num_permutations=2_000)
    assert found.p_value == pytest.approx(1 / 3, abs=4 * np.sqrt(2 / 9 / 2_000))
    far = kernel_two_sample_test(*normals(30, 30, 5.0), num_permutations=99)
    assert far.p_value == 1 / 100


# The statistic of a classifier


def test_the_accuracy_is_that_of_the_held_out_rows():
    """Apart by far they are all right, 20 of 20, and the p-value is 2^-20."""
    found = classifier_two_sample_test(*normals(20, 20, 10.0))
    assert found.statistic == 1.0
    assert found.p_value == pytest.approx(2.0**-20)


def test_the_p_value_is_the_binomial_tail():
    x, y = normals(60, 60, 0.3)
    found = classifier_two_sample_test(x, y)
    right = round(60 * found.statistic)
    assert found.p_value == pytest.approx(stats.binom.sf(right - 1, 60, 0.5))
    assert 0 < found.p_value < 1


def test_of_the_larger_set_as_many_rows_are_taken():
    x, y = normals(30, 2_000)
    found = classifier_two_sample_test(x, y)
    assert found.p_value == pytest.approx(stats.binom.sf(round(30 * found.statistic) - 1, 30, 0.5))


def test_neighbours_see_what_a_regression_does_not():
    """A ring around a blob of the same mean."""
    random = np.random.default_rng(0)
    angle = random.uniform(0, 2 * np.pi, 200)
    ring = 3 * np.stack([np.cos(angle), np.sin(angle)], 1) + 0.1 * random.normal(size=(200, 2))
    blob = random.normal(size=(200, 2))
    assert classifier_two_sample_test(ring, blob).p_value > 0.01
    assert classifier_two_sample_test(ring, blob, classifier="neighbours").p_value < 1e-10
    assert kernel_two_sample_test(ring, blob, num_permutations=99).p_value == 0.01


# The p-values


def rejections(test, shift, repetitions=200):
    found = [test(*normals(30, 30, shift, seed), seed=seed).p_value for seed in range(repetitions)]
    return np.array(found)


def kernel_test(x, y, seed):
    return kernel_two_sample_test(x, y, num_permutations=99, seed=seed)


def neighbours_test(x, y, seed):
    return classifier_two_sample_test(x, y, classifier="neighbours", seed=seed)


def test_p_values_of_kernels_are_uniform_where_the_distributions_are_equal():
    """Among 1/100, 2/100 ... 1: a rejection at 5 % has probability 5/100."""
    p = rejections(kernel_test, 0.0)
    assert abs(np.sum(p <= 0.05) - 10) <= 3 * np.sqrt(200 * 0.05 * 0.95)
    assert stats.kstest(p, stats.uniform(0.005, 1).cdf).pvalue > 0.001


@pytest.mark.parametrize("test", [classifier_two_sample_test, neighbours_test])
def test_p_values_of_a_classifier_reject_as_seldom_as_a_binomial(test):
    """19 of 30 right is the most that is not rejected at 5 %; 20 or more has probability 0.049."""
    size = stats.binom.sf(19, 30, 0.5)
    assert 0.04 < size < 0.05
    p = rejections(test, 0.0)
    assert abs(np.sum(p <= 0.05) - 200 * size) <= 3 * np.sqrt(200 * size * (1 - size))


@pytest.mark.parametrize(
    ("test", "power"),
    [(kernel_test, 0.9), (classifier_two_sample_test, 0.75), (neighbours_test, 0.75)],
)
def test_they_find_a_shift(test, power):
    assert np.mean(rejections(test, 0.8, 60) <= 0.05) > power


@both
def test_equal_seeds_give_equal_results(test):
    x, y = normals(30, 40, 0.3)
    assert test(x, y, seed=1) == test(x, y, seed=1)
    assert len({test(x, y, seed=seed).p_value for seed in range(5)}) > 1


@both
def test_they_are_of_the_features(test):
    x, y = (rows.astype("float32") for rows in normals(30, 30))
    y[:, 1:] += 10
    assert test(x, y).p_value <= 0.001
    found = test(x, y, features=lambda rows: rows[:, :1])
    assert found == test(x[:, :1], y[:, :1])


@both
def test_too_few_rows_are_refused(test):
    with pytest.raises(ValueError, match=r"`generated` is too small for a test. .* Received: 1"):
        test(np.eye(5), np.eye(5)[:1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"width": 0.0}, "a positive number, or None .* Received: 0.0"),
        ({"num_permutations": 0}, "Expected: a positive integer. Received: 0"),
    ],
)
def test_arguments_of_the_kernel_are_checked(arguments, words):
    with pytest.raises(ValueError, match=words):
        kernel_two_sample_test(*normals(5, 5), **arguments)


def test_equal_rows_have_no_median_distance():
    with pytest.raises(ValueError, match="Expected: a median > 0"):
        kernel_two_sample_test(np.ones((5, 2)), np.ones((5, 2)))


def test_an_unknown_classifier_is_refused():
    with pytest.raises(ValueError, match=r"'logistic', 'neighbours'. Received: 'forest'"):
        classifier_two_sample_test(*normals(5, 5), classifier="forest")


def test_the_kernel_is_that_of_the_distances():
    """What these tests compare with, against SciPy's distances."""
    x, y = normals(6, 8)
    k = np.exp(-(cdist(x, y) ** 2) / 2)
    own = [np.exp(-(pdist(a) ** 2) / 2).mean() for a in (x, y)]
    assert direct_mmd_squared(x, y, 1.0) == pytest.approx(sum(own) - 2 * k.mean())
