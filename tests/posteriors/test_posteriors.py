"""What holds for every q(z|x)."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from parts import (
    LATENT_SIZE,
    POSTERIORS,
    PRIORS,
    assert_finite,
    assert_moments,
    built,
    every,
    features,
    normal_covariance,
    numpy,
    round_trip,
)
from scipy import stats

from keras_vae import posteriors
from keras_vae.divergences import kl_divergence
from keras_vae.latents import REALS

# Of these families the covariance has a closed form (`parts.normal_covariance`).
NORMALS = ["DiagonalNormal", "FullCovarianceNormal", "LowRankNormal"]
ON_REALS = [name for name, make in POSTERIORS.items() if make().support == REALS]
EXTREMES = (-1e4, -50.0, 50.0, 1e4)

all_posteriors = pytest.mark.parametrize("make", every(POSTERIORS))
normals = pytest.mark.parametrize("make", every({name: POSTERIORS[name] for name in NORMALS}))
on_reals = pytest.mark.parametrize("make", every({name: POSTERIORS[name] for name in ON_REALS}))


def example(make, batch=3):
    head = built(make())
    parameters = head(features(batch))
    return head, parameters, head.distribution(parameters)


def extreme(make, raw):
    """A head whose projections give `raw` whatever the features."""
    head = built(make())
    for weight in head.weights:
        weight.assign(tf.fill(weight.shape, raw if weight.path.endswith("bias") else 0.0))
    return head


def prior_on(support):
    """p(z) on the values that a posterior has a density on."""
    for make in PRIORS.values():
        prior = make()
        if prior.support == support and not prior.conditional:
            prior.build(None)
            return prior.distribution()
    return pytest.fail(f"No prior in parts.py is on {support}")


def grid_of(q, points=801, reach=10):
    """Points of the plane that cover a batch of one density, `[points^2, 1, 2]`, and the cell's area."""
    draws = q.sample(2000, seed=1).numpy()[:, 0]
    middle, spread = draws.mean(0), reach * draws.std(0)
    axes = [np.linspace(m - r, m + r, points) for m, r in zip(middle, spread, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 1, LATENT_SIZE)
    return grid.astype("float32"), np.prod([axis[1] - axis[0] for axis in axes])


@all_posteriors
@pytest.mark.parametrize("features_shape", [(5,), (3, 2), (4, 4, 3)])
def test_parameters_lead_with_the_batch(make, features_shape):
    parameters = make()(features(3, features_shape))
    assert parameters
    assert {value.shape[0] for value in parameters.values()} == {3}
    assert {value.dtype for value in parameters.values()} == {tf.float32}


@all_posteriors
def test_the_event_is_the_latent_vector(make):
    head, parameters, q = example(make)
    assert q.batch_shape == (3,)
    assert q.event_shape == (head.latent_size,)
    unfolded = {key: tf.stack([value] * 4) for key, value in parameters.items()}
    q = head.distribution(unfolded)
    assert q.batch_shape == (4, 3)
    assert q.event_shape == (head.latent_size,)
    assert q.log_prob(q.sample(seed=0)).shape == (4, 3)


@all_posteriors
def test_no_one_is_warned_of_a_distribution(make, caplog):
    head, _, q = example(make)
    if not isinstance(head, posteriors.Chain | posteriors.TopDown):  # networks know no slices
        assert q[:2].batch_shape == (2,)
    assert np.isfinite(q.copy().log_prob(q.sample(seed=0))).all()
    assert caplog.text == ""


@all_posteriors
def test_further_axes_before_the_batch_are_as_many_batches(make):
    head = built(make())
    folds = [head(features(3)), head(2 * features(3))]
    z = head.distribution(folds[0]).sample(5, seed=0)
    unfolded = {key: tf.stack([fold[key] for fold in folds]) for key in folds[0]}
    together = head.distribution(unfolded).log_prob(z[:, None])
    for index, fold in enumerate(folds):
        expected = head.distribution(fold).log_prob(tf.identity(z))
        np.testing.assert_allclose(together[:, index], expected, rtol=1e-4, atol=1e-4)


@normals
def test_the_centre_needs_no_scale(make):
    """Who asks for the centre alone does not wait for the scale, of as many as D^2 values."""
    head, parameters, _ = example(make)

    def centre(**parameters):
        return head.centre(head.distribution(parameters))

    specs = {key: tf.TensorSpec((None, *value.shape[1:])) for key, value in parameters.items()}
    graph = tf.function(centre).get_concrete_function(**specs).graph
    waiting, asked = [graph.outputs[0].op], set()
    while waiting:
        asked.add(op := waiting.pop())
        waiting += [value.op for value in op.inputs]
    assert {op.name for op in asked if op.type == "Placeholder"} == {"loc"}
    np.testing.assert_array_equal(centre(**parameters), head.distribution(parameters).mean())


@normals
def test_the_log_density_is_scipys(make):
    _, parameters, q = example(make)
    z = np.random.default_rng(0).normal(size=(7, 3, LATENT_SIZE)).astype("float32")
    loc, covariance = numpy(parameters)["loc"], normal_covariance(parameters)
    expected = np.stack(
        [stats.multivariate_normal(loc[b], covariance[b]).logpdf(z[:, b]) for b in range(3)], 1
    )
    np.testing.assert_allclose(q.log_prob(z), expected, rtol=1e-4)


@on_reals
def test_the_density_integrates_to_one(make):
    head, parameters, _ = example(make)
    for b in range(3):
        q = head.distribution({key: value[b : b + 1] for key, value in parameters.items()})
        grid, cell = grid_of(q)
        values = np.exp(q.log_prob(grid)).sum(dtype="float64")
        assert values * cell == pytest.approx(1, abs=3e-4)


@on_reals
def test_draws_are_of_the_density(make):
    """The mean of a bounded function of draws is its integral against the density."""
    head, parameters, _ = example(make)
    q = head.distribution({key: value[:1] for key, value in parameters.items()})
    grid, cell = grid_of(q)
    weights = np.exp(q.log_prob(grid)).astype("float64")[:, 0] * cell
    draws = q.sample(20_000, seed=0).numpy()[:, 0]
    for direction in ([1, 0], [0, 1], [1, -1]):
        for function in (np.cos, np.sin, np.tanh):
            values = function(draws @ direction)
            error = values.std() / np.sqrt(len(values)) + 1e-5
            assert abs(values.mean() - weights @ function(grid[:, 0] @ direction)) < 4 * error


@all_posteriors
def test_the_density_of_a_draw_is_that_of_equal_values(make):
    """A distribution may remember how it made a draw, and must not need to."""
    head, parameters, q = example(make)
    z = q.sample(20, seed=0)
    anew = head.distribution(parameters).log_prob(tf.constant(z.numpy()))
    np.testing.assert_allclose(q.log_prob(z), anew, rtol=1e-3, atol=1e-3)


@normals
def test_draws_have_the_moments_that_the_parameters_say(make):
    _, parameters, q = example(make)
    draws = q.sample(20_000, seed=0).numpy()
    for b in range(3):
        assert_moments(draws[:, b], numpy(parameters)["loc"][b], normal_covariance(parameters)[b])


@normals
def test_the_mean_is_the_loc(make):
    _, parameters, q = example(make)
    np.testing.assert_array_equal(q.mean(), parameters["loc"])


@all_posteriors
def test_the_centre_is_one_value_for_each_example(make):
    head, _, q = example(make)
    centre = head.centre(q)
    assert centre.shape == (3, head.latent_size)
    assert_finite(centre)


@all_posteriors
def test_a_draw_is_differentiable_if_the_family_says_so(make):
    head = built(make())
    with tf.GradientTape() as tape:
        z = head.distribution(head(features())).sample(4, seed=0)
        total = tf.reduce_sum(z * tf.random.stateless_normal(z.shape, (0, 1)))
    gradients = tape.gradient(total, head.trainable_weights)
    reached = any(g is not None and np.any(g.numpy() != 0) for g in gradients)
    assert reached == head.reparameterised


@all_posteriors
@pytest.mark.parametrize("raw", EXTREMES)
def test_values_and_gradients_are_finite_at_extreme_features(make, raw):
    head = extreme(make, raw)
    p = prior_on(head.support)
    with tf.GradientTape() as tape:
        parameters = head(features())
        q = head.distribution(parameters)
        z = q.sample(4, seed=0)
        kl = kl_divergence(q, p, z)
        total = tf.reduce_sum(kl) + tf.reduce_sum(z)
    assert_finite(*parameters.values(), kl, z, q.log_prob(z))
    gradients = tape.gradient(total, head.trainable_weights)
    assert_finite(*(gradient for gradient in gradients if gradient is not None))


@all_posteriors
@pytest.mark.parametrize("raw", EXTREMES)
def test_the_log_density_of_a_draw_has_a_finite_gradient_at_extreme_features(make, raw):
    head = extreme(make, raw)
    with tf.GradientTape() as tape:
        q = head.distribution(head(features()))
        total = tf.reduce_sum(q.log_prob(q.sample(4, seed=0)))
    gradients = tape.gradient(total, head.trainable_weights)
    # The density of a draw at its own loc does not depend on loc: no gradient there.
    assert_finite(total, *(gradient for gradient in gradients if gradient is not None))


@pytest.mark.parametrize("name", ["DiagonalNormal", "FullCovarianceNormal"])
def test_scales_are_positive_however_small_the_raw_output(name):
    covariance = normal_covariance(extreme(POSTERIORS[name], -1e4)(features()))
    np.testing.assert_array_less(1e-13, np.diagonal(covariance, axis1=-2, axis2=-1))
    np.testing.assert_allclose(covariance[:, 0, 0], 1e-12, rtol=1e-5)


@all_posteriors
def test_a_loaded_head_is_the_saved_one(make):
    head = make(name="q")
    loaded = round_trip(head)
    assert type(loaded) is type(head)
    assert loaded.get_config() == head.get_config()
    head, loaded = built(head), built(loaded)
    loaded.set_weights(head.get_weights())
    for name, value in head(features()).items():
        np.testing.assert_array_equal(loaded(features())[name], value)


@all_posteriors
def test_heads_are_registered_under_the_packages_name(make):
    kind = type(make())
    # Under its slot's where another slot has a class of the same name.
    packages = ("keras_vae", "keras_vae.posteriors")
    name = keras.saving.get_registered_name(kind)
    assert name in {f"{package}>{kind.__name__}" for package in packages}
    assert keras.saving.get_registered_object(name) is kind


@all_posteriors
def test_half_precision_networks_have_single_precision_densities(make):
    full, half = built(make()), built(make(dtype="mixed_float16"))
    half.set_weights(full.get_weights())
    parameters = half(features())
    assert {value.dtype for value in parameters.values()} == {tf.float32}
    q = half.distribution(parameters)
    z = q.sample(seed=0)
    assert z.dtype == tf.float32
    assert q.log_prob(z).dtype == tf.float32
    for name, value in full(features()).items():
        np.testing.assert_allclose(parameters[name], value, atol=0.02)


@all_posteriors
def test_double_precision_is_kept(make):
    head = built(make(dtype="float64"))
    parameters = head(features().astype("float64"))
    assert {value.dtype for value in parameters.values()} == {tf.float64}
    q = head.distribution(parameters)
    z = q.sample(seed=0)
    assert z.dtype == tf.float64
    assert q.log_prob(tf.identity(z)).dtype == tf.float64


@all_posteriors
@pytest.mark.parametrize("size", [0, -1, 2.5, "2", True, None])
def test_the_latent_size_is_a_positive_integer(make, size):
    with pytest.raises(ValueError, match=r"`latent_size` of \w+ is the number") as error:
        make(size)
    assert "a positive integer" in str(error.value)
    assert f"Received: latent_size={size!r}." in str(error.value)


@all_posteriors
def test_features_of_unknown_size_are_refused(make):
    with pytest.raises(ValueError, match=r"Received: \(None, None, 3\)"):
        make().build((None, None, 3))


@all_posteriors
def test_the_statement_names_the_parameters(make):
    head = make()
    statement = head.statement()
    assert statement.family == type(head).__name__
    assert statement.event_shape == (head.latent_size,)
    assert set(statement.parameters) == set(head(features()))


@all_posteriors
def test_a_frozen_head_has_nothing_to_train(make):
    head = built(make(trainable=False))
    assert head.trainable_weights == []
    assert head.non_trainable_weights
