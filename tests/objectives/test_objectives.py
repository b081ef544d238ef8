"""What holds for every bound."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from parts import OBJECTIVES, every, round_trip
from scipy.special import logsumexp

from keras_vae.objectives import ELBO, IWAE, Terms

B = 6
STEP = 30
all_objectives = pytest.mark.parametrize("make", every(OBJECTIVES))


def random_terms(num_samples, scale=1.0):
    random = np.random.default_rng(0)
    shape = (num_samples, B)
    return Terms(
        log_likelihood=(scale * random.normal(size=shape) - 5).astype("float32"),
        log_prior=(scale * random.normal(size=shape) - 3).astype("float32"),
        log_posterior=(scale * random.normal(size=shape) - 2).astype("float32"),
        kl=random.uniform(0, 4, B).astype("float32"),
    )


def bound(objective, terms, step=STEP):
    return objective.bound(Terms(*map(tf.constant, terms)), step).numpy()


EXPECTED = {
    "ELBO": lambda t: t.log_likelihood.mean(0) - t.kl,
    "ELBO-beta": lambda t: t.log_likelihood.mean(0) - 4 * t.kl,
    "ELBO-samples": lambda t: t.log_likelihood.mean(0) - t.kl,
    "ELBO-free_bits": lambda t: t.log_likelihood.mean(0) - np.maximum(t.kl, 2.0),
    # From 0.25 to 1 in 100 steps, read at step 30.
    "ELBO-schedule": lambda t: t.log_likelihood.mean(0) - (0.25 + 0.75 * 0.3) * t.kl,
    "IWAE": lambda t: (
        logsumexp(t.log_likelihood + t.log_prior - t.log_posterior, axis=0) - np.log(5)
    ),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_bound_is_its_equation(name):
    objective = OBJECTIVES[name]()
    terms = random_terms(objective.num_samples)
    value = bound(objective, terms)
    assert value.shape == (B,)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, EXPECTED[name](terms), rtol=1e-5)


@all_objectives
def test_objectives_are_frozen(make):
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().num_samples = 2


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "ELBO-schedule"])
def test_objectives_of_equal_arguments_are_equal(name):
    make = OBJECTIVES[name]
    assert make() == make()
    assert hash(make()) == hash(make())
    assert all(make() != other() for key, other in OBJECTIVES.items() if key != name)


@all_objectives
def test_a_loaded_objective_is_the_saved_one(make):
    objective = make()
    loaded = round_trip(objective)
    assert type(loaded) is type(objective)
    assert loaded.get_config() == objective.get_config()
    terms = random_terms(objective.num_samples)
    np.testing.assert_array_equal(bound(loaded, terms), bound(objective, terms))


@all_objectives
def test_objectives_are_registered_under_the_packages_name(make):
    kind = type(make())
    assert keras.saving.get_registered_name(kind) == f"keras_vae>{kind.__name__}"


@all_objectives
@pytest.mark.parametrize("compiled", [False, True])
def test_the_bound_is_the_same_in_a_graph(make, compiled):
    objective = make()
    terms = random_terms(objective.num_samples)
    graph = tf.function(lambda *t: objective.bound(Terms(*t), STEP), jit_compile=compiled)
    np.testing.assert_allclose(graph(*terms), bound(objective, terms), rtol=1e-5)


@all_objectives
def test_a_larger_likelihood_is_a_larger_bound(make):
    objective = make()
    terms = random_terms(objective.num_samples)
    better = terms._replace(log_likelihood=terms.log_likelihood + 1)
    difference = bound(objective, better) - bound(objective, terms)
    np.testing.assert_allclose(difference, np.ones(B), rtol=1e-5)


@all_objectives
@pytest.mark.parametrize("num_samples", [0, -1, 1.5, "2", True, None])
def test_the_number_of_samples_is_a_positive_integer(make, num_samples):
    kind = type(make())
    with pytest.raises(ValueError, match="`num_samples` of") as error:
        kind(num_samples=num_samples)
    assert "the number of draws of z, a positive integer" in str(error.value)
    assert f"Received: num_samples={num_samples!r}." in str(error.value)


# The ELBO


@pytest.mark.parametrize("beta", [-1, float("nan"), float("inf"), "4", True, None])
def test_beta_is_a_weight_or_a_schedule(beta):
    with pytest.raises(ValueError, match="`beta` of ELBO is the weight of the KL") as error:
        ELBO(beta=beta)
    assert "a finite number >= 0" in str(error.value)
    assert "LearningRateSchedule" in str(error.value)
    assert f"Received: {beta!r}." in str(error.value)


@pytest.mark.parametrize("free_bits", [-1, float("nan"), float("inf"), "4", True, None])
def test_free_bits_are_a_number_of_nats(free_bits):
    with pytest.raises(ValueError, match="`free_bits` of ELBO is in nats") as error:
        ELBO(free_bits=free_bits)
    assert "a finite number >= 0" in str(error.value)
    assert f"Received: {free_bits!r}." in str(error.value)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
def test_numbers_of_numpy_are_numbers(kind):
    terms = random_terms(1)
    np.testing.assert_array_equal(
        bound(ELBO(beta=kind(2), free_bits=kind(1)), terms),
        bound(ELBO(beta=2.0, free_bits=1.0), terms),
    )


@pytest.mark.parametrize(("step", "beta"), [(0, 0.25), (50, 0.625), (100, 1.0), (10_000, 1.0)])
def test_a_schedule_of_beta_is_read_at_the_step(step, beta):
    objective = OBJECTIVES["ELBO-schedule"]()
    terms = random_terms(1)
    assert float(objective.beta_at(step)) == pytest.approx(beta)
    np.testing.assert_allclose(
        bound(objective, terms, step), terms.log_likelihood.mean(0) - beta * terms.kl, rtol=1e-5
    )


def test_a_schedule_of_beta_is_read_anew_at_each_step_of_a_graph():
    objective = OBJECTIVES["ELBO-schedule"]()
    step = tf.Variable(0, dtype=tf.int64)
    beta = tf.function(lambda: objective.beta_at(step))
    values = []
    for value in (0, 50, 100):
        step.assign(value)
        values.append(float(beta()))
    assert values == pytest.approx([0.25, 0.625, 1.0])


def gradient_by_kl(objective, kl):
    draws = [tf.zeros((objective.num_samples, len(kl)))] * 3
    kl = tf.Variable(kl)
    with tf.GradientTape() as tape:
        value = objective.bound(Terms(*draws, kl), STEP)
    return tape.gradient(value, kl).numpy()


@pytest.mark.parametrize(("beta", "expected"), [(0.0, 0.0), (1.0, -1.0), (4.0, -4.0)])
def test_the_kl_is_weighed_by_beta(beta, expected):
    gradient = gradient_by_kl(ELBO(beta=beta), [0.5, 3.0])
    np.testing.assert_array_equal(gradient, [expected, expected])


def test_free_nats_of_kl_cost_nothing_and_no_gradient_pushes_below_them():
    gradient = gradient_by_kl(ELBO(beta=4.0, free_bits=2.0), [0.5, 1.9, 2.1, 9.0])
    np.testing.assert_array_equal(gradient, [0, 0, -4, -4])


def test_free_bits_only_loosen_the_bound():
    terms = random_terms(1)
    free, plain = (bound(ELBO(free_bits=f), terms) for f in (2.0, 0.0))
    assert (free <= plain).all()
    np.testing.assert_array_equal(free[terms.kl > 2], plain[terms.kl > 2])
    np.testing.assert_allclose(free[terms.kl < 2], (terms.log_likelihood[0] - 2)[terms.kl < 2])


def test_more_samples_average_the_likelihood_and_nothing_else():
    terms = random_terms(3)
    each = [bound(ELBO(), Terms(*(t[k : k + 1] for t in terms[:3]), terms.kl)) for k in range(3)]
    np.testing.assert_allclose(bound(ELBO(num_samples=3), terms), np.mean(each, 0), rtol=1e-5)


# The importance-weighted bound


def test_with_one_sample_it_is_the_elbo_with_the_sampled_kl():
    terms = random_terms(1)
    sampled = terms._replace(kl=(terms.log_posterior - terms.log_prior).mean(0))
    np.testing.assert_allclose(bound(IWAE(1), terms), bound(ELBO(), sampled), rtol=1e-5)


def test_it_lies_between_the_mean_and_the_largest_log_weight():
    terms = random_terms(50, scale=10)
    log_weights = terms.log_likelihood + terms.log_prior - terms.log_posterior
    value = bound(IWAE(50), terms)
    assert (value >= log_weights.mean(0)).all()
    assert (value <= log_weights.max(0)).all()


def test_the_value_is_not_that_of_the_surrogate_with_the_same_gradient():
    """`sum w log w` of normalised weights exceeds the bound by KL(w || uniform), <= log K."""
    terms = random_terms(50, scale=3)
    log_weights = (terms.log_likelihood + terms.log_prior - terms.log_posterior).astype("float64")
    weights = np.exp(log_weights - logsumexp(log_weights, axis=0))
    surrogate = (weights * log_weights).sum(0)
    optimism = (weights * np.log(weights * 50)).sum(0)
    value = bound(IWAE(50), terms)
    assert (optimism > 0.1).all()
    np.testing.assert_allclose(value, surrogate - optimism, rtol=1e-4)


def test_its_gradient_is_that_of_the_log_weights_weighted_by_themselves():
    """And so more for the better samples, which an inverted sign would turn around."""
    terms = random_terms(5)
    log_likelihood = tf.Variable(terms.log_likelihood)
    with tf.GradientTape() as tape:
        value = IWAE(5).bound(terms._replace(log_likelihood=log_likelihood), STEP)
    log_weights = terms.log_likelihood + terms.log_prior - terms.log_posterior
    expected = np.exp(log_weights - logsumexp(log_weights, axis=0))
    np.testing.assert_allclose(tape.gradient(value, log_likelihood), expected, rtol=1e-4)


@pytest.mark.parametrize("offset", [-1e4, 1e4])
def test_weights_that_overflow_give_the_value_still(offset):
    terms = random_terms(5)
    moved = terms._replace(log_likelihood=terms.log_likelihood + np.float32(offset))
    np.testing.assert_allclose(bound(IWAE(5), moved), bound(IWAE(5), terms) + offset, rtol=1e-6)


def test_it_is_the_same_whatever_the_order_of_the_samples():
    terms = random_terms(5)
    turned = Terms(*(t[::-1] for t in terms[:3]), terms.kl)
    np.testing.assert_allclose(bound(IWAE(5), turned), bound(IWAE(5), terms), rtol=1e-6)


def test_its_kl_has_the_weight_one():
    assert IWAE(5).beta_at(0) == 1.0
    assert IWAE(5).beta_at(1_000) == 1.0


@all_objectives
def test_the_equation_says_what_is_maximised(make):
    equation = make().equation()
    assert r"\mathbb{E}" in equation
    assert "p(x|z" in equation
