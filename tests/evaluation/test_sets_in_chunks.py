"""What compares two sets: the same whatever the memory, which it keeps to, and resumable."""

import dataclasses
import functools
import io
import sys
import tracemalloc

import numpy as np
import pytest
from interrupted import resumed

from keras_vae import evaluation
from keras_vae.evaluation.features import _Computer

COMPARISONS = {
    "frechet_distance": evaluation.frechet_distance,
    "precision_recall": evaluation.precision_recall,
    "density_coverage": evaluation.density_coverage,
    "kernel_two_sample_test": evaluation.kernel_two_sample_test,
    "classifier_two_sample_test": evaluation.classifier_two_sample_test,
    "classifier_two_sample_test of neighbours": functools.partial(
        evaluation.classifier_two_sample_test, classifier="neighbours"
    ),
}
each = pytest.mark.parametrize("compare", COMPARISONS.values(), ids=COMPARISONS)


def sets(n=40, m=30):
    random = np.random.default_rng(0)
    return random.normal(size=(n, 3)), random.normal(size=(m, 3)) + 0.4


def squares(x):
    return x**2


def numbers(found):
    return np.array(dataclasses.astuple(found) if dataclasses.is_dataclass(found) else found)


@each
@pytest.mark.parametrize("memory", [1, 700, 3_000, 40_000])
def test_the_chunks_do_not_change_the_result(compare, memory):
    found, whole = (compare(*sets(), features=squares, memory=size) for size in (memory, 2**28))
    np.testing.assert_allclose(numbers(found), numbers(whole), rtol=1e-12)


@each
def test_what_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch, compare):
    """In the features of the second set: those of the first are in their file."""
    run = functools.partial(compare, *sets(), features=squares, memory=1)
    whole = run()
    found, done = resumed(monkeypatch, _Computer, 45, lambda: run(checkpoint=tmp_path / "kept.npz"))
    assert done == [*range(40), *range(30)]
    np.testing.assert_array_equal(numbers(found), numbers(whole))


@each
def test_a_checkpoint_of_other_sets_is_refused(tmp_path, compare):
    real, generated = sets()
    compare(real, generated, checkpoint=tmp_path / "kept.npz")
    with pytest.raises(ValueError, match=r"kept.generated.npz is of another run"):
        compare(real, generated + 1, checkpoint=tmp_path / "kept.npz")


class Terminal(io.StringIO):
    """A terminal that keeps what it was sent."""

    def isatty(self):
        return True


@each
def test_a_bar_is_shown_on_a_terminal_that_wants_one(monkeypatch, compare):
    for progress in (False, True):
        shown = Terminal()
        monkeypatch.setattr(sys, "stderr", shown)
        compare(*sets(), progress=progress)
        assert ("features of generated" in shown.getvalue()) == progress


def peak(run):
    """The most bytes that NumPy held at once."""
    run()  # what is imported
    tracemalloc.start()
    run()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


@pytest.mark.parametrize(
    ("compare", "bytes_beside"),
    [
        (evaluation.frechet_distance, 0),
        (evaluation.precision_recall, 0),
        (evaluation.density_coverage, 0),
        # A byte for each row in each permutation.
        (functools.partial(evaluation.kernel_two_sample_test, width=1.0), 2_000 * 1_000),
        (evaluation.classifier_two_sample_test, 0),
    ],
)
def test_what_is_made_fits_the_memory(compare, bytes_beside):
    """Beside features, of which there are 48 kB; the matrices of all rows have 8 to 32 MB."""
    allowed = 2**22 + bytes_beside + 600_000
    assert peak(lambda: compare(*sets(1_000, 1_000), memory=2**22)) < allowed


@each
@pytest.mark.parametrize("memory", [0, -1, 1.5, None])
def test_a_memory_that_is_none_is_refused(compare, memory):
    with pytest.raises(ValueError, match=r"`memory` is how many bytes .* Received: "):
        compare(*sets(), memory=memory)
