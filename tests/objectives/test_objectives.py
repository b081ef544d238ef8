"""What holds for every bound."""

import dataclasses
import itertools
import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from parts import OBJECTIVES, Schedule, assert_finite, discriminator, every, round_trip
from scipy import stats
from scipy.special import logsumexp
from tensorflow_probability import distributions as tfd

from keras_vae import VAE, likelihoods, networks, posteriors, priors
from keras_vae.objectives import (
    CIWAE,
    DIPVAE,
    ELBO,
    IWAE,
    MIWAE,
    PIWAE,
    BetaTCVAE,
    FactorVAE,
    InfoVAE,
    LinearWarmUp,
    Renyi,
    Terms,
)
from keras_vae.path import Path

B, D = 6, 3
STEP = 30
PRIOR_DRAWS = np.random.default_rng(5).normal(size=(1, B, D))
all_objectives = pytest.mark.parametrize("make", every(OBJECTIVES))


class FixedNormal(tfd.MultivariateNormalDiag):
    """A standard Normal whose draws are always the same, whatever the seed and the compiler."""

    def sample(self, sample_shape=(), seed=None, name="sample"):
        return tf.constant(PRIOR_DRAWS, self.dtype)[: sample_shape[0], : sample_shape[1]]


def random_draws(num_samples, scale=1.0, dtype="float32", batch=B):
    """The parameters of q(z|x), draws from it, and a log-likelihood, as arrays."""
    random = np.random.default_rng(0)
    loc, deviation = random.normal(size=(batch, D)), random.uniform(0.3, 1.5, size=(batch, D))
    z = loc + deviation * random.normal(size=(num_samples, batch, D))
    log_likelihood = scale * random.normal(size=(num_samples, batch)) - 5
    arrays = {"loc": loc, "scale": deviation, "z": z, "log_likelihood": log_likelihood}
    return {name: value.astype(dtype) for name, value in arrays.items()}


def terms_of(loc, scale, z, log_likelihood):
    """The terms of a bound whose posterior has independent dimensions."""
    q = tfd.MultivariateNormalDiag(loc, scale)
    p = FixedNormal(tf.zeros(D, q.dtype), tf.ones(D, q.dtype))
    z = tf.convert_to_tensor(z)
    return Terms(
        log_likelihood=tf.convert_to_tensor(log_likelihood),
        log_prior=p.log_prob(z),
        log_posterior=q.log_prob(z),
        kl=q.kl_divergence(p),
        z=z,
        q=q,
        p=p,
        seed=tf.constant([1, 2]),
    )


def random_terms(num_samples, scale=1.0, **options):
    return terms_of(**random_draws(num_samples, scale, **options))


def bound(objective, terms, step=STEP):
    return objective.bound(terms, step).numpy()


# What each is, by NumPy and SciPy, from its draws


def known(loc, scale, z, log_likelihood, objective):
    """The terms in double precision, without TensorFlow."""
    loc, scale, z = (a.astype("float64") for a in (loc, scale, z))
    by_q, by_p = stats.norm.logpdf(z, loc, scale), stats.norm.logpdf(z)
    log_weights = log_likelihood + by_p.sum(-1) - by_q.sum(-1)
    return SimpleNamespace(
        objective=objective,
        loc=loc,
        scale=scale,
        z=z,
        likelihood=log_likelihood.astype("float64").mean(0),
        kls=0.5 * (scale**2 + loc**2 - 1) - np.log(scale),
        kl=(0.5 * (scale**2 + loc**2 - 1) - np.log(scale)).sum(-1),
        sampled_kl=(by_q - by_p).sum(-1).mean(0),
        by_q=by_q,
        by_p=by_p,
        log_weights=log_weights,
        powered=log_likelihood + 0.5 * (by_p - by_q).sum(-1),
    )


def log_mean(values, axis=0):
    return logsumexp(values, axis=axis) - np.log(values.shape[axis])


def beta_tc(t):
    """Chen et al. (2018) with beta = 4, N = 100, every pair of the batch by itself."""
    joint, marginals = np.zeros(B), np.zeros((B, D))
    for i in range(B):
        pairs = stats.norm.logpdf(t.z[0, i], t.loc, t.scale)  # q(z_i|x_j): [B, D]
        weights = np.log([1 / 100 if j == i else 99 / 100 / (B - 1) for j in range(B)])
        joint[i] = logsumexp(pairs.sum(-1) + weights)
        marginals[i] = logsumexp(pairs + weights[:, None], axis=0)
    product = marginals.sum(-1)
    information = t.by_q[0].sum(-1) - joint
    return t.likelihood - information - 4 * (joint - product) - (product - t.by_p[0].sum(-1))


def logits_of(t):
    first, bias, last, offset = t.objective.discriminator.get_weights()
    return (np.tanh(t.z[0] @ first + bias) @ last + offset)[:, 0]


def dip(t, within):
    c = np.cov(t.loc, rowvar=False, bias=True) + within * np.diag((t.scale**2).mean(0))
    variances = np.diagonal(c)
    outside = (c**2).sum() - (variances**2).sum()
    return t.likelihood - t.kl - 2 * outside - 3 * ((variances - 1) ** 2).sum()


def mmd(t, kernel):
    """The unbiased estimate, every pair by itself."""
    z, y, total = t.z[0], PRIOR_DRAWS[0], 0.0
    for i, j in itertools.permutations(range(B), 2):
        total += kernel(z[i] - z[j]) + kernel(y[i] - y[j])
        total -= kernel(z[i] - y[j]) + kernel(y[i] - z[j])
    return total / (B * (B - 1))


EXPECTED = {
    "ELBO": lambda t: t.likelihood - t.kl,
    "ELBO-beta": lambda t: t.likelihood - 4 * t.kl,
    "ELBO-samples": lambda t: t.likelihood - t.kl,
    "ELBO-free_bits": lambda t: t.likelihood - np.maximum(t.kl, 2.0),
    "ELBO-free_bits_per_dimension": lambda t: t.likelihood - np.maximum(t.kls, 1.0).sum(-1),
    "ELBO-capacity": lambda t: t.likelihood - 4 * np.abs(t.kl - 2.0),
    # From 0.25 to 1 in 100 steps, read at step 30.
    "ELBO-schedule": lambda t: t.likelihood - (0.25 + 0.75 * 0.3) * t.kl,
    "ELBO-sampled": lambda t: t.likelihood - t.sampled_kl,
    "ELBO-stl": lambda t: t.likelihood - t.sampled_kl,
    "ELBO-score": lambda t: t.likelihood - t.kl,
    "IWAE": lambda t: log_mean(t.log_weights),
    "IWAE-beta": lambda t: log_mean(t.powered),
    "IWAE-stl": lambda t: log_mean(t.log_weights),
    "IWAE-dreg": lambda t: log_mean(t.log_weights),
    "CIWAE": lambda t: 0.3 * t.log_weights.mean(0) + 0.7 * log_mean(t.log_weights),
    "MIWAE": lambda t: log_mean(t.log_weights.reshape(3, 2, B), axis=1).mean(0),
    "PIWAE": lambda t: log_mean(t.log_weights),
    "Renyi": lambda t: 2 * np.log(np.exp(0.5 * t.log_weights).mean(0)),
    "BetaTCVAE": beta_tc,
    "FactorVAE": lambda t: t.likelihood - t.kl - 4 * logits_of(t),
    "DIPVAE": lambda t: dip(t, within=0),
    "DIPVAE-ii": lambda t: dip(t, within=1),
    "InfoVAE": lambda t: (
        t.likelihood - 0.5 * t.kl - 9.5 * mmd(t, lambda d: 1 / (1 + d @ d / (2 * D)))
    ),
    "InfoVAE-rbf": lambda t: t.likelihood - 10 * mmd(t, lambda d: np.exp(-(d @ d) / 8)),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_bound_is_its_equation(name):
    objective = OBJECTIVES[name]()
    draws = random_draws(objective.num_samples)
    value = bound(objective, terms_of(**draws))
    assert value.shape == (B,)
    assert value.dtype == np.float32
    np.testing.assert_allclose(
        value, EXPECTED[name](known(**draws, objective=objective)), rtol=1e-4
    )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_double_precision_is_kept(name):
    objective = OBJECTIVES[name]()
    draws = random_draws(objective.num_samples, dtype="float64")
    terms = terms_of(**draws)
    value = bound(objective, terms)
    expected = EXPECTED[name](known(**draws, objective=objective))
    single = {"FactorVAE", "ELBO-schedule"}  # a network and a schedule of Keras are not double
    np.testing.assert_allclose(value, expected, rtol=1e-6 if name in single else 1e-12)
    assert objective.surrogate(terms, STEP).dtype == tf.float64


@all_objectives
def test_objectives_are_frozen(make):
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().num_samples = 2


# Schedules and networks are equal to themselves alone.
@pytest.mark.parametrize("name", [n for n in OBJECTIVES if n not in ("ELBO-schedule", "FactorVAE")])
def test_objectives_of_equal_arguments_are_equal(name):
    make = OBJECTIVES[name]
    assert make() == make()
    assert hash(make()) == hash(make())
    assert all(make() != other() for key, other in OBJECTIVES.items() if key != name)


@all_objectives
def test_a_loaded_objective_is_the_saved_one(make):
    objective = make()
    terms = random_terms(objective.num_samples)
    value = bound(objective, terms)
    loaded = round_trip(objective)
    assert type(loaded) is type(objective)
    assert json.dumps(loaded.get_config()) == json.dumps(objective.get_config())
    bound(loaded, terms)  # makes the weights of its networks
    for network, saved in zip(loaded.networks(), objective.networks(), strict=True):
        network.set_weights(saved.get_weights())
    np.testing.assert_array_equal(bound(loaded, terms), value)


@all_objectives
def test_objectives_are_registered_under_the_packages_name(make):
    kind = type(make())
    assert keras.saving.get_registered_name(kind) == f"keras_vae>{kind.__name__}"


def value_and_gradients(objective, draws):
    """The bound, and the gradient of what is differentiated by the parameters of q(z|x)."""
    loc, scale = draws["loc"], draws["scale"]
    with tf.GradientTape() as tape:
        tape.watch([loc, scale])
        path = Path()
        z = path(loc + scale * tf.stop_gradient((draws["z"] - loc) / scale))
        # Of a likelihood that depends on z, or there would be no path.
        terms = terms_of(loc, scale, z, draws["log_likelihood"] - tf.reduce_sum(z**2, -1) / 2)
        surrogate = tf.reduce_sum(objective.surrogate(terms, STEP))
        path.weight = objective.path_weight(terms, STEP)
    return objective.bound(terms, STEP), *tape.gradient(surrogate, [loc, scale])


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("compiled", [False, True])
def test_the_bound_and_its_gradient_are_the_same_in_a_graph(name, compiled):
    """The size of the batch is not known when a step of training is traced."""
    objective = OBJECTIVES[name]()
    draws = {k: tf.constant(v) for k, v in random_draws(objective.num_samples).items()}
    expected = value_and_gradients(objective, draws)
    shapes = {"loc": (None, D), "scale": (None, D)}
    shapes |= {k: (objective.num_samples, None, *draws[k].shape[2:]) for k in draws.keys() - shapes}
    signature = [{k: tf.TensorSpec(shape) for k, shape in shapes.items()}]
    graph = tf.function(
        lambda d: value_and_gradients(objective, d), signature, jit_compile=compiled
    )
    for found, value in zip(graph(draws), expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-5)


@all_objectives
@pytest.mark.parametrize(("loc", "scale"), [(0.0, 1e-6), (1e4, 1e-6), (-1e4, 1.0), (50.0, 1e4)])
def test_value_and_gradient_are_finite_at_extremes(make, loc, scale):
    objective = make()
    draws = random_draws(objective.num_samples, scale=1e4)
    draws["z"] = np.float32(loc) + np.float32(scale) * (draws["z"] - draws["loc"]) / draws["scale"]
    draws["loc"], draws["scale"] = draws["loc"] + np.float32(loc), 0 * draws["scale"] + scale
    draws = {name: tf.constant(value, tf.float32) for name, value in draws.items()}
    assert_finite(*value_and_gradients(objective, draws))


@all_objectives
def test_a_batch_of_one_example_has_a_value(make):
    objective = make()
    assert_finite(bound(objective, random_terms(objective.num_samples, batch=1)))


@all_objectives
def test_a_larger_likelihood_is_a_larger_bound(make):
    objective = make()
    terms = random_terms(objective.num_samples)
    better = terms._replace(log_likelihood=terms.log_likelihood + 1)
    difference = bound(objective, better) - bound(objective, terms)
    np.testing.assert_allclose(difference, np.ones(B), rtol=1e-4)


@all_objectives
@pytest.mark.parametrize("num_samples", [0, -1, 1.5, "2", True, None])
def test_the_number_of_samples_is_a_positive_integer(make, num_samples):
    objective = make()
    with pytest.raises(ValueError, match="`num_samples` of") as error:
        dataclasses.replace(objective, num_samples=num_samples)
    assert "the number of draws of z, a positive integer" in str(error.value)
    assert f"Received: num_samples={num_samples!r}." in str(error.value)


@all_objectives
def test_how_the_gradient_is_estimated_is_said_in_words(make):
    assert make().estimator()


class Discrete(posteriors.DiagonalNormal):
    reparameterised = False


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_draw_without_a_derivative_needs_the_score(name):
    objective, prior = OBJECTIVES[name](), priors.StandardNormal(D)
    objective.require(posteriors.DiagonalNormal(D), prior)
    if name == "ELBO-score":
        objective.require(Discrete(D), prior)
        return
    with pytest.raises(ValueError, match="differentiates through z") as error:
        objective.require(Discrete(D), prior)
    assert 'gradient="score", num_samples=2 or more' in str(error.value)


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
        bound(objective, terms, step), terms.log_likelihood[0] - beta * terms.kl, rtol=1e-5
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
    terms = random_terms(objective.num_samples, batch=len(kl))
    kl = tf.Variable(kl)
    with tf.GradientTape() as tape:
        terms = terms._replace(kl=tf.convert_to_tensor(kl))
        value = objective.bound(terms, STEP)
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
    above = terms.kl.numpy() > 2
    assert 0 < above.sum() < B
    np.testing.assert_array_equal(free[above], plain[above])
    np.testing.assert_allclose(free[~above], terms.log_likelihood[0][~above] - 2)


def chosen(terms, draws):
    """The terms of some of the draws, or of all in another order."""
    fields = ("log_likelihood", "log_prior", "log_posterior", "z")
    return terms._replace(**{field: getattr(terms, field)[draws] for field in fields})


def test_more_samples_average_the_likelihood_and_nothing_else():
    terms = random_terms(3)
    each = [bound(ELBO(), chosen(terms, slice(k, k + 1))) for k in range(3)]
    np.testing.assert_allclose(bound(ELBO(num_samples=3), terms), np.mean(each, 0), rtol=1e-5)


def test_free_bits_of_groups_are_those_of_their_sums():
    terms = random_terms(1)
    kls = known(**random_draws(1), objective=None).kls
    value = bound(ELBO(free_bits=1.0, free_bits_per=(1, 2)), terms)
    groups = np.maximum(kls[:, 0], 1.0) + np.maximum(kls[:, 1:].sum(-1), 1.0)
    np.testing.assert_allclose(value, terms.log_likelihood[0] - groups, rtol=1e-5)


def test_one_group_of_all_dimensions_is_the_latent_vector():
    terms = random_terms(1)
    one, latent = ELBO(free_bits=2.0, free_bits_per=(D,)), ELBO(free_bits=2.0)
    np.testing.assert_allclose(bound(one, terms), bound(latent, terms), rtol=1e-6)


def test_a_sampled_kl_has_free_bits_in_each_dimension():
    terms = random_terms(3)
    t = known(**random_draws(3), objective=None)
    value = bound(ELBO(num_samples=3, free_bits=1, free_bits_per="dimension", kl="sampled"), terms)
    expected = t.likelihood - np.maximum((t.by_q - t.by_p).mean(0), 1.0).sum(-1)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_the_kl_of_a_latent_condition_has_no_free_bits_of_its_own():
    terms = random_terms(1)
    share = tf.range(1.0, B + 1)
    with_it = terms._replace(kl=terms.kl + share, kl_of_condition=share)
    objective = ELBO(free_bits=1.0, free_bits_per="dimension")
    difference = bound(objective, terms) - bound(objective, with_it)
    np.testing.assert_allclose(difference, share, rtol=1e-5)


def test_free_bits_of_dimensions_need_independent_ones():
    q = tfd.MultivariateNormalTriL(tf.zeros((B, D)), tf.eye(D))
    terms = random_terms(1)._replace(q=q)
    with pytest.raises(NotImplementedError, match="independent dimensions") as error:
        ELBO(free_bits=1.0, free_bits_per="dimension").bound(terms, STEP)
    assert "Received: MultivariateNormalTriL" in str(error.value)


@pytest.mark.parametrize("groups", ["group", 3, (), (0, 3), (1.5, 1.5), (True, 2), None])
def test_groups_of_free_bits_are_named_or_sizes(groups):
    with pytest.raises(ValueError, match="`free_bits_per` of ELBO says") as error:
        ELBO(free_bits=1.0, free_bits_per=groups)
    assert f"Received: {groups!r}." in str(error.value)


def test_groups_of_free_bits_divide_the_latent_vector():
    prior = priors.StandardNormal(D)
    ELBO(free_bits_per=(1, 2)).require(posteriors.DiagonalNormal(D), prior)
    with pytest.raises(ValueError, match=r"add up to latent_size=3\. Received: \(1, 1\)"):
        ELBO(free_bits_per=(1, 1)).require(posteriors.DiagonalNormal(D), prior)


def test_a_list_of_groups_is_a_tuple():
    assert ELBO(free_bits_per=[np.int64(1), 2]) == ELBO(free_bits_per=(1, 2))
    assert round_trip(ELBO(free_bits_per=(1, 2))) == ELBO(free_bits_per=(1, 2))


def test_the_kl_is_drawn_to_the_capacity_from_both_sides():
    gradient = gradient_by_kl(ELBO(beta=4.0, capacity=2.0), [0.5, 1.9, 2.1, 9.0])
    np.testing.assert_array_equal(gradient, [4, 4, -4, -4])


def test_a_schedule_of_the_capacity_is_read_at_the_step():
    objective = ELBO(capacity=Schedule(0.0, 100, end_learning_rate=10.0))
    terms = random_terms(1)
    for step, capacity in ((0, 0.0), (50, 5.0), (100, 10.0)):
        expected = terms.log_likelihood[0] - np.abs(terms.kl - capacity)
        np.testing.assert_allclose(bound(objective, terms, step), expected, rtol=1e-5)
    assert "C_t" in objective.equation()


@pytest.mark.parametrize("capacity", [-1, float("nan"), "4", True])
def test_the_capacity_is_a_number_of_nats_or_a_schedule(capacity):
    with pytest.raises(ValueError, match="`capacity` of ELBO is the nats") as error:
        ELBO(capacity=capacity)
    assert f"Received: {capacity!r}." in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"capacity": 1.0, "free_bits": 1.0}, "not both"),
        ({"gradient": "stl", "kl": "exact"}, "no score to leave out"),
        ({"gradient": "stl", "free_bits": 1.0}, "linear in the KL"),
        ({"gradient": "stl", "capacity": 1.0}, "linear in the KL"),
        ({"gradient": "score"}, "num_samples of 2 or more"),
        (
            {"gradient": "score", "num_samples": 2, "kl": "sampled", "free_bits": 1.0},
            "no mean over draws",
        ),
        (
            {"gradient": "score", "num_samples": 2, "kl": "sampled", "capacity": 1.0},
            "no mean over draws",
        ),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(arguments, reason):
    with pytest.raises(ValueError, match="Arguments of ELBO contradict each other") as error:
        ELBO(**arguments)
    assert reason in str(error.value)
    assert "Received: ELBO(" in str(error.value)


@pytest.mark.parametrize("kind", [ELBO, IWAE])
def test_a_gradient_has_a_known_name(kind):
    with pytest.raises(ValueError, match=f"`gradient` of {kind.__name__} is unknown") as error:
        kind(gradient="plain")
    assert "'reparameterised', 'stl'" in str(error.value)
    assert "Received: 'plain'." in str(error.value)


@pytest.mark.parametrize("kl", ["closed", True, 0])
def test_a_kl_is_exact_or_sampled(kl):
    with pytest.raises(ValueError, match="`kl` of ELBO is unknown") as error:
        ELBO(kl=kl)
    assert f"Received: {kl!r}." in str(error.value)


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (ELBO(), True),
        (ELBO(beta=4.0), True),
        (ELBO(beta=0.5), False),
        (ELBO(free_bits=1.0), True),
        (ELBO(capacity=1.0), False),
        (ELBO(beta=LinearWarmUp(STEP + 1)), False),
        (ELBO(beta=LinearWarmUp(STEP)), True),
        (IWAE(5), True),
        (IWAE(5, beta=2.0), False),
        (IWAE(1, beta=2.0), True),
        (IWAE(1, beta=0.5), False),
        (CIWAE(5), True),
        (MIWAE(6, groups=3), True),
        (PIWAE(6, groups=3), True),
        (Renyi(2.0, 5), True),
        (Renyi(-1.0, 5), False),
        (Renyi(-1.0, 1), True),
        (DIPVAE(1.0, 1.0), True),
        (InfoVAE(-0.5, 5.0), True),
        (InfoVAE(0.5, 5.0), False),
        (BetaTCVAE(1.0, 100), True),
        (BetaTCVAE(4.0, 100), False),
        (BetaTCVAE(1.0, 100, alpha=2.0), True),
        (BetaTCVAE(0.5, 100), False),
        (FactorVAE(0.0, discriminator()), True),
        (FactorVAE(4.0, discriminator()), False),
    ],
)
def test_a_bound_says_whether_it_is_one(objective, expected):
    assert objective.is_lower_bound(STEP) is expected


# The importance-weighted bound


def test_with_one_sample_it_is_the_elbo_with_the_sampled_kl():
    terms = random_terms(1)
    sampled = terms._replace(kl=(terms.log_posterior - terms.log_prior)[0])
    np.testing.assert_allclose(bound(IWAE(1), terms), bound(ELBO(), sampled), rtol=1e-5)


@pytest.mark.parametrize(
    "objective", [IWAE(1), MIWAE(1, groups=1), PIWAE(1, groups=1), CIWAE(1)], ids=repr
)
def test_one_sample_is_evaluated_in_batches_of_any_size(objective):
    """In a graph TFP loses how many draws there are if it is one; step by step it does not."""
    x = np.random.default_rng(0).integers(0, 2, (7, 6)).astype("float32")
    found = []
    for run_eagerly in (False, True):
        keras.utils.set_random_seed(0)
        vae = VAE(
            networks.mlp([4]),
            networks.mlp([4]),
            posteriors.DiagonalNormal(2),
            priors.StandardNormal(2),
            likelihoods.Bernoulli((6,)),
            objective=objective,
            seed=0,
        )
        vae.compile(run_eagerly=run_eagerly)
        found.append(vae.evaluate(x, batch_size=3, verbose=0))
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_it_lies_between_the_mean_and_the_largest_log_weight():
    terms = random_terms(50, scale=10)
    log_weights = terms.log_weights.numpy()
    value = bound(IWAE(50), terms)
    assert (value >= log_weights.mean(0)).all()
    assert (value <= log_weights.max(0)).all()


def test_the_value_is_not_that_of_the_surrogate_with_the_same_gradient():
    """`sum w log w` of normalised weights exceeds the bound by KL(w || uniform), <= log K."""
    terms = random_terms(50, scale=3)
    log_weights = terms.log_weights.numpy().astype("float64")
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
    log_weights = terms.log_weights.numpy()
    expected = np.exp(log_weights - logsumexp(log_weights, axis=0))
    np.testing.assert_allclose(tape.gradient(value, log_likelihood), expected, rtol=1e-4)


@pytest.mark.parametrize("offset", [-1e4, 1e4])
def test_weights_that_overflow_give_the_value_still(offset):
    terms = random_terms(5)
    moved = terms._replace(log_likelihood=terms.log_likelihood + np.float32(offset))
    np.testing.assert_allclose(bound(IWAE(5), moved), bound(IWAE(5), terms) + offset, rtol=1e-6)


def test_it_is_the_same_whatever_the_order_of_the_samples():
    terms = random_terms(5)
    turned = chosen(terms, slice(None, None, -1))
    np.testing.assert_allclose(bound(IWAE(5), turned), bound(IWAE(5), terms), rtol=1e-6)


def test_its_kl_has_the_weight_one():
    assert IWAE(5).beta_at(0) == 1.0
    assert IWAE(5).beta_at(1_000) == 1.0
    assert IWAE(5, beta=0.5).beta_at(0) == 0.5


def test_a_power_of_one_is_the_bound_itself_and_of_zero_the_likelihood_alone():
    terms = random_terms(5)
    schedule = OBJECTIVES["ELBO-schedule"]().beta
    powered = IWAE(5, beta=schedule)
    np.testing.assert_allclose(bound(powered, terms, 100), bound(IWAE(5), terms), rtol=1e-6)
    assert float(powered.beta_at(0)) == 0.25
    np.testing.assert_allclose(
        bound(IWAE(5, beta=0), terms), log_mean(terms.log_likelihood.numpy()), rtol=1e-6
    )


def test_with_one_sample_a_power_is_the_weight_of_the_sampled_kl():
    terms = random_terms(1)
    np.testing.assert_allclose(
        bound(IWAE(1, beta=4), terms), bound(ELBO(beta=4, kl="sampled"), terms), rtol=1e-5
    )


# Bounds between the two


def test_the_bounds_of_the_same_draws_have_an_order():
    terms = random_terms(12, scale=3)
    bounds = [
        ELBO(num_samples=12, kl="sampled"),
        MIWAE(num_samples=12, groups=4),
        MIWAE(num_samples=12, groups=2),
        IWAE(num_samples=12),
    ]
    values = np.stack([bound(objective, terms) for objective in bounds])
    assert (np.diff(values, axis=0) > 0).all()
    between = bound(CIWAE(num_samples=12, beta=0.3), terms)
    np.testing.assert_allclose(between, 0.3 * values[0] + 0.7 * values[-1], rtol=1e-5)


@pytest.mark.parametrize("beta", [0, 1])
def test_the_ends_of_the_mean_are_the_two_bounds(beta):
    terms = random_terms(5, scale=3)
    end = ELBO(num_samples=5, kl="sampled") if beta else IWAE(5)
    np.testing.assert_allclose(bound(CIWAE(5, beta=beta), terms), bound(end, terms), rtol=1e-6)


@pytest.mark.parametrize("kind", [MIWAE, PIWAE])
def test_one_group_is_the_importance_weighted_bound(kind):
    terms = random_terms(6, scale=3)
    np.testing.assert_allclose(bound(kind(6, groups=1), terms), bound(IWAE(6), terms), rtol=1e-6)


def test_groups_of_one_draw_are_the_elbo():
    terms = random_terms(6, scale=3)
    elbo = bound(ELBO(num_samples=6, kl="sampled"), terms)
    np.testing.assert_allclose(bound(MIWAE(6, groups=6), terms), elbo, rtol=1e-6)


@pytest.mark.parametrize("kind", [MIWAE, PIWAE])
@pytest.mark.parametrize(
    ("groups", "message"), [(4, "Expected: a divisor"), (0, "positive integer")]
)
def test_groups_are_of_equal_size(kind, groups, message):
    with pytest.raises(
        ValueError, match=rf"`groups` of {kind.__name__}.*{message}.*groups={groups}"
    ):
        kind(num_samples=6, groups=groups)


@pytest.mark.parametrize("beta", [-0.1, 1.1, "1", None])
def test_the_share_of_the_elbo_is_at_most_one(beta):
    with pytest.raises(ValueError, match="`beta` of CIWAE is the share of the ELBO") as error:
        CIWAE(beta=beta)
    assert f"Received: {beta!r}." in str(error.value)


# The Renyi bound


def test_the_renyi_bound_of_order_one_is_the_elbo_and_of_order_zero_iwae():
    terms = random_terms(7, scale=3)
    elbo = bound(ELBO(num_samples=7, kl="sampled"), terms)
    np.testing.assert_allclose(bound(Renyi(1, 7), terms), elbo, rtol=1e-6)
    np.testing.assert_allclose(bound(Renyi(0, 7), terms), bound(IWAE(7), terms), rtol=1e-6)


@pytest.mark.parametrize("order", [1 - 1e-3, 1 - 1e-6, 1 + 1e-6])
def test_the_renyi_bound_keeps_its_digits_near_order_one(order):
    """To the second order: the mean plus `(1 - alpha) / 2` times the variance of log w."""
    terms = random_terms(7, scale=3)
    log_weights = terms.log_weights.numpy().astype("float64")
    expected = log_weights.mean(0) + (1 - order) / 2 * log_weights.var(0)
    np.testing.assert_allclose(bound(Renyi(order, 7), terms), expected, rtol=1e-5)


def test_the_renyi_bound_falls_with_its_order_from_the_largest_weight_to_the_smallest():
    terms = random_terms(7, scale=3)
    orders = (-1e4, -2, -0.5, 0, 0.5, 1, 2, 1e4)
    values = np.stack([bound(Renyi(order, 7), terms) for order in orders])
    assert (np.diff(values, axis=0) < 0).all()
    log_weights = terms.log_weights.numpy()
    np.testing.assert_allclose(values[0], log_weights.max(0), atol=1e-3)
    np.testing.assert_allclose(values[-1], log_weights.min(0), atol=1e-3)


def test_the_renyi_bound_of_one_draw_is_the_log_weight_whatever_its_order():
    terms = random_terms(1)
    for order in (-3, 0, 0.5, 2):
        np.testing.assert_allclose(bound(Renyi(order, 1), terms), terms.log_weights[0], rtol=1e-6)


def test_the_gradient_of_the_renyi_bound_is_that_of_the_powers():
    terms = random_terms(5)
    log_likelihood = tf.Variable(terms.log_likelihood)
    with tf.GradientTape() as tape:
        value = Renyi(-0.5, 5).bound(terms._replace(log_likelihood=log_likelihood), STEP)
    powers = 1.5 * terms.log_weights.numpy()
    expected = np.exp(powers - logsumexp(powers, axis=0))
    np.testing.assert_allclose(tape.gradient(value, log_likelihood), expected, rtol=1e-4)


@pytest.mark.parametrize("alpha", [float("nan"), float("inf"), "1", None, True])
def test_the_order_is_a_number(alpha):
    with pytest.raises(ValueError, match="`alpha` of Renyi is the order") as error:
        Renyi(alpha=alpha)
    assert f"Received: {alpha!r}." in str(error.value)


@all_objectives
def test_the_equation_says_what_is_maximised(make):
    equation = make().equation()
    assert r"\mathbb{E}" in equation
    assert "p(x|z" in equation
