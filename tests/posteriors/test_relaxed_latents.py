"""Relaxed choices and bits: posteriors and their priors."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from integration import (
    NEAREST_END,
    SMALLEST_PART,
    assert_draws_are_of_the_density,
    expectations,
)
from parts import assert_close_to_mean, assert_finite, built, every, features, round_trip
from scipy import special
from tensorflow_probability import distributions as tfd

from keras_vae import posteriors, priors
from keras_vae.distributions.concrete import BinaryConcrete, Concrete
from keras_vae.divergences import is_exact, kl_divergence
from keras_vae.latents import CUBE, simplices

Decay = keras.optimizers.schedules.ExponentialDecay

TEMPERATURES = (0.1, 0.7, 5.0)
MAKERS = {
    "RelaxedOneHot": lambda **k: posteriors.RelaxedOneHot(6, 3, **k),
    "RelaxedBernoulli": lambda **k: posteriors.RelaxedBernoulli(6, **k),
}
PRIORS = {
    "RelaxedOneHot": lambda t: priors.UniformCategorical(6, 3, t),
    "RelaxedBernoulli": lambda t: priors.UniformBernoulli(6, t),
}

heads = pytest.mark.parametrize("make", every(MAKERS))
temperatures = pytest.mark.parametrize("temperature", TEMPERATURES)


def pair(logits, temperature):
    """The relaxed bits of these logits, in two dimensions."""
    return tfd.Independent(BinaryConcrete(logits, temperature), 1)


@temperatures
@pytest.mark.parametrize("count", [2, 3, 10])
def test_the_density_of_relaxed_choices_is_tfps(count, temperature):
    logits = tf.constant(np.random.default_rng(0).normal(size=(4, count)))
    expected = tfd.RelaxedOneHotCategorical(tf.constant(temperature, "float64"), logits=logits)
    z = np.random.default_rng(1).dirichlet(np.ones(count), size=(7, 4))
    np.testing.assert_allclose(
        Concrete(logits, temperature).log_prob(z), expected.log_prob(z), rtol=1e-9
    )


@temperatures
def test_the_density_of_relaxed_bits_is_tfps(temperature):
    logits = tf.constant(np.random.default_rng(0).normal(size=(4, 5)))
    expected = tfd.RelaxedBernoulli(tf.constant(temperature, "float64"), logits=logits)
    z = np.random.default_rng(1).uniform(0.001, 0.999, size=(7, 4, 5))
    np.testing.assert_allclose(
        BinaryConcrete(logits, temperature).log_prob(z), expected.log_prob(z), rtol=1e-9
    )


def test_two_classes_are_one_bit():
    logits = tf.constant([[1.5, -0.5]])
    z = tf.constant([0.1, 0.6, 0.9])
    both = tf.stack([z, 1 - z], -1)
    expected = BinaryConcrete(tf.constant(2.0), 0.4).log_prob(z)
    np.testing.assert_allclose(Concrete(logits, 0.4).log_prob(both), expected, rtol=1e-5)


# The sums cover the ends, whose density is a probability: at the low temperature and the large
# logits nearly all of it.
@temperatures
@pytest.mark.parametrize("difference", [0.0, 3.0, 12.0, 50.0])
def test_the_density_of_relaxed_choices_integrates_to_one(temperature, difference):
    p = Concrete(tf.constant([difference, 0.0]), temperature)
    total, _ = expectations(p, simplices(2))
    assert total == pytest.approx(1, abs=1e-3)
    assert_draws_are_of_the_density(p, simplices(2))


@temperatures
@pytest.mark.parametrize("logits", [(0.0, 0.0), (1.0, -4.0), (20.0, -50.0)])
def test_the_density_of_relaxed_bits_integrates_to_one(temperature, logits):
    p = pair(tf.constant(logits), temperature)
    total, _ = expectations(p, CUBE)
    assert total == pytest.approx(1, abs=2e-3)  # 1 - z has few digits near the end
    assert_draws_are_of_the_density(p, CUBE)


def test_the_density_at_the_limit_is_the_probability_of_being_there():
    logits = tf.constant([3.0, 0.0, -4.0, -9.0])
    p = Concrete(logits, 0.05)
    z = p.sample(50_000, seed=0)
    below = z.numpy() <= np.float32(SMALLEST_PART)
    alone = below.sum(-1) == 3
    for winner in range(3):
        z_winner = tf.maximum(tf.one_hot(winner, 4), SMALLEST_PART)
        expected = np.exp(p.log_prob(z_winner))
        assert_close_to_mean((alone & ~below[:, winner]).astype(float), expected)


def test_relaxed_bits_at_the_ends_have_the_probability_of_being_there():
    logits = tf.constant([2.0, -1.0, 0.0])
    p = BinaryConcrete(logits, 0.1)
    z = p.sample(50_000, seed=0).numpy()
    for end in (np.float32(NEAREST_END), 1 - np.float32(NEAREST_END)):
        expected = np.exp(p.log_prob(tf.fill((3,), end)))
        assert_close_to_mean((z == end).astype(float), expected)


# At 0.1 and larger logits some draws are at the limit, and the KL is smaller.
@pytest.mark.parametrize(
    ("temperature", "logit"), [(0.1, 0.5), (0.1, 2.0), (0.7, 0.5), (0.7, 4.0), (5.0, 4.0)]
)
def test_the_kl_between_equal_temperatures_is_that_of_two_logistics(logit, temperature):
    """`l coth(l / 2) - 2`, whatever the temperature; for bits and for two classes."""
    expected = logit / np.tanh(logit / 2) - 2
    choice = Concrete(tf.constant([logit, 0.0]), temperature)
    equal = Concrete(tf.zeros(2), temperature)
    z = choice.sample(40_000, seed=0)
    assert_close_to_mean(choice.log_prob(z) - equal.log_prob(z), expected)
    if temperature > 0.1:
        bit, fair = BinaryConcrete(logit, temperature), BinaryConcrete(0.0, temperature)
        z = bit.sample(40_000, seed=0)
        assert_close_to_mean(bit.log_prob(z) - fair.log_prob(z), expected)


@heads
@temperatures
@pytest.mark.parametrize("size", [1.0, 10.0, 50.0])
def test_the_kl_is_not_negative_whatever_the_logits(make, temperature, size):
    """Where a draw is rounded to an end, its density there would make it so."""
    name = type(make()).__name__
    head, p = built(make(temperature=temperature)), PRIORS[name](0.5).distribution()
    logits = size * np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
    q = head.distribution(head.link({"logits": tf.constant(logits)}))
    z = q.sample(2000, seed=0)
    ratio = (q.log_prob(z) - p.log_prob(z)).numpy()
    error = ratio.std(0) / np.sqrt(2000)
    assert np.all(ratio.mean(0) > -4 * error)
    if name == "RelaxedBernoulli":
        limit = 6 * (0.5 * special.logit(1 - NEAREST_END) + np.log(2))
        assert np.all(ratio.mean(0) < limit + 4 * error + 1e-3)


@heads
@temperatures
@pytest.mark.parametrize("other", TEMPERATURES)
@pytest.mark.parametrize("logit", [-50.0, 0.0, 50.0])
def test_values_and_gradients_are_finite_at_extreme_logits(make, temperature, other, logit):
    name = type(make()).__name__
    head, p = built(make(temperature=temperature)), PRIORS[name](other).distribution()
    logits = tf.constant([[logit, -logit, 0.0, logit, logit, 1.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        q = head.distribution(head.link({"logits": logits}))
        z = q.sample(500, seed=0)
        kl = kl_divergence(q, p, z)
        total = tf.reduce_sum(kl) + tf.reduce_sum(z**2)
    assert_finite(z, q.log_prob(z), p.log_prob(z), kl, tape.gradient(total, logits))
    assert z.numpy().min() > 0
    given = tf.constant(z)
    with tf.GradientTape() as tape:
        tape.watch((given, logits))
        densities = head.distribution(head.link({"logits": logits})).log_prob(given)
        densities += p.log_prob(given)
    assert_finite(*tape.gradient(densities, (given, logits)))


@heads
def test_the_gradient_of_the_kl_is_that_of_its_value(make):
    """Against a difference of the KL with equal noise; no draw is near the limit here."""
    name = type(make()).__name__
    head, p = built(make(temperature=0.8), (6,)), PRIORS[name](0.6).distribution()
    logits = tf.constant(np.random.default_rng(0).normal(size=(1, 6)), "float32")
    seed = tf.constant([0, 1])

    def kl(shift):
        q = head.distribution(head.link({"logits": logits + shift}))
        z = q.sample(20_000, seed=seed)
        return q.log_prob(z) - p.log_prob(z)

    shift = tf.Variable(tf.zeros((1, 6)))
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(kl(shift))
    gradient = tape.gradient(value, shift).numpy()[0]
    for index in range(6):
        step = np.zeros((1, 6), "float32")
        step[0, index] = 0.05
        difference = tf.reduce_mean(kl(step) - kl(-step)) / 0.1
        assert gradient[index] == pytest.approx(difference.numpy(), abs=5e-3)


@heads
def test_the_kl_is_sampled(make):
    head = built(make())
    p = PRIORS[type(head).__name__](0.5).distribution()
    assert not is_exact(head.distribution(head(features())), p)


@heads
def test_a_low_temperature_gives_the_draws_of_the_choice_itself(make):
    head = built(make(temperature=0.02))
    parameters = head(features(2))
    z = head.distribution(parameters).sample(20_000, seed=0).numpy()
    assert np.mean((z > 0.01) & (z < 0.99)) < 0.1
    logits = parameters["logits"].numpy()
    if logits.ndim == 3:
        probabilities = special.softmax(logits, -1).reshape(2, 6)
    else:
        probabilities = special.expit(logits)
    # A softmax of noise is largest, and a sigmoid beyond 1/2, with exactly this probability.
    chosen = z > 0.5 if logits.ndim == 2 else _largest(z)
    assert_close_to_mean(chosen.astype(float), probabilities)
    np.testing.assert_allclose(head.centre(head.distribution(parameters)), probabilities, rtol=1e-5)


def _largest(z):
    groups = z.reshape(*z.shape[:-1], 2, 3)
    return (groups == groups.max(-1, keepdims=True)).reshape(z.shape)


@heads
def test_groups_lie_side_by_side(make):
    head = built(make())
    z = head.distribution(head(features())).sample(5, seed=0).numpy()
    assert z.shape == (5, 3, 6)
    if type(head) is posteriors.RelaxedOneHot:
        np.testing.assert_allclose(z.reshape(5, 3, 2, 3).sum(-1), 1, rtol=1e-5)


# The temperature


@heads
def test_a_schedule_starts_at_its_first_value_and_follows_the_steps(make):
    head = built(make(temperature=Decay(1.0, 10, 0.5)))
    assert head(features())["temperature"].numpy() == pytest.approx(1.0)
    for step, expected in [(10, 0.5), (tf.constant(20), 0.25), (tf.Variable(30), 0.125)]:
        head.anneal(step)
        np.testing.assert_allclose(head(features())["temperature"], [expected] * 3, rtol=1e-6)


@heads
def test_a_schedule_is_followed_in_a_graph(make):
    head = built(make(temperature=Decay(1.0, 10, 0.5)))
    step = tf.Variable(0, dtype=tf.int64)

    @tf.function
    def train():
        head.anneal(step)
        step.assign_add(10)
        return head(features())["temperature"][0]

    assert [train().numpy() for _ in range(3)] == pytest.approx([1.0, 0.5, 0.25])


@heads
def test_a_number_stays_as_it_is(make):
    head = built(make(temperature=0.3))
    head.anneal(1000)
    np.testing.assert_allclose(head(features())["temperature"], 0.3)


@heads
def test_a_schedule_that_ends_at_zero_stops_short_of_it(make):
    head = built(make(temperature=keras.optimizers.schedules.PolynomialDecay(1.0, 5, 0.0)))
    head.anneal(5)
    np.testing.assert_allclose(head(features())["temperature"], 0.01)


@heads
def test_the_temperature_is_saved_with_the_weights_and_never_trained(make):
    head = built(make(temperature=Decay(1.0, 10, 0.5)))
    head.anneal(20)
    names = [weight.name for weight in head.non_trainable_weights]
    assert names == ["temperature"]
    again = built(round_trip(head))
    assert isinstance(again.temperature, Decay)
    again.set_weights(head.get_weights())
    assert again(features())["temperature"].numpy() == pytest.approx(0.25)
    assert json.dumps(again.get_config()) == json.dumps(head.get_config())


@heads
def test_half_precision_networks_have_the_temperature_in_single_precision(make):
    head = built(make(temperature=0.3, dtype="mixed_float16"))
    temperature = head(features())["temperature"]
    assert temperature.dtype == tf.float32
    np.testing.assert_array_equal(temperature, np.float32([0.3] * 3))


# Arguments


@pytest.mark.parametrize(
    "make",
    [
        lambda t: posteriors.RelaxedOneHot(4, 2, t),
        lambda t: posteriors.RelaxedBernoulli(4, t),
        lambda t: priors.UniformCategorical(4, 2, t),
        lambda t: priors.UniformBernoulli(4, t),
    ],
)
@pytest.mark.parametrize("temperature", [0, -0.5, "low", float("nan"), float("inf"), True])
def test_the_temperature_is_positive(make, temperature):
    with pytest.raises(ValueError, match=r"`temperature` of \w+ .* Expected: a positive number"):
        make(temperature)


@pytest.mark.parametrize(
    "make", [posteriors.RelaxedOneHot, posteriors.OneHot, priors.UniformCategorical]
)
@pytest.mark.parametrize("classes", [0, 1, 4, 12, 2.0, "2", None])
def test_the_classes_divide_the_latent_size(make, classes):
    with pytest.raises(ValueError, match=r"`classes` of \w+ is the number of values in a group"):
        make(6, classes)


def test_a_prior_is_relaxed_if_it_has_a_temperature():
    assert priors.UniformCategorical(4, 2).support == posteriors.OneHot(4, 2).support
    assert priors.UniformCategorical(4, 2, 0.5).support == posteriors.RelaxedOneHot(4, 2).support
    assert priors.UniformBernoulli(4).support == posteriors.Bernoulli(4).support
    assert priors.UniformBernoulli(4, 0.5).support == posteriors.RelaxedBernoulli(4).support
    supports = {make(4, 2).support for make in (posteriors.OneHot, posteriors.RelaxedOneHot)}
    assert len(supports | {posteriors.RelaxedOneHot(4, 4).support}) == 3
