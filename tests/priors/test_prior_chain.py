"""The hierarchy that is drawn from the top down."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from parts import PRIORS, assert_finite, assert_moments, numpy, round_trip
from scipy import stats

from keras_vae import likelihoods, networks, posteriors, priors
from keras_vae.latents import REALS


def tanh(units):
    return networks.mlp([units], activation="tanh")


def deep(**kwargs):
    """z_3 of 1, z_2 of 2, z_1 of 3 values."""
    prior = priors.Chain(
        priors.LearnedNormal(1, **kwargs),
        [posteriors.DiagonalNormal(2, **kwargs), posteriors.FullCovarianceNormal(3, **kwargs)],
        [tanh(4), tanh(5)],
        **kwargs,
    )
    prior.build((None, 7))
    random = np.random.default_rng(0)
    for weight in prior.weights:
        weight.assign(random.normal(size=weight.shape))
    return prior


def linear(slope, offset, scale, size=1):
    """z_1 | z_2 ~ N(slope z_2 + offset, scale^2), z_2 ~ N(0, 1)."""
    prior = priors.Chain(
        priors.StandardNormal(1), [posteriors.DiagonalNormal(size)], [networks.mlp([])]
    )
    prior.build((None, 7))
    loc, raw_scale = (prior.heads[0].projections[name] for name in ("loc", "scale_diag"))
    loc.kernel.assign(np.reshape(slope, (1, size)))
    loc.bias.assign(np.reshape(offset, (size,)))
    raw_scale.kernel.assign(np.zeros((1, size)))
    raw_scale.bias.assign(np.log(np.expm1(np.reshape(scale, (size,)) - 1e-6)))
    return prior.distribution()


def test_the_marginal_of_a_linear_hierarchy_is_the_normal_of_the_closed_form():
    """`p(z_1) = N(offset, slope^2 + scale^2)`, by quadrature over z_2."""
    p = linear(slope=1.5, offset=-0.7, scale=0.4)
    axis = np.linspace(-9, 9, 2001)
    values = np.linspace(-5, 4, 13)
    grid = np.stack(np.meshgrid(values, axis, indexing="ij"), -1).astype("float32")  # z_1, z_2
    marginal = np.exp(p.log_prob(grid)).sum(1, dtype="float64") * (axis[1] - axis[0])
    expected = stats.norm.pdf(values, -0.7, np.sqrt(1.5**2 + 0.4**2))
    np.testing.assert_allclose(marginal, expected, rtol=1e-4)


def test_the_density_of_a_linear_hierarchy_is_scipys():
    slope, offset, scale = np.array([1.5, -2.0]), np.array([0.3, 1.0]), np.array([0.4, 1.2])
    p = linear(slope, offset, scale, size=2)
    covariance = np.zeros((3, 3))
    covariance[:2, :2] = np.outer(slope, slope) + np.diag(scale**2)
    covariance[:2, 2] = covariance[2, :2] = slope
    covariance[2, 2] = 1
    mean = np.array([*offset, 0])
    z = np.random.default_rng(0).normal(size=(5, 4, 3)).astype("float32")
    expected = stats.multivariate_normal(mean, covariance).logpdf(z)
    np.testing.assert_allclose(p.log_prob(z), expected, rtol=1e-4)
    assert_moments(p.sample(20_000, seed=0).numpy(), mean, covariance)


def test_the_density_is_the_sum_over_the_layers():
    """By SciPy, each layer from the parameters that its head gives for the layer above."""
    prior = deep()
    z = np.random.default_rng(1).normal(size=(2, 4, 6)).astype("float32")
    z_1, z_2, z_3 = (block.reshape(8, -1) for block in np.split(z, [3, 5], axis=-1))
    top = prior.top
    scale = np.log1p(np.exp(top.raw_scale.numpy())) + 1e-6
    expected = stats.norm.logpdf(z_3, top.loc.numpy(), scale).sum(-1)
    middle = numpy(prior.heads[0](prior.networks[0](z_3)))
    expected += stats.norm.logpdf(z_2, middle["loc"], middle["scale_diag"]).sum(-1)
    low = numpy(prior.heads[1](prior.networks[1](z_2)))
    covariance = low["scale_tril"] @ np.swapaxes(low["scale_tril"], -1, -2)
    expected += [
        stats.multivariate_normal(low["loc"][i], covariance[i]).logpdf(z_1[i]) for i in range(8)
    ]
    log_prob = prior.distribution().log_prob(z)
    np.testing.assert_allclose(log_prob, expected.reshape(2, 4), rtol=1e-4)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_finite_gradient_reaches_every_weight(jit_compile):
    prior = deep()
    weights = [weight.value for weight in prior.trainable_weights]
    assert len(weights) == 2 + 2 * (2 + 4)

    @tf.function(jit_compile=jit_compile)
    def evaluate(z):
        with tf.GradientTape() as tape:
            log_prob = prior.distribution().log_prob(z)
        return log_prob, tape.gradient(log_prob, weights), prior.distribution().sample(4, seed=0)

    z = np.random.default_rng(1).normal(size=(2, 4, 6)).astype("float32")
    log_prob, gradients, draws = evaluate(z)
    np.testing.assert_allclose(log_prob, prior.distribution().log_prob(z), rtol=1e-4)
    assert draws.shape == (4, 6)
    for weight, gradient in zip(prior.trainable_weights, gradients, strict=True):
        assert_finite(gradient)
        assert np.any(gradient != 0), weight.path


@pytest.mark.parametrize("raw", [-1e4, -50.0, 50.0, 1e4])
def test_values_and_gradients_are_finite_at_extreme_raw_values(raw):
    prior = PRIORS["Chain"]()
    prior.build((None, 7))
    for weight in prior.weights:
        weight.assign(tf.fill(weight.shape, raw if weight.path.endswith("bias") else 0.0))
    with tf.GradientTape() as tape:
        p = prior.distribution()
        total = tf.reduce_sum(p.log_prob(tf.ones((2, 2)))) + tf.reduce_sum(p.sample(3, seed=0))
    weights = [weight.value for weight in prior.trainable_weights]
    assert_finite(total, *tape.gradient(total, weights))


def test_the_batch_is_unknown_when_a_function_is_traced():
    prior = deep()
    log_prob = tf.function(
        lambda z: prior.distribution().log_prob(z), input_signature=[tf.TensorSpec((None, None, 6))]
    )
    z = np.random.default_rng(1).normal(size=(2, 4, 6)).astype("float32")
    np.testing.assert_allclose(log_prob(z), prior.distribution().log_prob(z), rtol=1e-5)


def test_a_conditional_top_makes_it_conditional():
    prior = priors.Chain(
        priors.ConditionalNormal(1), [posteriors.DiagonalNormal(2)], [networks.mlp([])]
    )
    assert prior.conditional
    assert not deep().conditional
    prior.build((None, 7), 3)
    condition = np.ones((5, 3), "float32")
    p = prior.distribution(condition)
    assert p.batch_shape == (5,)
    assert p.sample(2, seed=0).shape == (2, 5, 3)
    assert p.log_prob(np.zeros((2, 5, 3), "float32")).shape == (2, 5)


def test_the_size_and_the_support_are_those_of_the_parts():
    prior = deep()
    assert prior.latent_size == 6
    assert prior.support == REALS
    assert prior.statement().parameters == {
        "z_1 given z_2": "FullCovarianceNormal, 3 values",
        "z_2 given z_3": "DiagonalNormal, 2 values",
        "z_3": "LearnedNormal, 1 values",
    }
    assert prior.statement().learned == (
        "z_1 given z_2",
        "z_2 given z_3",
        "loc of z_3",
        "scale_diag of z_3",
    )


def test_a_loaded_prior_is_the_saved_one():
    prior = deep(name="p")
    loaded = round_trip(prior)
    assert type(loaded) is priors.Chain
    if not loaded.built:
        loaded.build((None, 7))
    assert len(loaded.weights) == len(prior.weights)
    loaded.set_weights(prior.get_weights())
    z = np.ones((4, 6), "float32")
    np.testing.assert_array_equal(
        loaded.distribution().log_prob(z), prior.distribution().log_prob(z)
    )


def test_it_and_the_posterior_of_the_same_name_are_told_apart():
    names = {keras.saving.get_registered_name(k) for k in (priors.Chain, posteriors.Chain)}
    assert names == {"keras_vae.priors>Chain", "keras_vae.posteriors>Chain"}


@pytest.mark.parametrize(
    ("policy", "dtype"), [("mixed_float16", tf.float32), ("float64", tf.float64)]
)
def test_its_density_is_in_single_precision_at_least(policy, dtype):
    p = deep(dtype=policy).distribution()
    assert p.dtype == dtype
    assert p.sample(seed=0).dtype == dtype


HEAD, NETWORK = posteriors.DiagonalNormal(2), networks.mlp([3])
TOP = priors.StandardNormal(1)


@pytest.mark.parametrize(
    ("top", "heads", "between", "message"),
    [
        (TOP, [], [], "`heads` of Chain has one for each layer"),
        (TOP, [TOP], [NETWORK], "`heads` of Chain has one for each layer"),
        (TOP, HEAD, [NETWORK], "`heads` of Chain has one for each layer"),
        (TOP, [HEAD], [], "`networks` of Chain has one for each layer"),
        (TOP, [HEAD], [[3]], "`networks` of Chain has one for each layer"),
        (TOP, [HEAD], [NETWORK, NETWORK], "`networks` of Chain has one for each head"),
        (HEAD, [HEAD], [NETWORK], "`top` of Chain is p"),
        (priors.VampPrior(1), [HEAD], [NETWORK], "`top` of Chain is p"),
        (TOP, [posteriors.DiagonalNormal(2, dtype="float64")], [NETWORK], "The layers of Chain"),
        (
            TOP,
            [likelihoods.Normal((2, 2))],
            [NETWORK],
            "`heads` of Chain are distributions of vectors",
        ),
    ],
)
def test_parts_that_make_no_hierarchy_are_refused(top, heads, between, message):
    with pytest.raises(ValueError, match=message) as error:
        priors.Chain(top, heads, between)
    assert "Expected: " in str(error.value)
    assert "Received: " in str(error.value)


def test_the_example_in_parts_is_a_hierarchy():
    assert PRIORS["Chain"](4).sizes == [2, 2]
