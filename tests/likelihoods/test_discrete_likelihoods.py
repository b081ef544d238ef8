"""What holds for every p(x|z) of whole numbers: it is a table of masses."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from parts import assert_finite, built, data_for, every, features, round_trip

from keras_vae import likelihoods

COUNTS = np.arange(400, dtype="float32")
BYTES = np.arange(256, dtype="float32")

# Of one number, by all values that it has with a mass worth speaking of.
FAMILIES = {
    "Poisson": (lambda: likelihoods.Poisson((1,)), COUNTS),
    "NegativeBinomial": (lambda: likelihoods.NegativeBinomial((1,)), COUNTS),
    "ZeroInflatedNegativeBinomial": (
        lambda: likelihoods.ZeroInflatedNegativeBinomial((1,)),
        COUNTS,
    ),
    "Categorical": (lambda: likelihoods.Categorical(5, (1,)), np.arange(5, dtype="float32")),
    "DiscretisedLogistic": (lambda: likelihoods.DiscretisedLogistic((1,)), BYTES),
    "DiscretisedLogistic-levels": (
        lambda: likelihoods.DiscretisedLogistic((1,), levels=7),
        np.arange(7, dtype="float32"),
    ),
    "DiscretisedLogisticMixture": (lambda: likelihoods.DiscretisedLogisticMixture((1,)), BYTES),
}
OPTIONS = {
    "Poisson": lambda: likelihoods.Poisson((2,), size_factor=True),
    "NegativeBinomial": lambda: likelihoods.NegativeBinomial((2,), "per_value", size_factor=True),
    "ZeroInflatedNegativeBinomial": lambda: likelihoods.ZeroInflatedNegativeBinomial(
        (2,), "per_value", size_factor=True
    ),
    "Multinomial": lambda: likelihoods.Multinomial((2,)),
    "Categorical": lambda: likelihoods.Categorical(4, (2,)),
    "OneHotCategorical": lambda: likelihoods.OneHotCategorical((2, 3)),
    "DiscretisedLogistic": lambda: likelihoods.DiscretisedLogistic((2,), 16, "shared"),
    "DiscretisedLogisticMixture": lambda: likelihoods.DiscretisedLogisticMixture((2,), 3, 16),
}
all_families = pytest.mark.parametrize("name", FAMILIES)


def table(name, batch=4):
    """The distribution of one number for each of a batch, its values, their masses [n, B]."""
    make, values = FAMILIES[name]
    head = built(make())
    p = head.distribution(head(features(batch)))
    log_prob = p.log_prob(values[:, None, None]).numpy()
    return p, values, np.exp(log_prob.astype("float64"))


@all_families
def test_the_masses_add_up_to_one(name):
    _, _, masses = table(name)
    np.testing.assert_allclose(masses.sum(0), 1, rtol=2e-6)


@all_families
def test_draws_are_as_frequent_as_their_masses(name):
    p, values, masses = table(name)
    n = 20_000
    draws = p.sample(n, seed=0).numpy()[..., 0]
    assert draws.dtype == np.float32
    frequencies = (draws[None] == values[:, None, None]).mean(1)
    np.testing.assert_allclose(frequencies.sum(0), 1, rtol=1e-9)
    error = np.sqrt(masses * (1 - masses) / n)
    np.testing.assert_array_less(np.abs(frequencies - masses), 5 * error + 5 / n)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "Categorical"])
def test_mean_and_variance_are_those_of_the_table(name):
    p, values, masses = table(name)
    mean = (values[:, None] * masses).sum(0)
    variance = ((values[:, None] - mean) ** 2 * masses).sum(0)
    np.testing.assert_allclose(p.mean()[:, 0], mean, rtol=1e-5)
    np.testing.assert_allclose(p.variance()[:, 0], variance, rtol=1e-4)


@pytest.mark.parametrize("make", every(OPTIONS))
def test_a_family_is_the_same_however_it_is_compiled(make):
    head = built(make())
    inputs, x = features(4), data_for_any(head, 4)

    def terms(inputs, x):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            p = head.distribution(head(inputs))
            log_prob = p.log_prob(x)
        return log_prob, head.centre(p), tape.gradient(log_prob, inputs)

    def draw(inputs):
        return head.distribution(head(inputs)).sample(3, seed=tf.constant([0, 1]))

    eager = terms(tf.constant(inputs), tf.constant(x))
    for jit_compile in (False, True):
        compiled = tf.function(terms, jit_compile=jit_compile)(inputs, x)
        for ours, theirs in zip(compiled, eager, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    draws = tf.function(draw, jit_compile=True)(inputs).numpy()
    assert draws.shape == (3, 4, *head.event_shape)
    head.check(draws[0])


def data_for_any(head, n):
    """Draws of the family itself, so that any number of levels will do."""
    return head.distribution(head(features(n, (5,)) * 0.5)).sample(seed=3).numpy()


@pytest.mark.parametrize("make", every(OPTIONS))
def test_every_option_is_saved(make):
    head = make()
    loaded = round_trip(head)
    assert loaded.get_config() == head.get_config()
    assert loaded.support.name == head.support.name
    assert loaded.projected() == head.projected()
    assert loaded.takes_size_factor == head.takes_size_factor


@pytest.mark.parametrize("make", every(OPTIONS))
def test_double_precision_has_double_precision_densities_means_and_draws(make):
    head = make()
    head = built(type(head).from_config({**head.get_config(), "dtype": "float64"}))
    p = head.distribution(head(features(3).astype("float64")))
    x = p.sample(seed=0)
    for value in (x, p.log_prob(x), head.centre(p), head.encoder_input(x)):
        assert value.dtype == tf.float64
    start = head.start(*(tf.ones(head.event_shape, tf.float64) for _ in range(2)))
    assert {value.dtype for value in start.values()} == {tf.float64}


@pytest.mark.parametrize("make", every(OPTIONS))
def test_a_family_without_a_threshold_says_so(make):
    moment = tf.ones((2,))
    with pytest.raises(NotImplementedError):
        make().noise_variance(moment, moment)


@pytest.mark.parametrize("make", every(OPTIONS))
def test_what_the_encoder_is_given_is_finite_and_of_a_known_shape(make):
    """Also for a symbolic x, by which a model finds out the shapes of its weights."""
    head = built(make())
    given = head.encoder_input(tf.constant(data_for_any(head, 3)))
    assert_finite(given)
    symbolic = head.encoder_input(keras.KerasTensor((None, *head.event_shape)))
    assert tuple(symbolic.shape[1:]) == tuple(given.shape[1:])
    assert given.shape[0] == 3


@pytest.mark.parametrize("constant", [0.0, 1.0])
@pytest.mark.parametrize("make", every(OPTIONS))
def test_constant_data_has_a_finite_start(make, constant):
    head = make()
    mean = tf.fill(head.event_shape, constant)
    raw = head.start(mean, tf.zeros(head.event_shape))
    p = head.distribution(head.link(raw))
    x = data_for(head, 1) if head.support.name.startswith("one") else np.zeros((1, 2), "float32")
    assert_finite(*raw.values(), p.log_prob(x))


def test_numbers_that_are_no_level_are_refused():
    for value in (7.0, -1.0, 0.5):
        with pytest.raises(ValueError, match=r"outside the support of DiscretisedLogistic"):
            likelihoods.DiscretisedLogistic((2,), 7).check(np.array([[0, value]], "float32"))


@pytest.mark.parametrize("value", [1, 0, -3, 2.0, True, "4", None])
def test_the_number_of_values_is_an_integer_above_one(value):
    for make in (
        lambda: likelihoods.Categorical(value),
        lambda: likelihoods.DiscretisedLogistic(levels=value),
        lambda: likelihoods.DiscretisedLogisticMixture(levels=value),
    ):
        with pytest.raises(ValueError, match=r"`(classes|levels)` of \w+ is the number of"):
            make()
