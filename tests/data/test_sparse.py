"""Rows of a sparse matrix are the rows of the array, in every number, and never all dense."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse

import keras_vae
from keras_vae import evaluation
from keras_vae.data import Source
from keras_vae.data.pipeline import EpochSeed, batches
from keras_vae.data.source import as_source
from keras_vae.data.sparse import as_csr, is_sparse
from keras_vae.likelihoods import Bernoulli, Multinomial, Normal, Poisson
from keras_vae.networks import mlp

ROWS, WIDTH = 14, 9
NAMES = ["loss", "elbo", "log_likelihood", "kl"]


def counts(dtype="float32"):
    """Mostly zeros; a row and a column hold nothing at all."""
    random = np.random.default_rng(0)
    x = random.poisson(2, (ROWS, WIDTH)) * (random.random((ROWS, WIDTH)) < 0.4)
    x[[3, ROWS - 1]] = 0
    x[:, 5] = 0
    return x.astype(dtype)


def with_duplicates(x):
    """The matrix with each entry as two, and out of order."""
    row, column = np.nonzero(x)
    value = x[row, column]
    order = np.random.default_rng(1).permutation(2 * len(row))
    doubled = (
        np.r_[value - 1, np.ones_like(value)][order],
        (np.r_[row, row][order], np.r_[column, column][order]),
    )
    return sparse.coo_matrix(doubled, shape=x.shape)


def unsorted_csr(x):
    """CSR whose rows hold their duplicates next to each other, the last column first."""
    rows, columns, values = [], [], []
    for row in x:
        places = np.flatnonzero(row)[::-1]
        columns += [*places, *places]
        values += [*(row[places] - 1), *np.ones(len(places))]
        rows.append(2 * len(places))
    indptr = np.r_[0, np.cumsum(rows)]
    return sparse.csr_matrix((np.array(values, x.dtype), np.array(columns), indptr), shape=x.shape)


MATRICES = {
    "csr_matrix": sparse.csr_matrix,
    "csr_array": sparse.csr_array,
    "csc_matrix": sparse.csc_matrix,
    "coo_array": sparse.coo_array,
    "lil_matrix": sparse.lil_matrix,
    "dok_matrix": sparse.dok_matrix,  # which is a dict, too
    "dok_array": sparse.dok_array,
    "coo with duplicates": with_duplicates,
    "csr with duplicates": unsorted_csr,
    "a source of csr": lambda x: Source(sparse.csr_array(x)),
    "a source of csc": lambda x: Source(sparse.csc_matrix(x)),
    "a source of coo": lambda x: Source(with_duplicates(x)),
    "a source of csr with duplicates": lambda x: Source(unsorted_csr(x)),
}


def model(likelihood=None, eagerly=True, **given):
    keras.utils.set_random_seed(0)
    vae = keras_vae.VAE(
        encoder=mlp([4], "tanh"),
        decoder=mlp([4], "tanh"),
        posterior=keras_vae.posteriors.DiagonalNormal(2),
        prior=given.pop("prior", None) or keras_vae.priors.StandardNormal(2),
        likelihood=likelihood or Poisson((WIDTH,)),
        seed=0,
        **given,
    )
    vae.compile(keras.optimizers.Adam(0.01), run_eagerly=eagerly, jit_compile=False)
    return vae


@pytest.fixture(params=MATRICES)
def matrix(request):
    return MATRICES[request.param]


# The rows


def test_the_rows_are_those_of_the_array(matrix):
    source = as_source(matrix(counts()))
    assert (len(source), source.event_shape) == (ROWS, (WIDTH,))
    np.testing.assert_array_equal(source.array(), counts())
    np.testing.assert_array_equal(source.array(5), counts()[:5])
    np.testing.assert_array_equal(source[4:9].array(), counts()[4:9])
    np.testing.assert_array_equal(source[::3].array(), counts()[::3])
    assert "14 x [9]" in repr(source)


def test_the_batches_are_those_of_the_array(matrix):
    sparse_source, dense_source = as_source(matrix(counts())), as_source(counts())
    seed = EpochSeed()
    for given in ({}, {"epoch_seed": seed}, {"epoch_seed": seed, "shuffle": False}):
        found = list(batches(sparse_source, 5, **given))
        expected = list(batches(dense_source, 5, **given))
        assert [x.shape[0] for x in found] == [5, 5, 4]
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_shape_of_a_batch_is_known_to_the_graph():
    data = batches(as_source(sparse.csr_array(counts())), 5)
    assert data.element_spec.shape.as_list() == [None, WIDTH]
    assert int(data.cardinality()) == 3


def test_the_moments_are_those_of_the_array(matrix):
    found, expected = as_source(matrix(counts())).moments(), as_source(counts()).moments()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


def test_the_moments_count_every_row_however_many():
    x = sparse.random_array((20_000, 3), density=0.1, rng=np.random.default_rng(0), format="csr")
    found = Source(x, divisor=2.0).moments()
    dense = x.toarray() / 2
    np.testing.assert_allclose(found, (dense.mean(0), dense.var(0)), rtol=1e-6)


def test_a_divisor_and_bits_are_those_of_the_array():
    x = counts()
    found, expected = (Source(rows, divisor=x.max()) for rows in (sparse.csr_array(x), x))
    np.testing.assert_array_equal(found.array(), expected.array())
    np.testing.assert_allclose(found.moments(), expected.moments(), rtol=1e-6, atol=1e-9)
    found, expected = (
        Source(rows, divisor=x.max(), dynamic=True) for rows in (sparse.csr_array(x), x)
    )
    np.testing.assert_array_equal(found.array(), expected.array())
    np.testing.assert_allclose(found.moments(), expected.moments(), rtol=1e-6, atol=1e-9)
    with pytest.raises(ValueError, match=r"values in \[0, 1\] after division by 1"):
        Source(sparse.csr_array(x), dynamic=True)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float64", "bool"])
def test_entries_of_any_type(dtype):
    x = counts() > 0 if dtype == "bool" else counts(dtype)
    found, expected = (
        model(eagerly=False).evaluate(rows, verbose=0, return_dict=True)
        for rows in (sparse.csr_matrix(x), x)
    )
    assert found == pytest.approx(expected, rel=1e-6)


def test_missing_entries_count_neither_here_nor_there():
    x = counts()
    x[2, 1] = x[4, 1] = np.nan
    x[:, 7] = np.nan
    found, expected = as_source(sparse.csr_array(x)).moments(), as_source(x).moments()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_a_matrix_of_the_users_stays_as_it_is():
    for make in (unsorted_csr, lambda x: sparse.csr_array(unsorted_csr(x))):
        mine = make(counts())
        before = [getattr(mine, name).copy() for name in ("data", "indices", "indptr")]
        model().evaluate(mine, verbose=0)
        for name, value in zip(("data", "indices", "indptr"), before, strict=True):
            np.testing.assert_array_equal(getattr(mine, name), value)


def test_a_matrix_that_cannot_be_written_to():
    mine = unsorted_csr(counts())
    for name in ("data", "indices", "indptr"):
        getattr(mine, name).flags.writeable = False
    np.testing.assert_array_equal(as_source(mine).array(), counts())


def test_a_csr_array_in_order_is_not_copied():
    mine = sparse.csr_array(counts())
    assert np.shares_memory(as_csr(mine).data, mine.data)


def test_arrays_need_no_scipy(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "scipy"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert not is_sparse(counts())
    assert np.isfinite(model().fit(counts(), verbose=0).history["elbo"]).all()


# A model of them


@pytest.mark.parametrize("kind", ["csr_matrix", "csr with duplicates", "a source of coo"])
def test_training_ends_with_the_weights_of_the_array(kind):
    x = counts()
    one, other = model(), model()
    logs = one.fit(
        MATRICES[kind](x), batch_size=5, epochs=2, validation_split=0.2, verbose=0
    ).history
    expected = other.fit(x, batch_size=5, epochs=2, validation_split=0.2, verbose=0).history
    assert set(logs) == {*NAMES, *(f"val_{name}" for name in NAMES)}
    for name, values in expected.items():
        np.testing.assert_allclose(logs[name], values, rtol=1e-6, err_msg=name)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "kind", ["csr_array", "csc_matrix", "dok_matrix", "a source of csr with duplicates"]
)
def test_what_is_asked_of_a_model_is_that_of_the_array(kind):
    vae, x, matrix = model(), counts(), MATRICES[kind]
    for call in (
        lambda x: vae.encode(x).mean(),
        lambda x: vae.elbo(x, 3, seed=1),
        lambda x: vae.reconstruct(x),
        lambda x: vae.reconstruct(x, draw=True, seed=2),
        lambda x: vae.predict(x, batch_size=5, verbose=0),
        lambda x: vae.predict_on_batch(x),
        lambda x: evaluation.latent_means(vae, x, memory=1),
        lambda x: evaluation.kl_per_dimension(vae, x, memory=1),
    ):
        np.testing.assert_allclose(call(matrix(x)), call(x), rtol=1e-6)
    assert evaluation.elbo(vae, matrix(x), memory=1) == evaluation.elbo(vae, x, memory=1)
    assert evaluation.independent_baseline(
        vae.likelihood, matrix(x), matrix(x), memory=5_000
    ).mean == pytest.approx(
        evaluation.independent_baseline(vae.likelihood, x, x, memory=5_000).mean, rel=1e-5
    )
    for call in (
        lambda vae, x: vae.evaluate(x, verbose=0, return_dict=True),
        lambda vae, x: vae.test_on_batch(x, return_dict=True),
        lambda vae, x: vae.train_on_batch(x, return_dict=True),
    ):
        assert call(model(), matrix(x)) == pytest.approx(call(model(), x), rel=1e-6)


def test_the_advice_is_that_of_the_array():
    vae, x = model(Bernoulli((WIDTH,))), (counts() > 0).astype("float32")
    found, expected = vae.check(sparse.csr_matrix(x)), vae.check(x)
    assert str(found) == str(expected)
    np.testing.assert_allclose(found.eigenvalues, expected.eigenvalues, rtol=1e-6)


def test_compiled_training_ends_with_the_weights_of_the_array():
    x, ends = counts(), []
    for rows in (sparse.csr_matrix(x), x):
        vae = model(eagerly=False)
        vae.fit(rows, batch_size=5, epochs=2, sample_weight=np.arange(ROWS), verbose=0)
        ends.append(vae.get_weights())
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "given",
    [
        {"likelihood": lambda: Multinomial((WIDTH,))},
        {"prior": lambda: keras_vae.priors.VampPrior(2, 4)},
    ],
)
def test_other_parts_see_the_same_rows(given):
    x, ends = counts(), []
    x[[3, ROWS - 1], 0] = 1
    for rows in (sparse.csr_array(x), x):
        vae = model(**{name: make() for name, make in given.items()})
        vae.fit(rows, batch_size=5, verbose=0)
        ends.append(vae.get_weights())
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_what_goes_with_the_rows_stays_with_them():
    x, c, s = counts(), np.arange(ROWS) % 3, np.linspace(0.5, 2, ROWS).astype("float32")
    ends = []
    for rows in (sparse.csr_array(x), x):
        vae = model(Poisson((WIDTH,), size_factor=True), condition=keras_vae.conditions.OneHot(3))
        vae.fit(rows, {"condition": c, "size_factor": s}, batch_size=5, verbose=0)
        source = Source(rows, condition=c, size_factor=s)
        ends.append(np.asarray(vae.elbo(source, seed=0)))
    np.testing.assert_allclose(*ends, rtol=1e-6)


def test_a_prior_after_training_is_that_of_the_array():
    vae, found = model(), []
    for rows in (sparse.csr_array(counts()), counts()):
        vae.fit_prior(rows, num_components=1, seed=0)
        found.append(vae.ex_post.loc.numpy())
    np.testing.assert_allclose(*found, rtol=1e-5)


# What is refused


@pytest.mark.parametrize("value", [-1.0, 0.5, np.nan, np.inf])
def test_a_bad_value_is_refused_with_its_place(value, matrix):
    x = counts()
    x[7, 2] = value
    vae = model()
    for call in (vae.fit, vae.evaluate, vae.encode, vae.elbo):
        with pytest.raises(ValueError, match=r"(?s)support of Poisson.* at index \[7, 2\]"):
            call(matrix(x))
    with pytest.raises(ValueError, match=r"(?s)^`validation_data.* at index \[7, 2\]"):
        vae.fit(counts(), validation_data=matrix(x), verbose=0)
    assert int(vae.optimizer.iterations) == 0


def test_a_bad_value_in_a_later_chunk_is_refused_with_its_rows(monkeypatch):
    monkeypatch.setattr(keras_vae.feed, "CHUNK", 5 * WIDTH)
    x = counts()
    x[12, 2] = -3
    with pytest.raises(
        ValueError, match=r"`x\[10:14\]` is outside.*Received: -3\.0 at index \[2, 2\]"
    ):
        model().fit(sparse.csr_array(x), verbose=0)


def test_a_value_that_is_not_there_may_be_the_bad_one():
    """Zeros are not stored, and 0 is no value of this likelihood."""
    inside = np.full((4, WIDTH), 0.5, "float32")
    inside[1, 3] = 0
    vae = model(keras_vae.likelihoods.Beta((WIDTH,)))
    with pytest.raises(ValueError, match=r"support of Beta.*Received: 0\.0 at index \[1, 3\]"):
        vae.fit(sparse.csr_array(inside), verbose=0)


def test_bytes_are_refused_where_those_of_an_array_are():
    for rows in (counts("uint8"), sparse.csr_array(counts("uint8"))):
        with pytest.raises(ValueError, match=r"holds bytes, up to .*Normal"):
            model(Normal((WIDTH,))).fit(rows, verbose=0)


def test_rows_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"event shape of Poisson.*\[B, 9\].*\[14, 8\]"):
        model().fit(sparse.csr_array(counts()[:, :8]), verbose=0)
    with pytest.raises(ValueError, match=r"event shape of Bernoulli.*\[B, 3, 3, 1\]"):
        model(Bernoulli((3, 3, 1))).fit(sparse.csr_array(counts()), verbose=0)


def test_a_matrix_without_rows_is_refused():
    with pytest.raises(ValueError, match=r"`x` holds no examples"):
        model().fit(sparse.csr_array((0, WIDTH)), verbose=0)


def test_strings_and_complex_numbers_are_refused():
    with pytest.raises(ValueError, match=r"not numeric.*complex64"):
        model().fit(sparse.csr_array(counts("complex64")), verbose=0)


# Never the whole of it


def test_no_more_than_some_rows_are_made_dense_at_once(monkeypatch):
    """Of 3,000 rows, wherever they go: chunks to check, examples to start from, batches."""
    rows, limit = 3_000, 1_200
    x = sparse.random_array((rows, WIDTH), density=0.05, rng=np.random.default_rng(0), format="csr")
    x.data[:] = 1
    made = []
    for kind in (sparse.csr_array, sparse.csr_matrix):
        original = kind.toarray

        def toarray(self, *args, _original=original, **kwargs):
            made.append(self.shape[0])
            return _original(self, *args, **kwargs)

        monkeypatch.setattr(kind, "toarray", toarray)
        monkeypatch.setattr(kind, "todense", None)
    monkeypatch.setattr(keras_vae.feed, "CHUNK", 1_000 * WIDTH)
    monkeypatch.setattr(keras_vae.advice, "MAX_ROWS", 1_000)
    vae = model(eagerly=False)
    vae.fit(x, batch_size=1_000, verbose=0, validation_data=x)
    vae.predict(x, batch_size=1_000, verbose=0)
    evaluation.elbo(vae, x, num_samples=1, memory=2**20)
    vae.fit_prior(x, num_components=1, seed=0)
    assert made
    assert max(made) <= limit


def test_words_that_would_not_fit_in_memory_as_an_array():
    """A million documents of 20,000 words: 80 GB, of which 40 MB are there."""
    rows, width = 1_000_000, 20_000
    random = np.random.default_rng(0)
    indices = random.integers(0, width, 2 * rows)
    data, indptr = np.ones(2 * rows, "float32"), np.arange(0, 2 * rows + 1, 2)
    x = sparse.csr_array((data, indices, indptr), shape=(rows, width))
    source = as_source(x)
    mean, variance = source.moments()
    assert mean.sum() == pytest.approx(2.0)
    assert variance.shape == (width,)
    first = next(iter(batches(source, 3, epoch_seed=EpochSeed())))
    assert first.shape == (3, width)
    np.testing.assert_array_equal(tf.reduce_sum(first, 1), [2, 2, 2])
