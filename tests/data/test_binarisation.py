"""From grey values to bits."""

import numpy as np
import pytest

from keras_vae.data import binarise, threshold


def test_a_bit_is_one_as_often_as_its_grey_value_says():
    grey = np.tile(np.array([0, 51, 128, 255], np.uint8), (20_000, 1))
    share = binarise(grey).mean(axis=0)
    p = np.array([0, 51, 128, 255]) / 255
    assert np.all(np.abs(share - p) <= 4 * np.sqrt(p * (1 - p) / 20_000))


def test_bytes_and_floats_of_the_same_grey_give_the_same_bits():
    grey = np.random.default_rng(0).integers(0, 256, (50, 7), dtype=np.uint8)
    assert np.array_equal(binarise(grey, seed=4), binarise((grey / 255).astype("float32"), seed=4))
    assert not np.array_equal(binarise(grey, seed=4), binarise(grey, seed=5))


def test_the_threshold_is_one_half():
    assert threshold(np.array([0, 127, 128, 255], np.uint8)).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "values", [np.array([0.0, 1.2]), np.array([-0.1, 0.5]), np.array([0, 300]), np.array([])]
)
def test_values_that_are_no_grey_values_are_refused(values):
    with pytest.raises(ValueError, match=r"uint8 in 0\.\.255 or as floats in \[0, 1\]"):
        binarise(values)
