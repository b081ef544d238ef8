"""Features, a row for each example: computed in chunks, and kept on the way."""

import keras
import numpy as np
import pytest
from interrupted import resumed

from keras_vae.data import Source
from keras_vae.evaluation import features_of, frechet_distance
from keras_vae.evaluation.features import _Computer
from keras_vae.evaluation.rows import MEMORY

X = np.random.default_rng(0).normal(size=(10, 3)).astype("float32")


def network(activation="tanh", seed=1):
    """A functional network; Keras counts up what it calls each of its layers."""
    keras.utils.set_random_seed(seed)
    x = keras.Input((3,))
    hidden = keras.layers.Dense(4, activation=activation)(x)
    return keras.Model(x, keras.layers.Dense(2)(hidden))


def squares(x):
    return x**2


def cubes(x):
    return x**3


def test_features_of_nothing_are_the_values_in_double_precision():
    x = np.random.default_rng(0).normal(size=(7, 2, 3))
    np.testing.assert_array_equal(features_of(x), x.reshape(7, 6))
    found = features_of(Source((255 * np.eye(4)).astype("uint8"), divisor=255.0))
    np.testing.assert_array_equal(found, np.eye(4))


@pytest.mark.parametrize("memory", [1, 300, MEMORY])
def test_features_of_a_function_are_those_of_each_x(memory):
    x = np.random.default_rng(0).normal(size=(7, 2, 3)).astype("float32")
    found = features_of(x, lambda rows: rows.max(axis=-1), memory)
    np.testing.assert_array_equal(found, x.max(axis=-1))


def test_a_network_is_called_as_in_inference():
    x = np.random.default_rng(0).normal(size=(7, 3)).astype("float32")
    dense = keras.layers.Dense(2)
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.9), dense])
    expected = x.astype("float64") @ np.asarray(dense.kernel)
    np.testing.assert_allclose(features_of(x, network, memory=1), expected, rtol=1e-5)


def test_a_keras_application_gives_features():
    """Batch normalisation by its moving moments, whatever is computed together."""
    network = keras.applications.MobileNet(
        (32, 32, 3), alpha=0.25, include_top=False, weights=None, pooling="avg"
    )
    x = np.random.default_rng(0).random((5, 32, 32, 3), "float32")
    found = features_of(x, network, memory=1)
    assert found.shape == (5, 256)
    np.testing.assert_allclose(found, network.predict(x, verbose=0), rtol=1e-4, atol=1e-9)


def test_bits_are_drawn_once_whatever_the_chunks():
    grey = Source(np.full((50, 20), 0.5, "float32"), dynamic=True)
    one, many = features_of(grey), features_of(grey, memory=1)
    np.testing.assert_array_equal(one, many)
    assert len(np.unique(one, axis=0)) == 50


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (lambda x: x[:, None], r"Expected: \[B, F\]. Received: \[5, 1, 2\]"),
        (lambda x: x.sum(), r"Expected: \[B, F\]. Received: \[\]"),
        (lambda x: x / np.nan, "10 values that are NaN or infinite"),
        ("inception", "Received: 'inception'"),
    ],
)
def test_features_that_are_none_are_refused(features, words):
    with pytest.raises(ValueError, match=words):
        features_of(np.ones((5, 2)), features)


@pytest.mark.parametrize("x", [{"age": [1.0]}, np.array(["a"]), 3.0, np.zeros((0, 2))])
def test_what_is_no_rows_of_numbers_is_refused(x):
    with pytest.raises(ValueError, match=r"no rows of numbers|holds no examples"):
        frechet_distance(np.ones((5, 2)), x)


def test_sets_of_other_events_are_refused():
    with pytest.raises(ValueError, match=r"Expected: 2 for each example. Received: 3"):
        frechet_distance(np.ones((5, 2)), np.ones((5, 3)))


# In chunks


def sizes_of_chunks(monkeypatch, x, **arguments):
    found, call = [], _Computer.__call__

    def spied(self, source, numbers):
        found.append(len(source))
        return call(self, source, numbers)

    monkeypatch.setattr(_Computer, "__call__", spied)
    features_of(x, **arguments)
    return found


def test_the_chunks_fit_the_memory(monkeypatch):
    row = _Computer(squares, "x", Source(X)[:1]).bytes_of_row
    assert row == 3 * 12 + 12 + 24  # x three times; its features, and in double precision
    assert sizes_of_chunks(monkeypatch, X, features=squares, memory=4 * row) == [4, 4, 2]


def test_a_chunk_has_500_rows_at_most(monkeypatch):
    assert sizes_of_chunks(monkeypatch, np.zeros((1_100, 1))) == [500, 500, 100]


# Resuming


@pytest.mark.parametrize("compute", [None, squares, network()])
def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch, compute):
    whole = features_of(X, compute, memory=1)
    found, done = resumed(
        monkeypatch,
        _Computer,
        4,
        lambda: features_of(X, compute, memory=1, checkpoint=tmp_path / "kept.npz"),
    )
    assert done == list(range(10))
    np.testing.assert_array_equal(found, whole)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.npz"]


def test_the_same_network_made_again_goes_on_whatever_keras_calls_its_layers(tmp_path, monkeypatch):
    first = features_of(X, network(), checkpoint=tmp_path / "kept.npz")
    monkeypatch.setattr(_Computer, "__call__", None)  # nothing is computed again
    again = features_of(X, network(), checkpoint=tmp_path / "kept.npz")
    np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize(
    ("x", "compute"),
    [
        (X, network(seed=2)),
        (X, network(activation="relu")),
        (X, None),
        (X, squares),
        (X + 1, network()),
        (X[:9], network()),
    ],
)
def test_a_checkpoint_of_other_features_or_data_is_refused(tmp_path, x, compute):
    features_of(X, network(), checkpoint=tmp_path / "kept.npz")
    with pytest.raises(ValueError, match="is of another run"):
        features_of(x, compute, checkpoint=tmp_path / "kept.npz")


def test_functions_are_told_apart_by_their_names(tmp_path):
    features_of(X, squares, checkpoint=tmp_path / "kept.npz")
    with pytest.raises(ValueError, match="is of another run"):
        features_of(X, cubes, checkpoint=tmp_path / "kept.npz")


def test_functions_of_one_name_are_told_apart_by_what_they_give(tmp_path):
    first, second = (lambda x, factor=factor: factor * x.reshape(len(x), -1) for factor in (1, 10))
    assert first.__qualname__ == second.__qualname__
    features_of(X, first, checkpoint=tmp_path / "kept.npz")
    with pytest.raises(ValueError, match="is of another run"):
        features_of(X, second, checkpoint=tmp_path / "kept.npz")


def test_of_two_sets_each_has_its_file(tmp_path):
    x = np.random.default_rng(0).normal(size=(2, 10, 3))
    frechet_distance(*x, checkpoint=tmp_path / "a" / "kept.npz")
    assert {path.name for path in (tmp_path / "a").iterdir()} == {
        "kept.real.npz",
        "kept.generated.npz",
    }
    for name, rows in zip(("real", "generated"), x, strict=True):
        with np.load(tmp_path / "a" / f"kept.{name}.npz") as kept:
            np.testing.assert_array_equal(kept["features"], rows)
