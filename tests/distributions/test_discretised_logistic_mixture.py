"""The mixture of discretised logistics, its gradient in closed form: SciPy's and TFP's."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import special
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.discretised_logistic import DiscretisedLogistic
from keras_vae.distributions.discretised_logistic_mixture import DiscretisedLogisticMixture

BYTES = np.arange(256)
RNG = np.random.default_rng(0)
# Of the components of a mixture, which together have narrow and wide, near and far ones.
LOCS = np.array([[-1.0, 0.2, 0.9], [-1e4, 0.0, 1.0], [0.0, 50.0, -0.4], [3.0, -3.0, 0.1]])
SCALES = np.array([[1e-6, 0.03, 1e4], [1e-3, 1e-6, 0.1], [1.0, 1e-4, 0.03], [1e-2, 1e-3, 1e-6]])
LOGITS = np.array([[0.0, 1.0, -2.0], [3.0, 0.0, -90.0], [-40.0, 5.0, 0.0], [0.0, 0.0, 0.0]])


def mixture(logits, loc, scale, kind=DiscretisedLogisticMixture, levels=256):
    return kind(tfd.Categorical(logits=logits), DiscretisedLogistic(loc, scale, levels))


def moderate(*shape):
    """Logits, loc and scale of 3 components each, such that TFP's gradients have no NaN."""
    loc = RNG.uniform(-1.2, 1.2, (*shape, 3))
    return [
        tf.constant(v) for v in (RNG.normal(size=loc.shape), loc, RNG.gamma(2.0, 0.1, loc.shape))
    ]


def exact(x, logits, loc, scale):
    """log P(x) of components on the last axis, by factors that are no differences."""
    x = x[:, None, None]
    from_loc = 2 * x / 255 - 1 - loc
    each = special.log_expit((from_loc + 1 / 255) / scale) * (x < 255)
    each += special.log_expit((1 / 255 - from_loc) / scale) * (x > 0)
    each += np.log(-np.expm1(-2 / 255 / scale)) * ((x > 0) & (x < 255))
    return special.logsumexp(special.log_softmax(logits, -1) + each, -1)


def test_the_density_is_scipys_however_far_the_tail():
    found = mixture(*map(tf.constant, (LOGITS, LOCS, SCALES))).log_prob(BYTES[:, None])
    np.testing.assert_allclose(found, exact(BYTES, LOGITS, LOCS, SCALES), rtol=1e-9, atol=1e-12)


def test_single_precision_loses_what_rounding_of_x_over_the_scale_is():
    parameters = [tf.constant(v, tf.float32) for v in (LOGITS, LOCS, SCALES)]
    found = mixture(*parameters).log_prob(BYTES[:, None].astype("float32"))
    expected = exact(BYTES, *(v.numpy().astype("float64") for v in parameters))
    rounding = 2.0**-24 / SCALES.min(-1)  # of numbers of at most 1, at two places
    assert np.all(np.abs(found - expected) <= 2 * rounding + 1e-6 * np.abs(expected) + 1e-6)


def test_gradients_are_finite_in_single_precision_however_far_the_tail():
    parameters = [tf.constant(v, tf.float32) for v in (LOGITS, LOCS, SCALES)]
    for gradient in value_and_gradients(mixture, BYTES[:, None].astype("float32"), parameters):
        assert np.isfinite(gradient).all()


def value_and_gradients(p, x, parameters):
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        found = p(*parameters).log_prob(x)
        total = tf.reduce_sum(tf.sin(found))
    return [found, *tape.gradient(total, parameters)]


SHAPES = {
    "batch": ((4, 7), (4, 7)),
    "draws and batch": ((2, 4, 7), (4, 7)),
    "more x than parameters": ((4, 7), (3, 4, 7)),
    "one row of parameters": ((1, 7), (4, 7)),
    "a scalar": ((), ()),
    "no rows": ((0, 7), (0, 7)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_value_and_gradients_are_those_of_tfp(name):
    shape, of_x = SHAPES[name]
    parameters = moderate(*shape)
    x = tf.constant(RNG.choice([0, 1, 100, 254, 255], of_x), tf.float64)
    found = value_and_gradients(mixture, x, parameters)
    of_tfp = value_and_gradients(
        lambda *all_three: mixture(*all_three, kind=tfd.MixtureSameFamily), x, parameters
    )
    for ours, expected in zip(found, of_tfp, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-10)


def test_two_levels_and_their_gradients_are_those_of_tfp():
    parameters, x = moderate(5), tf.constant([0.0, 1.0, 0.0, 1.0, 1.0], tf.float64)
    found, expected = (
        value_and_gradients(lambda *v, kind=kind: mixture(*v, kind, levels=2), x, parameters)
        for kind in (DiscretisedLogisticMixture, tfd.MixtureSameFamily)
    )
    for ours, of_tfp in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, of_tfp, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_it_runs_in_a_graph_of_unknown_batch(jit_compile):
    unknown, of_x = tf.TensorSpec((None, 7, 3), tf.float64), tf.TensorSpec((None, 7), tf.float64)

    @tf.function(jit_compile=jit_compile, input_signature=[unknown, unknown, unknown, of_x])
    def density(logits, loc, scale, x):
        return mixture(logits, loc, scale).log_prob(x)

    parameters, x = moderate(4, 7), tf.constant(RNG.integers(0, 256, (4, 7)), tf.float64)
    np.testing.assert_allclose(
        density(*parameters, x), mixture(*parameters).log_prob(x), rtol=1e-12
    )


def test_a_second_derivative_is_that_of_tfp():
    parameters, x = moderate(3), tf.constant([0.0, 100.0, 255.0], tf.float64)
    found = []
    for kind in (DiscretisedLogisticMixture, tfd.MixtureSameFamily):
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            first = value_and_gradients(lambda *v, kind=kind: mixture(*v, kind), x, parameters)[1:]
            total = tf.add_n([tf.reduce_sum(v**2) for v in first])
        found.append(tape.gradient(total, parameters))
    for ours, expected in zip(*found, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-8)
