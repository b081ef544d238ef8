"""Laws that hold for every combination of parts.

`combinations.covering()` picks few combinations in which every legal pair of parts occurs;
with `KERAS_VAE_ALL_COMBINATIONS=1` in the environment all legal ones are run, for hours.
"""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from combinations import SLOTS as PARTS
from combinations import covering, refusal
from parts import (
    DECODERS,
    ENCODERS,
    EVENT_SHAPE,
    LIKELIHOODS,
    OBJECTIVES,
    POSTERIORS,
    PRIORS,
    assert_finite,
    beside_for,
    data_for,
    make_vae,
)

from keras_vae import VAE, likelihoods, networks, objectives, posteriors, priors
from keras_vae.conditions import Given
from keras_vae.divergences import is_exact, kl_divergence
from keras_vae.legality import require_legal

SLOTS = {
    "posterior": (posteriors, posteriors.Posterior, POSTERIORS),
    "prior": (priors, priors.Prior, PRIORS),
    "likelihood": (likelihoods, likelihoods.Likelihood, LIKELIHOODS),
    "objective": (objectives, objectives.Objective, OBJECTIVES),
}
COMBINATIONS = covering()
PLAIN = ("DiagonalNormal", "StandardNormal", "Bernoulli", "ELBO")

combinations = pytest.mark.parametrize(
    "names", [pytest.param(names, id="-".join(names)) for names in COMBINATIONS]
)


def partner(posterior=None, prior=None):
    """A legal pair with this part in it."""
    pairs = {(names[0], names[1]) for names in COMBINATIONS}
    wanted = [pair for pair in sorted(pairs) if posterior in (None, pair[0])]
    return next(pair for pair in wanted if prior in (None, pair[1]))


# Every family of a slot once, the others plain where that is legal.
EACH = [
    *((*partner(posterior=name), "Bernoulli") for name in PARTS[0]),
    *((*partner(prior=name), "Bernoulli") for name in PARTS[1]),
    *((*PLAIN[:2], name) for name in LIKELIHOODS),
]
distributions = pytest.mark.parametrize(
    "names", [pytest.param(names, id="-".join(names)) for names in dict.fromkeys(EACH)]
)


def model_of(names):
    if len(names) == 3:
        smooth = POSTERIORS[names[0]]().reparameterised
        names = (*names, "ELBO" if smooth else "ELBO-score")
    makers = zip((POSTERIORS, PRIORS, LIKELIHOODS, OBJECTIVES), names, strict=False)
    vae = make_vae(*(parts[name] for parts, name in makers))
    vae.compile(optimizer="sgd", run_eagerly=True)
    return vae


def shaken(vae):
    """The model with every weight off the value it was made with, which may be a special one."""
    random = np.random.default_rng(0)
    for weight in vae.trainable_weights:
        weight.assign_add(0.1 * random.normal(size=weight.shape))
    return vae


def driven_to_extremes(vae):
    """The model with raw parameters of +-50: logits of that size, scales of 1e-6 and of 50."""
    random = np.random.default_rng(0)
    for weight in (*vae.posterior.weights, *vae.likelihood.weights):
        if weight.path.endswith("bias"):
            weight.assign(random.choice([-50.0, 50.0], size=weight.shape))
    return vae


def loss_and_gradients(vae, x, given):
    with tf.GradientTape() as tape:
        loss = vae.compute_loss(tf.constant(x), given)
    return loss, tape.gradient(loss, [weight.value for weight in vae.trainable_weights])


def example(vae, rows):
    """x, what goes with it as the equation takes it, and as the user gives it."""
    x, beside = data_for(vae.likelihood, rows), beside_for(vae, rows)
    given = vae._known(tf.constant(x), vae._as_given(beside))
    return x, given, beside


@pytest.mark.parametrize("slot", SLOTS)
def test_every_family_that_is_exported_has_an_example(slot):
    module, base, examples = SLOTS[slot]
    exported = {
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, base) and not inspect.isabstract(kind)
    }
    assert exported
    assert {type(make()) for make in examples.values()} == exported


# Combinations


@combinations
def test_a_legal_combination_trains(names):
    """A finite gradient reaches every weight, a step changes it, and the terms add up.

    Gradients are finite at extreme parameters, too.
    """
    vae = shaken(model_of(names))
    x, given, beside = example(vae, 6)
    loss, gradients = loss_and_gradients(vae, x, given)
    assert_finite(loss)
    for weight, gradient in zip(vae.trainable_weights, gradients, strict=True):
        assert gradient is not None, weight.path
        assert_finite(gradient)
        assert np.any(np.asarray(tf.convert_to_tensor(gradient)) != 0), weight.path
    logs = vae.train_on_batch(x, beside, return_dict=True)
    assert {"loss", "elbo", "log_likelihood", "kl"} == set(logs)
    assert logs["elbo"] == pytest.approx(logs["log_likelihood"] - logs["kl"], rel=1e-4, abs=1e-3)
    drawn = vae.sample(2, draw=True, seed=0, **{k: v[:2] for k, v in beside.items()})
    assert bool(vae.likelihood.contains(vae.likelihood.as_source(drawn).array()))
    assert vae.elbo(x, seed=0, **beside).shape == (6,)
    loss, gradients = loss_and_gradients(driven_to_extremes(vae), x, given)
    assert_finite(loss, *map(tf.convert_to_tensor, gradients))


@distributions
def test_a_model_trains_compiled(names):
    """By XLA where it says so; the size of the batch is not known when the step is traced."""
    vae = model_of(names)
    vae.compile(optimizer="sgd", jit_compile=vae.xla)
    x, _, beside = example(vae, 6)
    rows = vae.likelihood.as_source(x).array()
    batches = tf.data.Dataset.from_tensor_slices((rows, beside) if beside else rows).batch(3)
    assert_finite(vae.fit(batches, verbose=0).history["loss"])


@distributions
def test_a_model_is_what_its_config_says(names):
    vae = model_of(names)
    config = vae.get_config()
    loaded = type(vae).from_config(config)
    assert loaded.get_config() == config
    loaded.set_weights(vae.get_weights())
    x, _, beside = example(vae, 2)
    pair = (model.reconstruct(x, **beside) for model in (loaded, vae))
    np.testing.assert_array_equal(*(vae.likelihood.as_source(each).array() for each in pair))


def test_what_has_no_meaning_is_refused_with_the_reason():
    sphere = refusal(("DiagonalNormal", "UniformSphere", "Bernoulli", "ELBO"))
    assert "must live on the same set" in sphere
    assert "UniformSphere on unit vectors" in sphere
    two = VAE(  # |z|^2 is 2 there
        networks.mlp([]),
        networks.mlp([]),
        posteriors.Product([posteriors.PowerSpherical(3), posteriors.PowerSpherical(3)]),
        priors.Product([priors.UniformSphere(3), priors.UniformSphere(3)]),
        likelihoods.Bernoulli((4,)),
    )
    with pytest.raises(ValueError, match="must live on the same set"):
        require_legal(two.posterior, priors.UniformSphere(6), two.likelihood, two.objective, None)
    discrete = refusal(("OneHot", "UniformCategorical", "Bernoulli", "IWAE-dreg"))
    assert "no differentiable function of its parameters" in discrete


@distributions
def test_a_saved_model_is_the_model(names, tmp_path):
    assert_saved(shaken(model_of(names)), tmp_path)


@pytest.mark.parametrize("objective", PARTS[3])
def test_a_saved_model_has_its_bound(objective, tmp_path):
    vae = shaken(model_of((*PLAIN[:3], objective)))
    loaded = assert_saved(vae, tmp_path)
    x, _, _ = example(vae, 4)
    found, expected = (model.test_on_batch(x, return_dict=True) for model in (loaded, vae))
    assert found == pytest.approx(expected, rel=1e-5)


def assert_saved(vae, folder):
    """Its file gives the model back, weight for weight, and with its next draws."""
    x, _, beside = example(vae, 4)
    vae.train_on_batch(x, beside)
    vae.save(folder / "model.keras")
    loaded = keras.saving.load_model(folder / "model.keras")
    for one, other in zip(loaded.weights, vae.weights, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=other.path)
    elbos = (model.elbo(x, seed=1, **beside) for model in (loaded, vae))
    np.testing.assert_array_equal(*elbos)
    return loaded


# The loss


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_terms_that_are_logged_add_up_to_the_loss(objective):
    vae = model_of((*PLAIN[:3], objective))
    logs = vae.test_on_batch(data_for(vae.likelihood, 1), return_dict=True)
    log_likelihood, kl = logs["log_likelihood"], logs["kl"]
    assert logs["elbo"] == pytest.approx(log_likelihood - kl, rel=1e-5)
    weighted = {
        "ELBO": kl,
        "ELBO-beta": 4 * kl,
        "ELBO-samples": kl,
        "ELBO-free_bits": max(kl, 2.0),
        "ELBO-schedule": 0.25 * kl,
        "ELBO-capacity": 4 * abs(kl - 2.0),
        "ELBO-score": kl,
    }
    if objective in weighted:
        assert -logs["loss"] == pytest.approx(log_likelihood - weighted[objective], rel=1e-5)
    else:
        assert np.isfinite(logs["loss"])


def test_the_loss_of_a_model_that_is_not_compiled_is_that_of_step_zero():
    vae = make_vae(objective=OBJECTIVES["ELBO-schedule"])
    assert np.isfinite(vae.compute_loss(data_for(vae.likelihood, 2)))
    assert vae.assumptions().bound.beta == 0.25


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_any_network_fits_any_likelihood(network, likelihood):
    decoder = {"mlp": "mlp", "conv": "conv_transpose"}[network]
    if network == "conv" and LIKELIHOODS[likelihood]().event_shape[:2] != EVENT_SHAPE[:2]:
        pytest.skip("of no image")
    vae = make_vae(
        encoder=ENCODERS[network], decoder=DECODERS[decoder], likelihood=LIKELIHOODS[likelihood]
    )
    vae.compile(optimizer="sgd", run_eagerly=True)
    x, _, beside = example(vae, 3)
    logs = vae.train_on_batch(x, beside, return_dict=True)
    assert_finite(*logs.values())
    reconstructed = vae.likelihood.as_source(vae.reconstruct(x, **beside))
    assert reconstructed.array().shape == x.shape


# The distributions


@distributions
def test_a_batch_of_eight_is_eight_batches_of_one(names):
    vae = model_of(names)
    x, given, _ = example(vae, 8)
    z = vae._posterior(tf.constant(x), given).sample(3, seed=0)

    def terms(rows):
        some = Given(*(v[rows] if tf.is_tensor(v) else v for v in given))
        q, p = vae._posterior(tf.constant(x[rows]), some), vae._prior(some)
        log_likelihood = vae._likelihood(z[:, rows], some).log_prob(x[rows])
        # A copy, so that no density remembers how the draw was made.
        copy = tf.constant(z[:, rows].numpy())
        return log_likelihood, q.log_prob(copy), p.log_prob(copy)

    whole = terms(slice(None))
    single = [terms(slice(i, i + 1)) for i in range(8)]
    for all_at_once, one_by_one in zip(whole, zip(*single, strict=True), strict=True):
        together = np.concatenate([np.asarray(part) for part in one_by_one], axis=1)
        np.testing.assert_allclose(all_at_once, together, rtol=1e-4, atol=1e-4)


@distributions
def test_an_exact_kl_is_not_negative_and_a_sampled_one_is_its_mean(names):
    vae = model_of(names)
    x, given, _ = example(vae, 20)
    p, q = vae._prior(given), vae._posterior(tf.constant(x), given)
    z = q.sample(2_000, seed=0)
    ratio = np.asarray(q.log_prob(z) - p.log_prob(z), "float64")
    kl = np.asarray(kl_divergence(q, p, z))
    assert kl.shape == (20,)
    error = ratio.std(0) / np.sqrt(len(ratio))
    assert np.all(ratio.mean(0) > -5 * error - 1e-6)
    if is_exact(q, p):
        assert kl.min() >= -1e-5
        assert np.all(np.abs(kl - ratio.mean(0)) <= 5 * error + 1e-4)


@distributions
def test_unfolded_samples_are_decoded_as_one_by_one(names):
    vae = model_of(names)
    x, given, _ = example(vae, 4)
    z = vae._posterior(tf.constant(x), given).sample(3, seed=0)
    together = vae._likelihood(z, given).log_prob(x)
    assert together.shape == (3, 4)
    one_by_one = np.stack([vae._likelihood(z[k], given).log_prob(x) for k in range(3)])
    np.testing.assert_allclose(together, one_by_one, rtol=1e-5)


def densities_at(vae, x, z, given):
    """log p(x|z), log p(z) and log q(z|x) at given draws, `[3, K, B]`."""
    q, p = vae._posterior(x, given), vae._prior(given)
    log_likelihood = vae._likelihood(z, given).log_prob(x)
    return tf.stack([log_likelihood, p.log_prob(z) + 0 * log_likelihood, q.log_prob(z)])


@distributions
def test_densities_at_given_draws_are_the_same_however_they_are_compiled(names):
    vae = model_of(names)
    x, given, _ = example(vae, 4)
    x = tf.constant(x)
    z = tf.constant(vae._posterior(x, given).sample(2, seed=0).numpy())
    eager = densities_at(vae, x, z, given)
    for jit_compile in (False, True) if vae.xla else (False,):
        compiled = tf.function(lambda x, z: densities_at(vae, x, z, given), jit_compile=jit_compile)
        np.testing.assert_allclose(compiled(x, z), eager, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("objective", ["ELBO", "IWAE"])
def test_the_mean_loss_is_the_same_however_it_is_compiled(objective):
    """The draws of two compilers differ for equal seeds; their means are of one distribution."""
    vae = model_of((*PLAIN[:3], objective))
    x = tf.constant(np.tile(data_for(vae.likelihood, 1), (500, 1, 1, 1)))
    means, errors = [], []
    for jit_compile in (False, True):
        loss = tf.function(lambda: vae.compute_loss(x), jit_compile=jit_compile)
        values = np.array([loss().numpy() for _ in range(20)])
        means.append(values.mean())
        errors.append(values.var(ddof=1) / len(values))
    assert errors[0] > 0
    assert abs(means[0] - means[1]) < 4 * np.sqrt(sum(errors))
