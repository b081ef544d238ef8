"""Precision, recall, density and coverage of points whose answers are counted by hand."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from keras_vae.evaluation import density_coverage, precision_recall
from keras_vae.evaluation.rows import MEMORY


def column(*values):
    return np.array(values, dtype="float64")[:, None]


def test_points_on_a_line():
    """With one neighbour.

    Real 0, 1, 3: radii 1, 1, 2, balls [-1, 1], [0, 2], [1, 5].
    Generated 0.5, 4, 9: radii 3.5, 3.5, 5, balls [-3, 4], [0.5, 7.5], [4, 14].
    """
    real, generated = column(0, 1, 3), column(0.5, 4, 9)
    found = precision_recall(real, generated, neighbours=1)
    assert found.precision == pytest.approx(2 / 3)  # 9 lies in no real ball
    assert found.recall == 1.0
    found = density_coverage(real, generated, neighbours=1)
    assert found.density == pytest.approx((2 + 1 + 0) / 3)  # balls around 0.5, 4 and 9
    assert found.coverage == 1.0


def test_with_two_neighbours():
    """Real 0, 1, 3, 10: radii to the second 3, 2, 3, 9, balls [-3, 3], [-1, 3], [0, 6], [1, 19].

    Generated -2, 5, 18: in 1, 2 and 1 of them; radii 20, 13, 20 reach all.
    """
    real, generated = column(0, 1, 3, 10), column(-2, 5, 18)
    found = density_coverage(real, generated, neighbours=2)
    assert found.density == pytest.approx((1 + 2 + 1) / (2 * 3))
    assert found.coverage == pytest.approx(3 / 4)  # nothing in [-1, 3]
    assert precision_recall(real, generated, neighbours=2).precision == 1.0


def test_a_point_on_the_edge_of_a_ball_lies_in_it():
    real = column(0, 1, 3)
    assert density_coverage(real, column(2), neighbours=1).density == 2  # of [0, 2] and [1, 5]
    assert density_coverage(real, column(5), neighbours=1).density == 1
    assert density_coverage(real, column(5.001), neighbours=1).density == 0


def test_the_neighbour_of_a_point_is_another_one():
    """Two equal points have radius 0 for k = 1, and their ball has them alone."""
    real = column(0, 0, 5)  # balls [0, 0], [0, 0], [0, 10]
    found = density_coverage(real, column(0, 0.1), neighbours=1)
    assert found.density == pytest.approx((3 + 1) / 2)
    assert found.coverage == 1.0
    assert density_coverage(real, column(0.1), neighbours=1).coverage == pytest.approx(1 / 3)


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_a_set_beside_itself_has_each_ball_with_its_k_neighbours(offset):
    x = np.random.default_rng(0).normal(size=(200, 30)) + offset
    assert precision_recall(x, x.copy()) == precision_recall(x, x[::-1])
    assert precision_recall(x, x.copy()).precision == precision_recall(x, x.copy()).recall == 1
    found = density_coverage(x, x.copy(), neighbours=5)
    assert found.density == pytest.approx(6 / 5)
    assert found.coverage == 1


def test_a_mode_that_is_dropped_lowers_recall_and_not_precision():
    random = np.random.default_rng(0)
    real = random.normal(size=(400, 2)) + np.repeat([[0, 0], [20, 0]], 200, axis=0)
    generated = random.normal(size=(400, 2))
    found = precision_recall(real, generated)
    assert found.precision > 0.95
    assert 0.4 < found.recall <= 0.5
    found = density_coverage(real, generated)
    assert found.density > 0.9
    assert 0.4 < found.coverage <= 0.5


def test_what_is_made_beside_the_data_lowers_precision_and_not_recall():
    random = np.random.default_rng(0)
    generated = random.normal(size=(400, 2)) + np.repeat([[0, 0], [20, 0]], 200, axis=0)
    found = precision_recall(random.normal(size=(400, 2)), generated)
    assert 0.4 < found.precision <= 0.55
    assert found.recall > 0.95


def test_one_outlier_of_the_data_raises_precision_but_hardly_density():
    """Its ball of radius 50 or so has all that is generated in it."""
    random = np.random.default_rng(0)
    real, generated = random.normal(size=(2, 300, 2))
    generated[:, 1] += 30
    assert precision_recall(real, generated).precision == 0
    real[0] = [0, 60]
    assert precision_recall(real, generated).precision == 1
    assert density_coverage(real, generated).density <= 1 / 5
    assert density_coverage(real, generated).coverage == pytest.approx(1 / 300)


def test_of_equal_distributions_they_have_their_expectations():
    """Density 1, coverage `1 - (N - 1) ... (N - k) / ((N + M - 1) ... (N + M - k))`."""
    random = np.random.default_rng(0)
    n, m, k = 40, 60, 3
    found = [
        density_coverage(random.normal(size=(n, 4)), random.normal(size=(m, 4)), k)
        for _ in range(60)
    ]
    steps = np.arange(1, k + 1)
    expected = 1 - np.prod((n - steps) / (n + m - steps))
    for values, mean in (
        ([f.density for f in found], 1.0),
        ([f.coverage for f in found], expected),
    ):
        assert np.mean(values) == pytest.approx(mean, abs=4 * np.std(values) / np.sqrt(60))


def by_definition(real, generated, k):
    """All four from the whole matrices of distances."""
    within, across = cdist(real, real), cdist(real, generated)
    inside = across <= np.sort(within, axis=1)[:, k, None]  # column 0 is the point itself
    of_generated = np.sort(cdist(generated, generated), axis=1)[:, k]
    recall = (across <= of_generated).any(axis=1).mean()
    return (
        inside.any(axis=0).mean(),
        recall,
        inside.sum() / (k * len(generated)),
        inside.any(1).mean(),
    )


@pytest.mark.parametrize("memory", [1, 7 * 10 * 50, MEMORY])
@pytest.mark.parametrize("k", [1, 4])
def test_they_are_what_their_definitions_say_whatever_the_chunks(k, memory):
    random = np.random.default_rng(0)
    real, generated = random.normal(size=(50, 3)), 1.5 * random.normal(size=(30, 3))
    first = precision_recall(real, generated, k, memory=memory)
    second = density_coverage(real, generated, k, memory=memory)
    found = (first.precision, first.recall, second.density, second.coverage)
    assert found == pytest.approx(by_definition(real, generated, k))


def test_they_are_of_the_features():
    random = np.random.default_rng(0)
    real, generated = random.normal(size=(2, 60, 3))
    generated[:, 1:] += 100
    assert precision_recall(real, generated).precision == 0
    found = precision_recall(real, generated, features=lambda x: x[:, :1])
    assert found == precision_recall(real[:, :1], generated[:, :1])


@pytest.mark.parametrize("neighbours", [0, 5, 1.5, True])
def test_a_number_of_neighbours_that_is_none_is_refused(neighbours):
    with pytest.raises(ValueError, match=r"below the number of examples, of `real` 5. Received: "):
        density_coverage(np.eye(5), np.eye(5), neighbours)
