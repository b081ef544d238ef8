"""The prior that is made of posteriors."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from parts import POSTERIORS, assert_close_to_mean, assert_finite, built, every, numpy, round_trip
from scipy import special, stats
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from keras_vae import networks, priors

INPUT_SHAPE = (3, 2)
PSEUDO_INPUTS = 4

all_posteriors = pytest.mark.parametrize("make", every(POSTERIORS))


def example(make=POSTERIORS["DiagonalNormal"]):
    """A prior, an encoder and a head."""
    prior = priors.VampPrior(2, PSEUDO_INPUTS)
    prior.build((None, *INPUT_SHAPE))
    encoder = networks.mlp([5], activation="tanh")
    return prior, encoder, built(make())


def encoding(encoder, head):
    return lambda inputs: head.distribution(head(encoder(inputs)))


def test_its_density_is_the_mean_of_scipys():
    prior, encoder, head = example()
    parameters = numpy(head(encoder(prior.inputs)))
    z = np.random.default_rng(0).normal(size=(6, 3, 2)).astype("float32")
    each = stats.norm.logpdf(z[..., None, :], parameters["loc"], parameters["scale_diag"]).sum(-1)
    expected = special.logsumexp(each, axis=-1) - np.log(PSEUDO_INPUTS)
    p = prior.distribution(encode=encoding(encoder, head))
    assert p.batch_shape == ()
    assert p.event_shape == (2,)
    np.testing.assert_allclose(p.log_prob(z), expected, rtol=1e-5)


def test_narrow_posteriors_far_from_the_centre_keep_their_digits():
    """Multiplied out, the square of a distance is a difference of numbers 100,000 times as large."""
    prior = priors.VampPrior(3, 5)
    prior.build((None, 3))
    z = np.random.default_rng(0).normal(30, 1, size=(4, 3)).astype("float32")
    prior.start_from(tf.repeat(z[:1] + 0.01, 5, axis=0))

    def encode(inputs):
        return tfd.MultivariateNormalDiag(inputs, 0.1 * tf.ones_like(inputs))

    exact = stats.norm.logpdf(z.astype("float64"), numpy({"u": prior.inputs})["u"][:1], 0.1)
    p = prior.distribution(encode=encode)
    np.testing.assert_allclose(p.log_prob(z), exact.sum(-1), rtol=1e-5)


@all_posteriors
def test_its_density_is_the_mean_of_the_posteriors_one_by_one(make):
    prior, encoder, head = example(make)
    encode = encoding(encoder, head)
    p = prior.distribution(encode=encode)
    one_by_one = [encode(prior.inputs[k : k + 1]) for k in range(PSEUDO_INPUTS)]
    # Draws of one posterior, which are in its support.
    z = tf.reshape(one_by_one[0].sample(6, seed=0), (2, 3, 2))
    each = [tf.reshape(q.log_prob(tf.reshape(z, (6, 1, 2))), (2, 3)) for q in one_by_one]
    expected = special.logsumexp(each, axis=0) - np.log(PSEUDO_INPUTS)
    np.testing.assert_allclose(p.log_prob(z), expected, rtol=1e-4, atol=1e-5)


@all_posteriors
def test_its_draws_are_draws_of_one_posterior_or_another(make):
    prior, encoder, head = example(make)
    encode = encoding(encoder, head)
    draws = prior.distribution(encode=encode).sample(5000, seed=0)
    each = encode(tf.convert_to_tensor(prior.inputs)).sample(5000, seed=1)  # [n, K, D]
    of_one = each.numpy()[np.arange(5000), np.arange(5000) % PSEUDO_INPUTS]
    for function in (np.tanh, np.cos):
        assert_close_to_mean(function(draws.numpy()) - function(of_one), np.zeros(2))


@all_posteriors
def test_a_finite_gradient_reaches_the_pseudo_inputs_and_the_encoder(make):
    prior, encoder, head = example(make)
    encode = encoding(encoder, head)
    z = tf.stop_gradient(encode(tf.convert_to_tensor(prior.inputs)).sample(seed=0))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(prior.distribution(encode=encode).log_prob(z))
    weights = [w.value for part in (prior, encoder, head) for w in part.trainable_weights]
    gradients = tape.gradient(total, weights)
    assert_finite(total, *gradients)
    for weight, gradient in zip(weights, gradients, strict=True):
        assert np.any(gradient != 0), weight


@pytest.mark.parametrize(
    ("name", "jit_compile"),
    # XLA takes ten seconds for each; `FAMILIES` below has TFP's own.
    [*((name, False) for name in POSTERIORS), ("Chain", True), ("TopDown", True)],
)
def test_it_is_the_same_however_it_is_compiled(name, jit_compile):
    prior, encoder, head = example(POSTERIORS[name])
    encode = encoding(encoder, head)
    z = encode(tf.convert_to_tensor(prior.inputs)).sample(2, seed=0)

    def evaluate():
        p = prior.distribution(encode=encode)
        return p.log_prob(z), p.sample(3, seed=0)

    compiled = tf.function(evaluate, jit_compile=jit_compile)()
    np.testing.assert_allclose(compiled[0], evaluate()[0], rtol=1e-4, atol=1e-5)
    assert compiled[1].shape == (3, 2)


FAMILIES = {
    "TriL": lambda x: tfd.MultivariateNormalTriL(x, tf.linalg.diag(1 + x**2)),
    "MixtureSameFamily": lambda x: tfd.MixtureSameFamily(
        tfd.Categorical(x), tfd.MultivariateNormalDiag(tf.stack([x, 2 - x], -2))
    ),
    "TransformedDistribution": lambda x: tfd.TransformedDistribution(
        tfd.MultivariateNormalDiag(x, 1 + x**2),
        tfb.Chain([tfb.Permute([1, 0]), tfb.ScaleMatvecTriL([[2.0, 0.0], [1.0, 0.5]]), tfb.Sinh()]),
    ),
    "Blockwise": lambda x: tfd.Blockwise(
        [tfd.MultivariateNormalDiag(x[:, :1]), tfd.Independent(tfd.Laplace(x[:, 1:], 2.0), 1)]
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_any_distribution_may_be_its_component(family):
    """Density and draws agree with the components one by one, under XLA as well."""
    prior = priors.VampPrior(2, 3)
    prior.build((None, 2))
    inputs = tf.convert_to_tensor(prior.inputs)
    z = FAMILIES[family](inputs).sample(2, seed=0)  # [2, 3, D]
    each = [
        tf.reshape(FAMILIES[family](inputs[k : k + 1]).log_prob(tf.reshape(z, (6, 1, 2))), (2, 3))
        for k in range(3)
    ]

    @tf.function(jit_compile=True)
    def evaluate():
        with tf.GradientTape() as tape:
            p = prior.distribution(encode=FAMILIES[family])
            log_prob = p.log_prob(z)
        return log_prob, tape.gradient(log_prob, prior.inputs.value), p.sample(5000, seed=0)

    log_prob, gradient, draws = evaluate()
    np.testing.assert_allclose(
        log_prob, special.logsumexp(each, axis=0) - np.log(3), rtol=1e-4, atol=1e-5
    )
    assert_finite(gradient)
    assert np.all(gradient != 0)
    of_one = FAMILIES[family](inputs).sample(5000, seed=1).numpy()
    of_one = of_one[np.arange(5000), np.arange(5000) % 3]
    assert_close_to_mean(np.tanh(draws.numpy()) - np.tanh(of_one), np.zeros(2))


def test_it_follows_the_encoder():
    prior, encoder, head = example()
    z = np.zeros((1, 2), "float32")
    encode = encoding(encoder, head)
    before = prior.distribution(encode=encode).log_prob(z)
    encoder.trainable_weights[0].assign(2 * encoder.trainable_weights[0])
    assert prior.distribution(encode=encode).log_prob(z) != before


def test_without_an_encoder_it_is_refused():
    prior, _, _ = example()
    with pytest.raises(ValueError, match="VampPrior is a mixture of q") as error:
        prior.distribution()
    assert "Expected: encode=a function" in str(error.value)
    assert "Received: encode=None." in str(error.value)


@pytest.mark.parametrize(
    ("examples", "rows"), [(2, [0, 0, 1, 1]), (4, [0, 1, 2, 3]), (9, [0, 2, 4, 6])]
)
def test_it_starts_from_examples_of_the_data(examples, rows):
    prior, _, _ = example()
    x = np.random.default_rng(0).normal(size=(examples, *INPUT_SHAPE)).astype("float32")
    prior.start_from(x)
    np.testing.assert_array_equal(prior.inputs, x[rows])


def test_it_owns_the_pseudo_inputs_alone():
    prior, encoder, head = example()
    prior.distribution(encode=encoding(encoder, head))
    assert prior.uses_encoder
    assert [tuple(weight.shape) for weight in prior.weights] == [(PSEUDO_INPUTS, *INPUT_SHAPE)]
    assert len(np.unique(prior.inputs)) == PSEUDO_INPUTS * 6


@pytest.mark.parametrize("shape", [None, (None, None, 3)])
def test_inputs_of_unknown_size_are_refused(shape):
    with pytest.raises(ValueError, match="VampPrior learns inputs of the encoder") as error:
        priors.VampPrior(2).build(shape)
    assert f"Received: {shape}." in str(error.value)


@pytest.mark.parametrize("count", [0, -1, 2.5, "2", True, None])
def test_the_number_of_pseudo_inputs_is_a_positive_integer(count):
    with pytest.raises(ValueError, match="`pseudo_inputs` of VampPrior is the number") as error:
        priors.VampPrior(2, count)
    assert f"Received: pseudo_inputs={count!r}." in str(error.value)


def test_the_number_of_pseudo_inputs_is_saved():
    assert round_trip(priors.VampPrior(2, 7)).pseudo_inputs == 7


def test_half_precision_pseudo_inputs_have_a_single_precision_density():
    prior = priors.VampPrior(2, 3, dtype="float16")
    prior.build((None, 4))
    head = built(POSTERIORS["DiagonalNormal"](dtype="mixed_float16"), (4,))
    p = prior.distribution(encode=lambda inputs: head.distribution(head(inputs)))
    assert keras.backend.standardize_dtype(prior.inputs.dtype) == "float16"
    assert p.log_prob(np.zeros((3, 2), "float32")).dtype == tf.float32
