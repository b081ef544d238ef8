"""MIG, SAP and DCI on constructed cases whose answers are known."""

import tracemalloc

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import mutual_info_score

from keras_vae.evaluation import dci, mutual_information, mutual_information_gap
from keras_vae.evaluation import separated_attribute_predictability as sap
from keras_vae.evaluation.disentanglement import concentration

N = 4_000


def factors(values=(4, 3), n=N, seed=0):
    """Independent factors, each uniform."""
    random = np.random.default_rng(seed)
    return np.stack([random.integers(0, v, n) for v in values], axis=1)


def normal(columns, n=N, seed=1):
    return np.random.default_rng(seed).normal(size=(n, columns))


def test_the_information_of_a_factor_about_itself_is_its_entropy():
    v = factors((4,))
    (found,) = mutual_information(v.astype(float), v)
    assert found[0] == pytest.approx(stats.entropy(np.bincount(v[:, 0])))


def test_the_information_is_that_of_scikit_learn_on_the_same_bins():
    v = factors((5,))
    z = v + 0.7 * normal(1)
    cut = np.digitize(z[:, 0], np.histogram_bin_edges(z[:, 0], 20)[1:-1])
    assert mutual_information(z, v)[0, 0] == pytest.approx(mutual_info_score(cut, v[:, 0]))


def test_the_information_of_a_noisy_bit_is_known():
    """z is a bit that was flipped with probability 0.1: log 2 less the entropy of 0.1."""
    random = np.random.default_rng(0)
    v = random.integers(0, 2, (100_000, 1))
    z = np.where(random.random(v.shape) < 0.1, 1 - v, v).astype(float)
    expected = np.log(2) - stats.entropy([0.1, 0.9])
    assert mutual_information(z, v)[0, 0] == pytest.approx(expected, abs=0.005)


def test_independent_values_have_the_information_of_the_bias():
    """(bins - 1)(values - 1) / 2N, uniform values so that all bins are filled."""
    found = []
    for seed in range(30):
        z = np.random.default_rng(seed).random((500, 10))
        found.append(mutual_information(z, factors((4,), 500, seed=100 + seed)).mean())
    assert np.mean(found) == pytest.approx(19 * 3 / 1_000, rel=0.1)


def test_a_factor_may_have_as_many_values_as_there_are_rows():
    """Then it says all of a latent, whose bins have their entropy; and no table of pairs is made."""
    z, v = normal(2, n=2_000), np.arange(2_000)[:, None]
    tracemalloc.start()
    found = mutual_information(z, v)[:, 0]
    gap = mutual_information_gap(z, v)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    bins = [stats.entropy(np.histogram(column, 20)[0]) for column in z.T]
    assert found == pytest.approx(bins)
    assert gap == pytest.approx(abs(bins[0] - bins[1]) / np.log(2_000))
    assert peak < 20 * (z.nbytes + v.nbytes)  # 2,000 x 2,000 numbers are 670 times as many


def perfect():
    """A latent for each factor, and two of noise that say nothing."""
    v = factors()
    return np.concatenate([v + 0.0, normal(2)], axis=1), v


def test_a_latent_for_each_factor_is_perfect():
    z, v = perfect()
    assert mutual_information_gap(z, v) == pytest.approx(1, abs=0.02)  # less the noise's bias
    assert sap(z, v) == pytest.approx(1 - np.mean([1 / 4, 1 / 3]), abs=0.05)
    found = dci(z, v)
    assert found.disentanglement > 0.95
    assert found.completeness > 0.95
    assert found.informativeness > 0.99


def test_noise_has_nothing():
    z, v = normal(4), factors()
    assert mutual_information_gap(z, v) < 0.01
    assert abs(sap(z, v)) < 0.05
    found = dci(z, v)
    assert found.informativeness == pytest.approx(np.mean([1 / 4, 1 / 3]), abs=0.05)


def test_latents_that_never_vary_have_nothing():
    found = dci(np.zeros((N, 2)), factors())
    assert found.disentanglement == found.completeness == 0


def test_two_latents_of_one_factor_have_no_gap():
    v = factors((4, 3))
    z = np.stack([v[:, 0], v[:, 0], v[:, 1], v[:, 1]], axis=1).astype(float)
    assert mutual_information_gap(z, v) == pytest.approx(0)
    assert sap(z, v) == pytest.approx(0)
    found = dci(z, v)
    assert found.disentanglement > 0.95
    assert found.completeness == pytest.approx(0.5, abs=0.05)  # log_4 2


def test_one_latent_of_two_factors_is_complete_and_not_disentangled():
    v = factors((4, 4))
    z = np.stack([v[:, 0] + 4.0 * v[:, 1], np.random.default_rng(0).normal(size=N)], axis=1)
    found = dci(z, v)
    assert found.disentanglement < 0.1
    assert found.completeness > 0.9


def test_a_rotation_spoils_what_is_on_the_axes():
    v = factors((4, 4))
    z = v - 1.5 + 0.05 * normal(2)
    turned = z @ np.array([[1, -1], [1, 1]]) / np.sqrt(2)
    assert mutual_information_gap(z, v) > 0.9
    assert mutual_information_gap(turned, v) < 0.2
    assert sap(turned, v) < 0.2 < sap(z, v)
    assert dci(turned, v).disentanglement < 0.3 < dci(z, v).disentanglement


def test_the_order_and_the_scale_of_latents_do_not_matter():
    z, v = perfect()
    z = z + 0.3 * normal(4, seed=5)
    for other in (z[:, ::-1], z * [3.0, 0.1, 7.0, 1.0] + 5, -z):
        assert mutual_information_gap(other, v) == pytest.approx(
            mutual_information_gap(z, v), abs=2e-3
        )
        assert sap(other, v) == pytest.approx(sap(z, v), abs=2e-3)


@pytest.mark.parametrize(
    ("importances", "disentanglement", "completeness"),
    [
        (np.eye(3), 1, 1),
        (np.ones((3, 3)), 0, 0),
        ([[1, 1], [0, 0]], 0, 1),  # one latent for both factors
        ([[1, 0], [1, 0], [0, 1], [0, 1]], 1, 1 - np.log(2) / np.log(4)),
        ([[3, 1], [0, 4]], 0.5 * (1 - stats.entropy([0.75, 0.25], base=2)) + 0.5, None),
    ],
)
def test_disentanglement_and_completeness_of_known_importances(
    importances, disentanglement, completeness
):
    importances = np.asarray(importances, "float64")
    assert concentration(importances) == pytest.approx(disentanglement, abs=1e-12)
    if completeness is not None:
        assert concentration(importances.T) == pytest.approx(completeness, abs=1e-12)


def test_the_seed_decides():
    z, v = normal(3), factors()
    assert sap(z, v, seed=1) == sap(z, v, seed=1) != sap(z, v, seed=2)
    assert dci(z, v, seed=1).disentanglement == dci(z, v, seed=1).disentanglement


@pytest.mark.parametrize("measure", [mutual_information_gap, sap, dci])
@pytest.mark.parametrize(
    ("z", "v", "message"),
    [
        (np.full((9, 2), np.nan), factors(n=9), "finite"),
        (normal(1, 9), factors(n=9), "D at least 2"),
        (normal(2, 9)[:, 0], factors(n=9), r"\[N, D\]"),
        (normal(2, 9), factors(n=8), "9 rows. Received: 8"),
        (normal(2, 9), factors(n=9)[:, 0], r"factors\[:, None\]"),
        (normal(2, 9), factors(n=9) + 0.5, "whole numbers"),
        (normal(2, 9), factors(n=9) * [1, 0], "factor 1 is constant"),
        (normal(2, 9), factors(n=9)[:, :0], r"whole numbers.*\[9, 0\]"),
        (normal(2, 9), None, "whole numbers"),
        (normal(2, 9), 3, "whole numbers"),
        (np.full((9, 2), "a"), factors(n=9), "`latents` is no array of numbers"),
    ],
)
def test_bad_input_is_refused(measure, z, v, message):
    with pytest.raises(ValueError, match=message):
        measure(z, v)


def test_a_single_factor_has_no_disentanglement():
    with pytest.raises(ValueError, match="F at least 2"):
        dci(normal(2), factors((4,)))


@pytest.mark.parametrize("bins", [0, 1, 2.5, "a", True])
def test_a_number_of_bins_that_is_none_is_refused(bins):
    with pytest.raises(ValueError, match="`bins` is into how many"):
        mutual_information_gap(normal(2), factors(), bins=bins)


@pytest.mark.parametrize("measure", [mutual_information_gap, sap])
def test_what_is_so_or_not_is_a_factor(measure):
    v = factors((2, 2))
    assert measure(normal(2), v == 1) == measure(normal(2), v)
