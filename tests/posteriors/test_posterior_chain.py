"""The hierarchy that is drawn from x upwards."""

import numpy as np
import pytest
import tensorflow as tf
from parts import POSTERIORS, assert_finite, assert_moments, features, numpy, round_trip
from scipy import stats

from keras_vae import latents, likelihoods, networks, posteriors, priors
from keras_vae.divergences import is_exact, kl_divergence


def tanh(units):
    return networks.mlp([units], activation="tanh")


def randomised(part):
    random = np.random.default_rng(0)
    for weight in part.weights:
        weight.assign(random.normal(size=weight.shape))
    return part


def deep(**kwargs):
    """z_1 of 3, z_2 of 2, z_3 of 1 values."""
    head = posteriors.Chain(
        [
            posteriors.FullCovarianceNormal(3, **kwargs),
            posteriors.DiagonalNormal(2, **kwargs),
            posteriors.DiagonalNormal(1, **kwargs),
        ],
        [tanh(4), tanh(5)],
        **kwargs,
    )
    head.build((None, 5))
    return randomised(head)


def test_the_parameters_are_those_of_the_first_head():
    head = deep()
    parameters = head(features())
    assert {key: tuple(value.shape) for key, value in parameters.items()} == {
        "loc": (3, 3),
        "scale_tril": (3, 3, 3),
    }


def test_the_density_is_the_sum_over_the_layers():
    """By SciPy, each layer from the parameters that its head gives for the layer below."""
    head = deep()
    low = numpy(head(features()))
    z = np.random.default_rng(1).normal(size=(2, 3, 6)).astype("float32")
    z_1, z_2, z_3 = np.split(z, [3, 5], axis=-1)
    covariance = low["scale_tril"] @ np.swapaxes(low["scale_tril"], -1, -2)
    expected = np.stack(
        [
            stats.multivariate_normal(low["loc"][b], covariance[b]).logpdf(z_1[:, b])
            for b in range(3)
        ],
        axis=1,
    )
    for i, (below, block) in enumerate([(z_1, z_2), (z_2, z_3)]):
        flat = below.reshape(6, -1)
        given = numpy(head.heads[i + 1](head.networks[i](flat)))
        each = stats.norm.logpdf(block.reshape(6, -1), given["loc"], given["scale_diag"])
        expected += each.sum(-1).reshape(2, 3)
    q = head.distribution(head(features()))
    assert q.batch_shape == (3,)
    assert q.event_shape == (6,)
    np.testing.assert_allclose(q.log_prob(z), expected, rtol=1e-4)


def linear():
    """z_1 | x ~ N(loc, diag scale^2), z_2 | z_1 ~ N(weights z_1 + 0.5, 0.3^2)."""
    head = posteriors.Chain(
        [posteriors.DiagonalNormal(2), posteriors.DiagonalNormal(1)], [networks.mlp([])]
    )
    head.build((None, 5))
    loc, raw_scale = (head.heads[1].projections[name] for name in ("loc", "scale_diag"))
    loc.kernel.assign([[1.5], [-2.0]])
    loc.bias.assign([0.5])
    raw_scale.kernel.assign(np.zeros((2, 1)))
    raw_scale.bias.assign([np.log(np.expm1(0.3 - 1e-6))])
    return head


def test_a_linear_hierarchy_is_the_normal_of_the_closed_form():
    head = linear()
    parameters = head(features())
    q = head.distribution(parameters)
    draws = q.sample(20_000, seed=0).numpy()
    z = np.random.default_rng(1).normal(size=(5, 3, 3)).astype("float32")
    weights = np.array([1.5, -2.0])
    for b in range(3):
        loc, scale = numpy(parameters)["loc"][b], numpy(parameters)["scale_diag"][b]
        mean = np.array([*loc, weights @ loc + 0.5])
        covariance = np.zeros((3, 3))
        covariance[:2, :2] = np.diag(scale**2)
        covariance[:2, 2] = covariance[2, :2] = weights * scale**2
        covariance[2, 2] = weights**2 @ scale**2 + 0.3**2
        expected = stats.multivariate_normal(mean, covariance).logpdf(z[:, b])
        np.testing.assert_allclose(q.log_prob(z)[:, b], expected, rtol=1e-4)
        assert_moments(draws[:, b], mean, covariance)


def test_the_centre_is_the_walk_along_the_means():
    head = deep()
    parameters = head(features())
    z_1 = parameters["loc"]
    z_2 = head.heads[1](head.networks[0](z_1))["loc"]
    z_3 = head.heads[2](head.networks[1](z_2))["loc"]
    centre = head.centre(head.distribution(parameters))
    np.testing.assert_allclose(centre, np.concatenate([z_1, z_2, z_3], -1), rtol=1e-6)


@pytest.mark.parametrize("name", ["Chain", "TopDown"])
@pytest.mark.parametrize("prior_name", ["StandardNormal", "Chain"])
def test_the_sampled_kl_is_right_within_its_error(name, prior_name):
    """Against quadrature of `q (log q - log p)` over two latent dimensions."""
    head = POSTERIORS[name]()
    head.build((None, 5))
    q = head.distribution(head(features()))
    if prior_name == "Chain":
        prior = priors.Chain(priors.LearnedNormal(1), [posteriors.DiagonalNormal(1)], [tanh(4)])
    else:
        prior = priors.StandardNormal(2)
    prior.build((None, 5))
    p = prior.distribution()
    assert not is_exact(q, p)
    axis = np.linspace(-15, 15, 1001)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 1, 2).astype("float32")
    cell = (axis[1] - axis[0]) ** 2
    log_q, log_p = q.log_prob(grid).numpy().astype("float64"), p.log_prob(grid).numpy()
    np.testing.assert_allclose(np.exp(log_q).sum(0) * cell, np.ones(3), rtol=1e-3)
    expected = (np.exp(log_q) * (log_q - log_p)).sum(0) * cell
    z = q.sample(5000, seed=0)
    error = np.std(q.log_prob(z) - p.log_prob(z), axis=0) / np.sqrt(5000)
    np.testing.assert_array_less(np.abs(kl_divergence(q, p, z) - expected), 4 * error + 1e-3)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_finite_gradient_reaches_every_weight(jit_compile):
    head = deep()
    weights = [weight.value for weight in head.trainable_weights]
    assert len(weights) == 3 * 4 + 2 * 2

    @tf.function(jit_compile=jit_compile, input_signature=None)
    def evaluate(x):
        with tf.GradientTape() as tape:
            q = head.distribution(head(x))
            z = q.sample(4, seed=0)
            total = tf.reduce_sum(q.log_prob(z)) + tf.reduce_sum(z**2)
        return z, tape.gradient(total, weights)

    z, gradients = evaluate(features())
    assert z.shape == (4, 3, 6)
    for weight, gradient in zip(head.trainable_weights, gradients, strict=True):
        assert_finite(gradient)
        assert np.any(gradient != 0), weight.path


def test_the_batch_is_unknown_when_a_function_is_traced():
    head = deep()

    @tf.function(input_signature=[tf.TensorSpec((None, 5)), tf.TensorSpec((None, None, 6))])
    def log_prob(x, z):
        return head.distribution(head(x)).log_prob(z)

    z = np.random.default_rng(1).normal(size=(2, 3, 6)).astype("float32")
    expected = head.distribution(head(features())).log_prob(z)
    np.testing.assert_allclose(log_prob(features(), z), expected, rtol=1e-5)


def test_the_statement_says_what_each_layer_is():
    statement = deep().statement()
    assert statement.fixed == (
        "z_1 given x: FullCovarianceNormal, 3 values",
        "z_2 given z_1: DiagonalNormal, 2 values",
        "z_3 given z_2: DiagonalNormal, 1 values",
    )
    assert deep().support == latents.REALS


class Moving(posteriors.DiagonalNormal):
    """A family with a schedule, on another set, whose draws have no gradient."""

    reparameterised = False
    xla = False
    support = latents.SPHERE
    step = 0

    def anneal(self, step):
        self.step = step


@pytest.mark.parametrize("name", ["Chain", "TopDown"])
def test_it_is_what_its_heads_are(name):
    make = getattr(posteriors, name)
    plain = make([posteriors.DiagonalNormal(2), posteriors.DiagonalNormal(3)], [tanh(4)])
    assert plain.reparameterised
    assert plain.xla
    moving = make([posteriors.DiagonalNormal(2), Moving(3)], [tanh(4)])
    assert not moving.reparameterised
    assert not moving.xla
    blocks = ["all real vectors (2 values)", "unit vectors (3 values)"]
    assert moving.support == "; ".join(blocks if name == "Chain" else blocks[::-1])
    moving.anneal(7)
    assert moving.heads[1].step == 7


@pytest.mark.parametrize("name", ["Chain", "TopDown"])
def test_a_loaded_hierarchy_is_the_saved_one(name):
    head = POSTERIORS[name](4)
    head.build((None, 5))
    randomised(head)
    loaded = round_trip(head)
    assert type(loaded) is type(head)
    assert loaded.latent_size == 4
    if not loaded.built:
        loaded.build((None, 5))
    assert len(loaded.weights) == len(head.weights)
    loaded.set_weights(head.get_weights())
    z = np.ones((3, 4), "float32")
    expected = head.distribution(head(features())).log_prob(z)
    np.testing.assert_array_equal(loaded.distribution(loaded(features())).log_prob(z), expected)


@pytest.mark.parametrize(
    ("policy", "dtype"), [("mixed_float16", tf.float32), ("float64", tf.float64)]
)
def test_its_density_is_in_single_precision_at_least(policy, dtype):
    head = deep(dtype=policy)
    q = head.distribution(head(tf.cast(features(), dtype)))
    assert q.sample(seed=0).dtype == dtype
    z = tf.ones((3, 6), dtype)
    assert q.log_prob(z).dtype == dtype


@pytest.mark.parametrize("name", ["Chain", "TopDown"])
@pytest.mark.parametrize(
    ("heads", "between", "message"),
    [
        ([2], [3], "`heads` of {name} has one for each layer"),
        ([2, 2], [], "`networks` of {name} has one for each layer"),
        ([2, 2], [3, 3], "`networks` of {name} has one for each head after the first"),
        (None, [3], "`heads` of {name} has one for each layer"),
        ("float64", [3], "The layers of {name} must agree"),
        ("likelihood", [3], "`heads` of {name} has one for each layer"),
    ],
)
def test_parts_that_make_no_hierarchy_are_refused(name, heads, between, message):
    first = posteriors.DiagonalNormal(2)
    if heads == "float64":
        heads = [first, posteriors.DiagonalNormal(2, dtype="float64")]
    elif heads == "likelihood":
        heads = [first, likelihoods.Normal((2,))]
    elif heads is not None:
        heads = [posteriors.DiagonalNormal(size) for size in heads]
    with pytest.raises(ValueError, match=message.format(name=name)) as error:
        getattr(posteriors, name)(heads, [tanh(units) for units in between])
    assert "Expected: " in str(error.value)
    assert "Received: " in str(error.value)
