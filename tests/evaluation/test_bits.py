"""Code lengths from densities."""

import numpy as np
import pytest
import tensorflow as tf

from keras_vae import likelihoods
from keras_vae.evaluation import bits_per_dimension


def test_a_uniform_byte_takes_eight_bits():
    log_prob = np.full(5, -3 * 4 * np.log(256))
    np.testing.assert_allclose(bits_per_dimension(log_prob, (3, 4)), 8)
    assert bits_per_dimension(-np.log(256), ()) == pytest.approx(8)


def test_a_logistic_wider_than_all_bytes_takes_a_bit_for_the_end():
    """Nearly all mass lies in the two tails, half in each."""
    head = likelihoods.DiscretisedLogistic((2,))
    p = head.distribution({"loc": tf.zeros((1, 2)), "scale": tf.fill((1, 2), 1e4)})
    bits = bits_per_dimension(p.log_prob(tf.constant([[0.0, 255.0]])), head.event_shape)
    np.testing.assert_allclose(bits, 1, rtol=1e-3)


@pytest.mark.parametrize("shape", [(0,), (-3,), 3, None, "ab", (2.5,)])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(ValueError, match="`event_shape` of bits_per_dimension"):
        bits_per_dimension(-1.0, shape)
