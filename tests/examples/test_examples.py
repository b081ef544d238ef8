"""The examples run, their formulas are right, and a short run shows what they say."""

import anomalies_of_fashion
import bits_of_grey_digits
import correlation_of_latents
import counts_of_single_cells
import imputation_of_a_table
import labels_of_few_digits
import numpy as np
import pytest
import table_of_doctor_visits
import tails_of_returns
import topics_of_newsgroups
from common import data_file, split
from scipy import sparse, stats
from tensorflow_probability import distributions as tfd

from keras_vae import data


def needs(name):
    """Skips the test, with the file's name, where the folder of data does not have it."""
    if not data_file(name).exists():
        pytest.skip(f"{name} is not in KERAS_VAE_DATA")


def random_counts(documents, vocabulary):
    rng = np.random.default_rng(0)
    return rng.poisson(0.7, (documents, vocabulary)) + np.eye(documents, vocabulary, dtype=int)


# The formulas


def test_a_split_has_every_row_once_and_keeps_blocks_together():
    parts = split(1_000, block=10)
    assert [len(part) for part in parts] == [700, 100, 200]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(1_000))
    for part in parts:
        np.testing.assert_array_equal(part.reshape(-1, 10) % 10, [range(10)] * (len(part) // 10))


def test_the_perplexity_of_equally_likely_words_is_how_many_there_are():
    counts = random_counts(6, 25)
    log_prob = stats.multinomial.logpmf(counts, counts.sum(axis=1), np.full(25, 1 / 25))
    found = topics_of_newsgroups.perplexity(log_prob, sparse.csr_array(counts.astype("float64")))
    assert found == pytest.approx(25)


def test_the_perplexity_is_that_of_the_words_one_by_one():
    counts, share = random_counts(6, 5), np.array([0.1, 0.2, 0.3, 0.15, 0.25])
    words = [np.repeat(np.arange(5), row) for row in counts]  # a document, word by word
    expected = np.exp(np.mean([-np.log(share[document]).mean() for document in words]))
    log_prob = stats.multinomial.logpmf(counts, counts.sum(axis=1), share)
    found = topics_of_newsgroups.perplexity(log_prob, sparse.csr_array(counts.astype("float64")))
    assert found == pytest.approx(expected)


def test_the_perplexity_of_word_frequencies_is_that_of_their_multinomial():
    rows = sparse.csr_array(random_counts(6, 5).astype("float32"))
    share = (rows.sum(axis=0) + 1) / (rows.sum() + 5)
    counts = rows.toarray().astype("int64")
    log_prob = stats.multinomial.logpmf(counts, counts.sum(axis=1), share / share.sum())
    expected = topics_of_newsgroups.perplexity(log_prob, rows.astype("float64"))
    assert topics_of_newsgroups.by_frequency(rows, rows) == pytest.approx(expected, rel=1e-5)


class EncoderOfNoise:
    """q(z|x) = N(x, scale^2), which over Normal x makes q(z) Normal, too."""

    def __init__(self, scale):
        self.scale = scale

    def encode(self, x):
        return tfd.MultivariateNormalDiag(x, np.full_like(x, self.scale))


def test_the_parts_of_the_kl_are_those_of_correlated_normals():
    covariance = np.array([[1.0, 0.8], [0.8, 1.0]])
    x = np.random.default_rng(0).multivariate_normal([0, 0], covariance, 2_000)
    information, correlation, by_dimension = correlation_of_latents.parts_of_kl(
        EncoderOfNoise(0.7), x
    )
    of_z = covariance + 0.49 * np.eye(2)
    determinant = np.linalg.det(of_z)
    assert information == pytest.approx(0.5 * np.log(determinant / 0.49**2), abs=0.05)
    assert correlation == pytest.approx(0.5 * np.log(1.49**2 / determinant), abs=0.05)
    assert by_dimension == pytest.approx(1.49 - 1 - np.log(1.49), abs=0.05)


def test_what_is_observed_is_in_units_of_itself_and_what_is_hidden_has_no_part_in_it():
    table = np.random.default_rng(1).normal([5.0, -2.0], [3.0, 0.1], (4_000, 2))
    values, seen = imputation_of_a_table.hide(table)
    hidden = np.isnan(seen)
    assert hidden.mean() == pytest.approx(0.5, abs=0.02)
    np.testing.assert_array_equal(values[~hidden], seen[~hidden])
    np.testing.assert_allclose(np.nanmean(seen, axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.nanstd(seen, axis=0), 1)
    assert np.sqrt(np.mean(values[hidden] ** 2)) == pytest.approx(1, abs=0.03)
    _, other = imputation_of_a_table.hide(np.where(hidden, 1e6, table))
    np.testing.assert_array_equal(other, seen)


def test_few_labels_are_so_many_of_each_class_and_right():
    labels = np.random.default_rng(0).integers(0, 10, 500)
    known = labels_of_few_digits.few(labels, each=3)
    np.testing.assert_array_equal(np.bincount(known[known >= 0]), [3] * 10)
    np.testing.assert_array_equal(known[known >= 0], labels[known >= 0])
    assert set(known[known < 0]) == {-1}


# Short runs


def test_beta_tc_keeps_more_of_the_bound_than_beta_of_the_same_weight():
    found = correlation_of_latents.run(epochs=12, beta=6.0, beta_tc=6.0)
    assert found["beta-TC: held-out ELBO"] > found["beta: held-out ELBO"] + 1
    assert found["beta-TC: mutual information"] > found["beta: mutual information"] + 1
    assert found["beta-TC: total correlation"] < found["ELBO: total correlation"] - 0.3


def test_gene_counts_are_no_poisson():
    needs("sc_mixology_counts.npz")
    found = counts_of_single_cells.run(genes=50, epochs=8)
    assert found["NegativeBinomial"] > found["Poisson"] + 30
    assert abs(found["ZeroInflatedNegativeBinomial"] - found["NegativeBinomial"]) < 10


def test_topics_say_more_of_a_document_than_the_words_frequencies():
    needs("news20_nvdm_bow.npz")
    found = topics_of_newsgroups.run(documents=1_500, epochs=12, num_samples=1)
    assert found["perplexity"] < found["perplexity of word frequencies"] - 10


def test_returns_have_heavier_tails_than_a_normal():
    needs("counts_and_returns.npz")
    found = tails_of_returns.run(epochs=8)
    for decoder in ("linear", "network"):
        assert found[f"StudentT, {decoder}"] > found[f"Normal, {decoder}"] + 0.05
        assert 2 < found[f"degrees of freedom, {decoder}"] < 10


def test_the_columns_of_a_table_go_together():
    needs("counts_and_returns.npz")
    found = table_of_doctor_visits.run(rows=4_000, epochs=8)
    assert found["bound, nats per person and year"] > found["the same without z"] + 0.2
    visits = found["mean visits, generated"], found["mean visits, observed"]
    assert visits[0] == pytest.approx(visits[1], rel=0.3)


def test_a_mixture_codes_grey_digits_in_fewer_bits():
    needs("mnist")
    found = bits_of_grey_digits.run(rows=1_000, epochs=3, tests=200)
    assert found["DiscretisedLogisticMixture"] < found["DiscretisedLogistic"] - 0.1
    assert 0 < found["DiscretisedLogisticMixture"] < 8


@pytest.mark.filterwarnings("ignore:.*effective samples")
def test_digits_are_likelier_than_the_clothes_of_the_training_set():
    needs("mnist")
    needs("fashion-mnist")
    found = anomalies_of_fashion.areas(
        "fashion_mnist", "mnist", rows=2_000, epochs=2, units=32, tests=60, num_samples=5
    )
    plain, ratio = found.values()
    assert plain.value < 0.5 - 4 * plain.standard_error
    assert ratio.value > plain.value + 0.1


def test_imputation_is_nearer_than_the_column_mean():
    needs("uci_tabular.npz")
    found = imputation_of_a_table.run(epochs=10, num_samples=50)
    assert found["column mean"] == pytest.approx(1, abs=0.1)
    assert found["model"] < found["column mean"] - 0.05


def test_unlabelled_digits_teach_a_classifier():
    digits = data.load("digits")
    x, x_test = (part.array().reshape(len(part), -1) for part in (digits.train, digits.test))
    y, y_test = (part.labels.astype("int64") for part in (digits.train, digits.test))
    labels = labels_of_few_digits.few(y, each=2)
    noisy = tfd.Normal(x, 0.1)  # a pixel that is always 0 has no density of its own
    guessed = labels_of_few_digits.together(noisy, labels, x_test, epochs=20)
    accuracy = float((guessed == y_test).mean())
    assert accuracy > labels_of_few_digits.alone(x, labels, x_test, y_test) + 0.03


def test_a_hundred_labelled_digits_teach_a_classifier_something():
    needs("mnist")
    found = labels_of_few_digits.run(rows=1_000, epochs=1, tests=500)
    assert 0.5 < found["100 labels alone, pixels"] < 0.9
    assert 0 < found["with the unlabelled rows"] < 1  # one epoch: too short to say more
