"""Rows are gone through in chunks, with a bar on a terminal, and kept on the way."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_vae.data import Source
from keras_vae.evaluation import rows
from keras_vae.evaluation.draws import seed_of_row
from keras_vae.evaluation.rows import Rows, bytes_of, held_still

X = Source(np.arange(20.0).reshape(10, 2))


def sums(source, numbers):
    """The sum of each row, and its number."""
    return {"sum": source.array().sum(axis=1), "number": numbers}


def test_every_row_is_computed_once_and_in_order():
    for memory in (1, 30, 10**6):
        found = Rows(memory, progress=False)(sums, X, bytes_of_row=10, label="", identity=str)
        np.testing.assert_array_equal(found["number"], np.arange(10))
        np.testing.assert_array_equal(found["sum"], X.values.sum(axis=1))


def test_a_chunk_has_no_more_rows_than_it_may():
    sizes = []

    def noted(source, numbers):
        sizes.append(len(source))
        return sums(source, numbers)

    Rows(10**6, progress=False)(noted, X, bytes_of_row=10, label="", identity=str, most=4)
    assert sizes == [4, 4, 2]


class Terminal(io.StringIO):
    """A terminal that keeps what it was sent."""

    def isatty(self):
        return True


@pytest.mark.parametrize("progress", [True, False])
@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_a_bar_is_shown_on_a_terminal_that_wants_one(monkeypatch, stream, progress):
    shown = stream()
    monkeypatch.setattr(sys, "stderr", shown)
    Rows(20, progress)(sums, X, bytes_of_row=10, label="log p(x)", identity=str)
    assert ("log p(x)" in shown.getvalue()) == (stream is Terminal and progress)
    if stream is Terminal and progress:
        assert "100%" in shown.getvalue()


def test_what_is_finished_is_kept_now_and_then_and_at_the_end(tmp_path, monkeypatch):
    file = tmp_path / "a" / "kept.npz"
    there = []

    def looking(source, numbers):
        there.append(file.exists())
        return sums(source, numbers)

    monkeypatch.setattr(rows, "SECONDS", 1e9)
    Rows(20, False, file)(looking, X, bytes_of_row=10, label="", identity=lambda: "me")
    assert there == [False] * 5
    assert file.exists()

    file.unlink()
    there.clear()
    monkeypatch.setattr(rows, "SECONDS", 0.0)
    Rows(20, False, file)(looking, X, bytes_of_row=10, label="", identity=lambda: "me")
    assert there == [False] + [True] * 4


def test_what_is_finished_is_kept_when_it_is_stopped(tmp_path):
    file, done = tmp_path / "kept.npz", []

    def stopped(source, numbers):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(numbers)
        return sums(source, numbers)

    with pytest.raises(KeyboardInterrupt):
        Rows(20, False, file)(stopped, X, bytes_of_row=10, label="", identity=str)
    found = Rows(20, False, file)(sums, X, bytes_of_row=10, label="", identity=str)
    np.testing.assert_array_equal(found["number"], np.arange(10))
    with np.load(file) as kept:
        assert len(kept["sum"]) == 10


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    file = tmp_path / "kept.npz"
    file.write_bytes(content)
    with pytest.raises(ValueError, match="is none, or is damaged"):
        Rows(20, False, file)(sums, X, bytes_of_row=10, label="", identity=str)


def test_seeds_are_whole_numbers_of_64_bits():
    number = tf.constant(3, tf.int64)
    seeds = [0, 1, -1, 2**31, 2**32, 2**40, 2**63 - 1]
    assert len({tuple(seed_of_row(seed, number).numpy()) for seed in seeds}) == len(seeds)


def test_what_is_finished_is_not_computed_again(tmp_path):
    file = tmp_path / "kept.npz"
    first = Rows(20, False, file)(sums, X, bytes_of_row=10, label="", identity=lambda: "me")

    def never(source, numbers):
        raise AssertionError("computed again")

    again = Rows(20, False, file)(never, X, bytes_of_row=10, label="", identity=lambda: "me")
    np.testing.assert_array_equal(again["sum"], first["sum"])


def test_the_bytes_of_a_graph_are_those_of_its_tensors():
    @tf.function
    def outer(x):
        return tf.reduce_sum(x[:, None] * x[None, :])

    size = bytes_of(outer, tf.zeros(100))
    assert 100 * 100 * 4 <= size <= 1.2 * 100 * 100 * 4


def test_the_bytes_of_a_graph_are_not_those_of_weights():
    """They are there once, whatever the number of rows."""
    weight = tf.Variable(tf.zeros((100, 100)))
    size = bytes_of(tf.function(lambda x: x @ weight), tf.zeros((1, 100)))
    assert 2 * 100 * 4 <= size <= 4 * 100 * 4


def test_a_part_has_a_checkpoint_beside_the_others():
    assert Rows(checkpoint="a/b.npz").part("real").checkpoint == Path("a/b.real.npz")
    assert Rows(30, False).part("real") == Rows(30, False)


def test_a_row_has_a_seed_of_its_own():
    seeds = {
        tuple(seed_of_row(seed, tf.constant(n, tf.int64)).numpy())
        for seed in (0, 1)
        for n in range(50)
    }
    assert len(seeds) == 100


def test_a_source_of_bits_is_drawn_once():
    grey = Source(np.full((50, 4), 128, np.uint8), 255.0, dynamic=True)
    still = held_still(grey)
    np.testing.assert_array_equal(still.array(), grey.array())
    assert still[10:].array().tolist() == grey.array()[10:].tolist()
    assert held_still(X) is X
