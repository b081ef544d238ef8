"""The model: its parts, its words (encode, decode, reconstruct, sample, elbo) and its statements."""

import dataclasses
import json
import math

import keras
import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from scipy.special import expit
from tensorflow_probability import distributions as tfd

import keras_vae
from keras_vae import advice
from keras_vae.likelihoods import Bernoulli, Normal
from keras_vae.networks import conv, conv_transpose, mlp
from keras_vae.objectives import ELBO, IWAE
from keras_vae.posteriors import DiagonalNormal, FullCovarianceNormal
from keras_vae.priors import StandardNormal
from keras_vae.statement import Statement

E = (4, 4, 1)


def parts(**given):
    return {
        "encoder": mlp([]),
        "decoder": mlp([]),
        "posterior": DiagonalNormal(2),
        "prior": StandardNormal(2),
        "likelihood": Bernoulli(E),
        **given,
    }


def model(**given):
    vae = keras_vae.VAE(**parts(**given))
    vae.compile("sgd")
    return vae


def bits(rows=8, shape=E, seed=0):
    return (np.random.default_rng(seed).random((rows, *shape)) > 0.5).astype("float32")


# Construction

WRONG_KINDS = {
    "encoder": (lambda x: x, "Layer"),
    "decoder": (keras.layers.Dense, r"Layer.*Did you mean Dense\(\.\.\.\)\?"),
    "posterior": (StandardNormal(2), "Posterior"),
    "prior": (StandardNormal, r"Prior.*Did you mean StandardNormal\(\.\.\.\)\?"),
    "likelihood": ("bernoulli", "Likelihood.*'bernoulli'"),
    "objective": (ELBO, r"Objective.*Did you mean ELBO\(\.\.\.\)\?"),
}


@pytest.mark.parametrize("argument", WRONG_KINDS)
def test_a_part_of_another_kind_is_refused(argument):
    value, message = WRONG_KINDS[argument]
    with pytest.raises(TypeError, match=rf"(?s)`{argument}` of VAE.*Expected.*{message}"):
        model(**{argument: value})


def test_latent_sizes_that_disagree_are_refused():
    message = r"one latent_size.*posterior\.latent_size=3.*prior\.latent_size=2"
    with pytest.raises(ValueError, match=message):
        model(posterior=DiagonalNormal(3))


def two_outputs():
    x = keras.Input(E)
    flat = keras.layers.Flatten()(x)
    return keras.Model(x, [keras.layers.Dense(2)(flat), keras.layers.Dense(2)(flat)])


UNFIT = {
    "a decoder of another z": {
        "decoder": keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    },
    "an encoder of another x": {
        "encoder": keras.Sequential([keras.Input((3, 3, 1)), keras.layers.Flatten()])
    },
    "a decoder of images": {"decoder": conv([4])},
    "an encoder of two outputs": {"encoder": two_outputs()},
}


@pytest.mark.parametrize("unfit", UNFIT)
def test_networks_that_do_not_fit_are_refused(unfit):
    (argument,) = UNFIT[unfit]
    shape = {"encoder": r"\[None, 4, 4, 1\]", "decoder": r"\[None, 2\]"}[argument]
    message = rf"(?s)`{argument}` does not fit.*a network of {shape}.*Received: "
    with pytest.raises(ValueError, match=message):
        model(**UNFIT[unfit])


WRONG_SIZES = [
    (lambda: DiagonalNormal(0), r"`latent_size`.*latent_size=0"),
    (lambda: StandardNormal(True), r"`latent_size`.*latent_size=True"),
    (lambda: DiagonalNormal(2.0), r"`latent_size`.*latent_size=2\.0"),
    (lambda: Bernoulli(16), r"`event_shape`.*16"),
    (lambda: model(likelihood=Bernoulli(())), r"`event_shape`.*\(\)"),
    (lambda: Bernoulli((None, 4, 1)), r"`event_shape`.*None"),
    (lambda: Bernoulli((True, 4)), r"`event_shape`.*True"),
    (lambda: Normal(E, scale=0.0), r"`scale`.*0\.0"),
    (lambda: Normal(E, scale="learned"), r"`scale`.*per_value.*'learned'"),
    (lambda: Normal(E, scale=math.nan), r"`scale`.*nan"),
    (lambda: ELBO(beta=-1.0), r"`beta`.*-1\.0"),
    (lambda: ELBO(beta="4"), r"`beta`.*'4'"),
    (lambda: ELBO(num_samples=0), r"`num_samples`.*=0"),
    (lambda: ELBO(free_bits=-0.5), r"`free_bits`.*-0\.5"),
    (lambda: IWAE(num_samples=2.5), r"`num_samples`.*=2\.5"),
    (lambda: conv_transpose([4], shape=(28, 28)), r"`shape`.*\(28, 28\)"),
    (lambda: conv_transpose([], shape=(28, 28, 1)), r"`filters`.*\[\]"),
]


@pytest.mark.parametrize("index", range(len(WRONG_SIZES)))
def test_a_part_refuses_a_wrong_argument_by_name(index):
    make, message = WRONG_SIZES[index]
    with pytest.raises(ValueError, match=message):
        make()


def test_an_event_shape_may_be_a_list_and_is_the_same_part():
    assert Bernoulli([4, 4, 1]).get_config()["event_shape"] == (4, 4, 1)


@pytest.mark.parametrize("shape", [(2,), (3, 8, 5), (8, 3), ()])
def test_a_z_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"`z` of decode.*\[B, 2\] or \[K, B, 2\]"):
        model().decode(np.zeros(shape))


def test_every_weight_exists_before_fit_and_summary_counts_it():
    vae = model(encoder=mlp([5]), decoder=mlp([3]))
    lines = []
    vae.summary(print_fn=lambda line, **_: lines.append(line))
    # encoder, loc and scale of q, decoder, logits: kernels and biases
    expected = 16 * 5 + 5 + 2 * (5 * 2 + 2) + 2 * 3 + 3 + 3 * 16 + 16
    assert sum(math.prod(v.shape) for v in vae.trainable_weights) == expected
    assert f"Trainable params: {expected}" in "\n".join(lines)


WITHOUT_COMPILING = {
    "assumptions": lambda vae: vae.assumptions(),
    "check": lambda vae: vae.check(bits()),
    "compute_loss": lambda vae: vae.compute_loss(bits()),
    "encode": lambda vae: vae.encode(bits()).mean(),
    "elbo": lambda vae: vae.elbo(bits()),
    "sample": lambda vae: vae.sample(2),
    "call": lambda vae: vae(bits()),
    "predict": lambda vae: vae.predict(bits(), verbose=0),
}


@pytest.mark.parametrize("word", WITHOUT_COMPILING)
def test_only_training_needs_compile(word):
    vae, compiled = keras_vae.VAE(**parts(), seed=1, name="a"), model(seed=1, name="a")
    compiled.set_weights(vae.get_weights())
    answer, expected = (WITHOUT_COMPILING[word](one) for one in (vae, compiled))
    assert str(answer) == str(expected)


# Shapes, means and draws


@pytest.mark.parametrize("posterior", [DiagonalNormal, FullCovarianceNormal])
@pytest.mark.parametrize(
    "likelihood", [Bernoulli(E), Normal(E, scale=0.5), Normal(E, "shared"), Normal(E, "per_value")]
)
def test_every_word_answers_in_its_shape(posterior, likelihood):
    vae = model(posterior=posterior(2), likelihood=likelihood)
    q, p = vae.encode(bits(8)), vae.decode(np.zeros((3, 8, 2)))
    assert (q.batch_shape, q.event_shape) == ((8,), (2,))
    assert (p.batch_shape, p.event_shape) == ((3, 8), E)
    assert vae.decode(np.zeros((5, 2))).batch_shape == (5,)
    for draw in (False, True):
        assert vae.reconstruct(bits(8), draw=draw).shape == (8, *E)
        assert vae.sample(7, draw=draw).shape == (7, *E)
    assert vae.elbo(bits(8), num_samples=3).shape == (8,)


def test_the_k_axis_of_decode_is_a_loop_over_k():
    vae, z = (
        model(likelihood=Normal(E, "per_value")),
        np.random.default_rng(0).normal(size=(3, 8, 2)),
    )
    together = vae.decode(z)
    for k in range(3):
        alone = vae.decode(z[k])
        np.testing.assert_allclose(together.mean()[k], alone.mean(), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(together.stddev()[k], alone.stddev(), rtol=1e-6)


def test_reconstruct_is_the_mean_at_the_mean():
    vae, x = model(), bits()
    logits = weights(
        vae.likelihood.projections["logits"],
        weights(vae.posterior.projections["loc"], x.reshape(8, -1)),
    )
    expected = expit(logits).reshape(8, *E)
    np.testing.assert_allclose(vae.reconstruct(x), expected, rtol=1e-5)
    np.testing.assert_array_equal(vae.reconstruct(x), vae.reconstruct(x))


def test_a_draw_of_a_bernoulli_is_binary_and_its_mean_is_not():
    vae = model()
    for drawn in (vae.sample(20, draw=True), vae.reconstruct(bits(), draw=True)):
        assert set(np.unique(drawn)) == {0.0, 1.0}
    for mean in (vae.sample(20), vae.reconstruct(bits())):
        assert np.all((np.asarray(mean) > 0) & (np.asarray(mean) < 1))


def test_draws_scatter_about_the_mean_with_the_scale_of_the_likelihood():
    vae = model(likelihood=Normal(E, scale=0.5))
    vae.likelihood.projections["loc"].kernel.assign(
        tf.zeros_like(vae.likelihood.projections["loc"].kernel)
    )
    assert float(tf.math.reduce_std(vae.sample(100))) == 0.0
    drawn = np.asarray(vae.sample(4000, draw=True))  # the variance of 64,000 values
    assert abs(drawn.var() - 0.25) < 5 * 0.25 * math.sqrt(2 / drawn.size)


SEEDED = {
    "reconstruct": lambda vae, seed: vae.reconstruct(bits(), draw=True, seed=seed),
    "sample": lambda vae, seed: vae.sample(8, seed=seed),
    "sample, drawn": lambda vae, seed: vae.sample(8, draw=True, seed=seed),
    "elbo": lambda vae, seed: vae.elbo(bits(), seed=seed),
}


@pytest.mark.parametrize("word", SEEDED)
def test_a_seed_repeats_a_draw_and_none_does_not(word):
    vae, call = model(), SEEDED[word]
    assert np.array_equal(call(vae, 1), call(vae, 1))
    assert not np.array_equal(call(vae, 1), call(vae, 2))
    assert not np.array_equal(call(vae, None), call(vae, None))


def test_a_seed_leaves_the_sequence_of_the_model_alone():
    first, second = model(seed=3), model(seed=3)
    first.sample(2, seed=11)
    second.set_weights(first.get_weights())
    assert np.array_equal(first.sample(2), second.sample(2))


def test_the_seed_of_the_model_fixes_its_draws():
    one, same, other = (model(seed=seed) for seed in (3, 3, 4))
    same.set_weights(one.get_weights())
    other.set_weights(one.get_weights())
    drawn = one.sample(2)
    assert np.array_equal(drawn, same.sample(2))
    assert not np.array_equal(drawn, other.sample(2))


# The equation, in NumPy


def weights(projection, features):
    kernel, bias = (np.asarray(w, "float64") for w in (projection.kernel, projection.bias))
    return features @ kernel + bias


def softplus(raw):
    return np.logaddexp(0, raw)


def q_parameters(vae, x):
    features = np.asarray(x, "float64").reshape(len(x), -1)
    scale = softplus(weights(vae.posterior.projections["scale_diag"], features)) + 1e-6
    return weights(vae.posterior.projections["loc"], features), scale


def kl_in_numpy(vae, x):
    loc, scale = q_parameters(vae, x)
    return 0.5 * (scale**2 + loc**2 - 1 - np.log(scale**2)).sum(-1)


def bernoulli_in_numpy(vae, x, z):
    logits = weights(vae.likelihood.projections["logits"], z)
    return (x * logits - softplus(logits)).sum(-1)


def normal_in_numpy(vae, x, z):
    loc, scale = weights(vae.likelihood.projections["loc"], z), 0.7
    return (-0.5 * ((x - loc) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)).sum(-1)


@pytest.fixture
def drawn_z(monkeypatch):
    """What the decoder is given: the draws of z, which no test can know otherwise."""
    draws, decode = [], keras_vae.VAE._likelihood
    monkeypatch.setattr(
        keras_vae.VAE,
        "_likelihood",
        lambda vae, z, *given: draws.append(np.asarray(z)) or decode(vae, z, *given),
    )
    return draws


@pytest.mark.parametrize(
    ("likelihood", "density"),
    [(Bernoulli(E), bernoulli_in_numpy), (Normal(E, scale=0.7), normal_in_numpy)],
    ids=["Bernoulli", "Normal"],
)
@pytest.mark.parametrize("num_samples", [1, 5])
def test_elbo_is_the_equation(likelihood, density, num_samples, drawn_z):
    vae, x = model(likelihood=likelihood), bits()
    elbo = vae.elbo(x, num_samples=num_samples)
    (z,) = drawn_z
    assert z.shape == (num_samples, 8, 2)
    expected = density(vae, x.reshape(8, -1), z.astype("float64")).mean(0) - kl_in_numpy(vae, x)
    np.testing.assert_allclose(elbo, expected, rtol=1e-5)


def test_the_draws_of_elbo_are_draws_of_the_posterior(drawn_z):
    vae, x = model(), bits()
    loc, scale = q_parameters(vae, x)
    vae.elbo(x, num_samples=4000)
    standard = (drawn_z[0] - loc) / scale
    assert np.abs(standard.mean(0)).max() < 5 / math.sqrt(4000)
    assert np.abs(standard.var(0) - 1).max() < 5 * math.sqrt(2 / 4000)


def test_the_expected_squared_error_of_a_normal_is_exact():
    # E_q ||x - Wz - b||^2 = ||x - W loc - b||^2 + sum_d scale_d^2 ||W_d||^2
    vae, x = model(likelihood=Normal(E, scale=0.7)), bits()
    loc, scale = q_parameters(vae, x)
    at_mean = normal_in_numpy(vae, x.reshape(8, -1), loc)
    kernel = np.asarray(vae.likelihood.projections["loc"].kernel, "float64")
    spread = (scale**2 * (kernel**2).sum(1)).sum(1) / (2 * 0.7**2)
    expected = at_mean - spread - kl_in_numpy(vae, x)
    many = np.asarray([vae.elbo(x, num_samples=500) for _ in range(20)])
    error = many.std(0, ddof=1) / math.sqrt(20)
    assert np.all(np.abs(many.mean(0) - expected) < 6 * error)


# Networks of the user's own


@keras.saving.register_keras_serializable(package="tests")
class Own(keras.Model):
    def __init__(self, units=6, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.flatten = keras.layers.Flatten()
        self.dense = keras.layers.Dense(units, activation="tanh")

    def call(self, inputs):
        return self.dense(self.flatten(inputs))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def functional(shape):
    x = keras.Input(shape)
    flat = keras.layers.Flatten()(x)
    branches = [keras.layers.Dense(3, activation=a)(flat) for a in ("tanh", "sigmoid")]
    return keras.Model(x, keras.layers.Concatenate()(branches))


def regularised():
    return keras.Sequential(
        [
            keras.layers.Flatten(),
            keras.layers.Dense(8, activation="tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
        ]
    )


NETWORKS = {
    "functional": (E, lambda: functional(E), lambda: functional((2,))),
    "Sequential": (
        E,
        lambda: keras.Sequential([keras.Input(E), keras.layers.Flatten()]),
        lambda: keras.Sequential([keras.layers.Dense(3, "tanh")]),
    ),
    "subclassed": (E, Own, Own),
    "a layer": (E, lambda: keras.layers.Dense(3, "tanh"), lambda: keras.layers.Dense(3, "tanh")),
    "Dropout and BatchNormalization": (E, regularised, regularised),
    "28 x 28": (
        (28, 28, 1),
        lambda: conv([4, 8], activation="tanh"),
        lambda: conv_transpose([8, 4], (28, 28, 1), activation="tanh"),
    ),
    "28 x 20 in colour": (
        (28, 20, 3),
        lambda: conv([4, 8, 8], activation="tanh"),
        lambda: conv_transpose([8, 4, 4], (28, 20, 3), activation="tanh"),
    ),
    "7 x 5": (
        (7, 5, 2),
        lambda: conv([4, 8], activation="tanh"),
        lambda: conv_transpose([4, 4], (7, 5, 2), activation="tanh"),
    ),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_a_gradient_reaches_every_weight_of_any_network(network):
    shape, encoder, decoder = NETWORKS[network]
    vae = model(encoder=encoder(), decoder=decoder(), likelihood=Bernoulli(shape))
    x = bits(8, shape)
    with tf.GradientTape() as tape:
        loss = vae.compute_loss(x)
    gradients = tape.gradient(loss, [v.value for v in vae.trainable_weights])
    for variable, gradient in zip(vae.trainable_weights, gradients, strict=True):
        assert gradient is not None, variable.path
        assert np.abs(gradient).max() > 0, variable.path
        assert np.isfinite(gradient).all(), variable.path
    assert vae.reconstruct(x).shape == x.shape


def test_a_convolutional_decoder_keeps_its_weights_local():
    vae = model(decoder=conv_transpose([8, 4], (28, 20, 3)), likelihood=Bernoulli((28, 20, 3)))
    assert vae.likelihood.projections["logits"].kernel.shape == (4, 3)


class Recorder(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.flags = []

    def call(self, inputs, training=None):
        self.flags.append(training)
        return keras.layers.Flatten()(inputs)


def recording():
    recorders = Recorder(), Recorder()
    vae = model(encoder=recorders[0], decoder=recorders[1])
    vae.compile("sgd", run_eagerly=True)
    for recorder in recorders:
        recorder.flags.clear()
    return vae, recorders


TRAINING = {
    "train_on_batch": (lambda vae: vae.train_on_batch(bits()), True),
    "fit": (lambda vae: vae.fit(bits(), verbose=0), True),
    "test_on_batch": (lambda vae: vae.test_on_batch(bits()), False),
    "evaluate": (lambda vae: vae.evaluate(bits(), verbose=0), False),
    "predict": (lambda vae: vae.predict(bits(), verbose=0), False),
    "reconstruct": (lambda vae: vae.reconstruct(bits()), False),
    "elbo": (lambda vae: vae.elbo(bits()), False),
    "call": (lambda vae: vae(bits()), False),
    "call in training": (lambda vae: vae(bits(), training=True), True),
}


@pytest.mark.parametrize("call", TRAINING)
def test_the_training_flag_reaches_both_networks(call):
    vae, recorders = recording()
    TRAINING[call][0](vae)
    assert [set(r.flags) for r in recorders] == [{TRAINING[call][1]}] * 2


def test_batch_normalisation_learns_its_moments_in_training_only():
    normalise = keras.layers.BatchNormalization(momentum=0.9)
    vae, x = model(encoder=keras.Sequential([keras.layers.Flatten(), normalise])), bits()
    vae.compile("sgd")
    vae.test_on_batch(x)
    assert not np.any(normalise.moving_mean)
    vae.train_on_batch(x)
    np.testing.assert_allclose(normalise.moving_mean, 0.1 * x.reshape(8, -1).mean(0), rtol=1e-5)


# What was assumed


class LaplacePosterior(DiagonalNormal):
    """A family whose KL to a Normal TFP does not know."""

    def distribution(self, parameters):
        return tfd.Independent(tfd.Laplace(parameters["loc"], parameters["scale_diag"]), 1)


def test_the_statement_is_data_and_a_page():
    vae = model(likelihood=Normal(E, scale=0.5), objective=ELBO(beta=4.0))
    said = vae.assumptions()
    data = said.as_dict()
    assert json.loads(json.dumps(data)) == data
    assert data["posterior"]["family"] == "DiagonalNormal"
    assert data["prior"]["family"] == "StandardNormal"
    assert data["likelihood"]["event_shape"] == [4, 4, 1]
    assert data["bound"]["settings"]["beta"] == 4.0
    page = said.as_markdown()
    assert page == str(said)
    for words in (
        "DiagonalNormal",
        "StandardNormal",
        "Normal",
        "weight of the KL 4, K = 1",
        "2\\sigma^2",
    ):
        assert words in page
    assert page.count("$$") == 2 * 5  # q, p(z), p(x|z), the bound, squared error


def test_squared_error_is_explained_by_its_weight_and_constant():
    said = model(likelihood=Normal(E, scale=0.5), objective=ELBO(beta=4.0)).assumptions()
    error = said.squared_error
    assert error.weight == pytest.approx(1 / (2 * 0.25))
    assert error.constant == pytest.approx(8 * math.log(2 * math.pi * 0.25))
    assert error.effective_variance == pytest.approx(4.0 * 0.25)


def test_the_weight_and_constant_make_up_the_density():
    vae, x = model(likelihood=Normal(E, scale=0.5)), bits()
    p, error = vae.decode(np.zeros((8, 2))), vae.assumptions().squared_error
    squared = ((x - np.asarray(p.mean())) ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(-p.log_prob(x), error.weight * squared + error.constant, rtol=1e-5)


def test_a_learned_scale_is_stated_as_it_is_now():
    vae = model(likelihood=Normal(E, scale="shared"))
    assert vae.assumptions().squared_error.scale == pytest.approx(1.0)
    vae.likelihood.learned["scale"].assign(np.full(vae.likelihood.learned["scale"].shape, -1.0))
    assert vae.assumptions().squared_error.weight == pytest.approx(
        1 / (2 * (math.log1p(math.exp(-1.0)) + 1e-6) ** 2)
    )


def test_a_scale_for_each_value_has_no_single_weight():
    error = model(likelihood=Normal(E, scale="per_value")).assumptions().squared_error
    assert (error.scale, error.weight, error.constant) == (None, None, None)
    assert model().assumptions().squared_error is None


@pytest.mark.parametrize(
    ("posterior", "kl"),
    [(DiagonalNormal, "exact"), (FullCovarianceNormal, "exact"), (LaplacePosterior, "sampled")],
)
def test_the_statement_says_whether_the_kl_is_exact(posterior, kl):
    said = model(posterior=posterior(2)).assumptions()
    assert said.bound.kl == kl
    assert f"the KL that is logged is {kl}" in said.as_markdown()


def test_a_sampled_kl_agrees_with_quadrature():
    vae, x = model(posterior=LaplacePosterior(2)), bits(1)
    z = np.linspace(-30, 30, 60_001)
    expected = 0.0
    for loc, scale in zip(*(v[0] for v in q_parameters(vae, x)), strict=True):
        log_q = -np.abs(z - loc) / scale - np.log(2 * scale)
        log_p = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
        expected += np.trapezoid(np.exp(log_q) * (log_q - log_p), z)
    q, p = vae.encode(x), vae.prior.distribution()
    z = q.sample(20_000, seed=(0, 1))
    terms = np.asarray(q.log_prob(z) - p.log_prob(z))[:, 0]
    kl = float(keras_vae.divergences.kl_divergence(q, p, z)[0])
    assert abs(kl - expected) < 5 * terms.std() / math.sqrt(len(terms))


def test_beta_is_stated_at_the_step_that_training_has_reached():
    schedule = keras.optimizers.schedules.PolynomialDecay(0.0, 10, 4.0)
    vae = model(likelihood=Normal(E, scale=0.5), objective=ELBO(beta=schedule))
    assert vae.assumptions().bound.beta == 0.0
    vae.compile("sgd")
    vae.optimizer.iterations.assign(5)
    said = vae.assumptions()
    assert said.bound.beta == pytest.approx(2.0)
    assert said.squared_error.effective_variance == pytest.approx(0.5)
    assert "weight of the KL 2, K = 1" in said.as_markdown()
    assert json.loads(json.dumps(said.as_dict())) == said.as_dict()


def test_every_part_states_itself():
    for part in (DiagonalNormal(2), FullCovarianceNormal(2), StandardNormal(2), Bernoulli(E)):
        said = part.statement()
        assert isinstance(said, Statement)
        assert said.family == type(part).__name__
        assert all(dataclasses.asdict(said)[key] for key in ("equation", "support", "parameters"))


# Advice

SPECTRUM = np.array([5.0, 2.0, 1.2, 0.5, 0.3, 0.1])


def gaussian_rows(spectrum=SPECTRUM, rows=200, seed=0):
    """Rows whose covariance, with 1/N, has exactly these eigenvalues."""
    rng = np.random.default_rng(seed)
    white = rng.normal(size=(rows, len(spectrum)))
    white -= white.mean(0)
    white = np.linalg.qr(white)[0] * math.sqrt(rows)
    turn = np.linalg.qr(rng.normal(size=(len(spectrum),) * 2))[0]
    return 3.0 + white * np.sqrt(spectrum) @ turn


def advise(x, likelihood, latent_size=6, beta=1.0):
    vae = model(
        likelihood=likelihood,
        posterior=DiagonalNormal(latent_size),
        prior=StandardNormal(latent_size),
        objective=ELBO(beta=beta),
    )
    return vae.check(x)


@pytest.mark.parametrize(
    ("scale", "beta", "directions"),
    [(1.0, 1.0, 3), (1.0, 1.5, 2), (1.0, 0.25, 5), (0.5, 1.0, 5), (0.5, 6.0, 2), (3.0, 1.0, 0)],
)
def test_a_direction_is_kept_if_its_eigenvalue_exceeds_beta_sigma_squared(scale, beta, directions):
    found = advise(gaussian_rows(), Normal((6,), scale=scale), beta=beta)
    assert found.directions == directions
    assert found.threshold == pytest.approx(beta * scale**2)
    assert f"keep {directions} of 6" in str(found)


def test_the_eigenvalues_are_those_of_the_mean_over_the_data():
    # The bound is a mean over N rows, and so is the covariance that it sees: 1/N, not 1/(N-1).
    found = advise(gaussian_rows(rows=20), Normal((6,)))
    np.testing.assert_allclose(found.eigenvalues, SPECTRUM, rtol=1e-6)


def test_no_more_directions_are_kept_than_there_are():
    assert advise(gaussian_rows(), Normal((6,), scale=0.1), latent_size=4).directions == 4


def correlated_bits(rows=400, values=6, seed=0):
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(rows, 1)) * np.array([2.0, 2.0, -2.0, 0.5, 0.0, 0.0])
    x = (factor + rng.normal(size=(rows, values)) > 0.3).astype("float32")
    return np.concatenate([x, np.ones((rows, 1), "float32")], 1)  # the last never varies


@pytest.mark.parametrize("beta", [0.5, 1.0, 1.2, 3.0])
def test_for_bits_the_eigenvalues_are_those_of_the_correlation(beta):
    x = correlated_bits()
    found = advise(x, Bernoulli((7,)), beta=beta)
    expected = np.linalg.eigvalsh(np.corrcoef(x[:, :-1], rowvar=False))[::-1]
    assert found.directions == (expected > beta).sum()
    assert found.threshold == beta


def test_the_eigenvalues_of_a_correlation_sum_to_the_number_of_values_that_vary():
    x = correlated_bits(rows=20)
    expected = np.linalg.eigvalsh(np.corrcoef(x[:, :-1], rowvar=False))[::-1]
    found = advise(x, Bernoulli((7,)))
    np.testing.assert_allclose(found.eigenvalues, expected, rtol=1e-6)
    assert found.eigenvalues.sum() == pytest.approx(6)


def test_bits_that_are_all_alike_keep_nothing():
    assert advise(np.ones((20, 7)), Bernoulli((7,))).directions == 0


def linear_beta_elbo(values, spectrum, latent_size, beta):
    """Minus the beta-ELBO of x = W z + noise, q(z|x) = N(V x, diag(s^2)), averaged over x."""
    size = values * latent_size

    def loss(theta):
        w = theta[:size].reshape(values, latent_size)
        v = theta[size : 2 * size].reshape(latent_size, values)
        log_s2 = theta[2 * size : -1]
        variance = np.exp(theta[-1])
        rest = np.eye(values) - w @ v
        error = np.sum(rest**2 * spectrum) + np.sum(w**2 * np.exp(log_s2))
        kl = 0.5 * (np.exp(log_s2).sum() + np.sum(v**2 * spectrum) - latent_size - log_s2.sum())
        return 0.5 * values * np.log(2 * np.pi * variance) + error / (2 * variance) + beta * kl

    return loss


def best_linear(spectrum, latent_size, beta):
    """sigma^2 and the number of directions in use at the optimum, found by plain search."""
    values = len(spectrum)
    loss = linear_beta_elbo(values, spectrum, latent_size, beta)
    found = []
    for seed in range(3):
        start = np.random.default_rng(seed).normal(size=2 * values * latent_size + latent_size + 1)
        found.append(
            scipy.optimize.minimize(
                loss, 0.5 * start, method="BFGS", options={"gtol": 1e-6, "maxiter": 3000}
            )
        )
    best = min(found, key=lambda result: result.fun).x
    log_s2 = best[2 * values * latent_size : -1]
    return np.exp(best[-1]), int((log_s2 < -0.01).sum())


@pytest.mark.parametrize(("latent_size", "beta"), [(2, 1.0), (3, 1.0), (3, 1.5), (2, 0.5)])
def test_a_learned_scale_settles_where_a_search_finds_it(latent_size, beta):
    spectrum = np.array([4.0, 1.5, 0.4, 0.3])
    variance, directions = best_linear(spectrum, latent_size, beta)
    x = gaussian_rows(spectrum)
    found = advise(x, Normal((4,), scale="shared"), latent_size, beta)
    assert found.directions == directions
    assert found.threshold == pytest.approx(beta * variance, rel=1e-3)


def test_advice_takes_beta_at_the_end_of_its_schedule_whatever_the_step():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([10], [0.0, 1.5])
    vae = model(
        likelihood=Normal((6,)),
        posterior=DiagonalNormal(6),
        prior=StandardNormal(6),
        objective=ELBO(beta=schedule),
    )
    assert vae.check(gaussian_rows()).threshold == 1.5
    vae.compile("sgd")
    vae.optimizer.iterations.assign(11)
    assert vae.check(gaussian_rows()).threshold == 1.5


def test_advice_of_a_dynamic_source_is_that_of_its_bits():
    grey = np.random.default_rng(0).random((300, 6)) ** 2
    source = keras_vae.data.Source(grey, dynamic=True)
    found = advise(source, Bernoulli((6,)))
    bits_of_it = np.random.default_rng(1).random((200, 300, 6)) < grey
    expected = np.linalg.eigvalsh(np.corrcoef(bits_of_it.reshape(-1, 6), rowvar=False))[::-1]
    # Each correlation of 60,000 rows has a standard error of 1 / sqrt(60,000).
    np.testing.assert_allclose(found.eigenvalues, expected, atol=6 / math.sqrt(60_000))


def test_advice_refuses_a_bad_value_wherever_it_is():
    x = gaussian_rows()
    x[7, 3] = np.nan
    with pytest.raises(ValueError, match=r"nan at index \[7, 3\]"):
        advise(x, Normal((6,)))


def test_advice_on_part_of_the_values_is_advice_on_all(monkeypatch):
    # One factor in all 60 values: an eigenvalue of 60 * 0.1, above sigma^2 = 1 in all of
    # them together, below it in any tenth of them.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 1)) * math.sqrt(0.1) * np.ones((1, 60))
    monkeypatch.setattr(advice, "MAX_VALUES", 6)
    assert advise(x, Normal((60,))).directions == 1


def test_advice_looks_at_no_more_rows_than_it_says(monkeypatch):
    rows = []
    monkeypatch.setattr(np, "cov", lambda x, **_: rows.append(len(x)) or np.eye(x.shape[1]))
    advise(np.random.default_rng(0).normal(size=(19_999, 6)), Normal((6,)))
    assert max(rows, default=0) <= advice.MAX_ROWS


# What the advice foresees, happens


def trained(likelihood):
    x = gaussian_rows(0.04 * SPECTRUM, rows=512).astype("float32") - 3.0
    vae = model(likelihood=likelihood)
    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.05, 240)))
    vae.fit(x, batch_size=32, epochs=15, verbose=0)
    return vae, x


def test_a_fit_that_keeps_nothing_warns_and_ends_without_information():
    with pytest.warns(UserWarning, match=r"keep 0 of 2 latent directions.*lower"):
        vae, x = trained(Normal((6,), scale=1.0))
    assert kl_in_numpy(vae, x).mean() < 0.02


def test_the_same_data_under_a_smaller_scale_is_encoded():
    vae, x = trained(Normal((6,), scale=0.1))
    assert kl_in_numpy(vae, x).mean() > 1.0


def test_the_gradient_of_q_reaches_x():
    vae = keras_vae.VAE(
        keras_vae.networks.mlp([3]),
        keras_vae.networks.mlp([3]),
        DiagonalNormal(2),
        StandardNormal(2),
        Normal((4,)),
    )
    x = tf.ones((2, 4))
    with tf.GradientTape() as tape:
        tape.watch(x)
        loc = vae.encode(x).mean()
    assert np.abs(tape.gradient(loc, x)).max() > 0


def test_parts_of_different_precision_are_refused():
    with pytest.raises(ValueError, match=r"posterior\.density_dtype=float64"):
        keras_vae.VAE(
            keras_vae.networks.mlp([3]),
            keras_vae.networks.mlp([3]),
            DiagonalNormal(2, dtype="float64"),
            StandardNormal(2),
            Normal((4,)),
        )


def test_advice_takes_the_beta_that_a_schedule_ends_with():
    rising = keras.optimizers.schedules.PolynomialDecay(0.0, 10, 1.0)
    vae = keras_vae.VAE(
        keras_vae.networks.mlp([3]),
        keras_vae.networks.mlp([3]),
        DiagonalNormal(2),
        StandardNormal(2),
        Normal((4,), scale=5.0),
        keras_vae.objectives.ELBO(beta=rising),
    )
    x = np.random.default_rng(0).normal(size=(50, 4)).astype("float32")
    assert vae.check(x).threshold == pytest.approx(25.0)
    vae.compile()
    for data in (x, tf.data.Dataset.from_tensor_slices(x).batch(10)):
        with pytest.warns(UserWarning, match="keep 0 of 2"):
            vae.fit(data, verbose=0, epochs=1)
        vae.likelihood.projections["loc"].bias.assign(np.zeros(4))


def test_advice_for_a_scale_of_each_value_reads_the_correlations():
    x = np.random.default_rng(0).normal(size=(4000, 4)) * [10.0, 5.0, 1.0, 0.1]
    source = keras_vae.data.Source(x)
    found = advice.linear_directions(source, Normal((4,), scale="per_value"), 2, beta=1.1)
    assert found.directions == 0
    assert found.eigenvalues.sum() == pytest.approx(4.0)


def test_grey_bytes_in_a_normal_are_refused_with_the_remedy():
    x = np.random.default_rng(0).integers(0, 256, (5, 4), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"holds bytes.*divisor=255.*astype"):
        Normal((4,)).check(x)
    Normal((4,)).check(x.astype("float32"))


@pytest.mark.parametrize("build", [mlp, conv])
@pytest.mark.parametrize("widths", [128, "128", [0], [-1], [1.5]])
def test_widths_that_are_no_list_of_positive_integers_are_refused(build, widths):
    with pytest.raises(ValueError, match=rf"of {build.__name__} has a positive integer"):
        build(widths)


@pytest.mark.parametrize("count", [0, -1, "a", 1.5])
def test_a_number_of_draws_is_a_positive_integer(count):
    for draw in (model().sample, lambda n: model().elbo(np.zeros((1, *E)), n)):
        with pytest.raises(ValueError, match=r"`num_samples`.*a positive integer"):
            draw(count)


def test_what_is_no_data_is_named():
    for given in (keras_vae.data.load("digits"), None, {"x": 1}, "digits"):
        with pytest.raises(ValueError, match=rf"Received: {type(given).__name__}"):
            model().fit(given)


def test_advice_from_one_example_is_refused():
    with pytest.raises(ValueError, match="at least 2 examples"):
        model().check(np.zeros((1, *E)))
