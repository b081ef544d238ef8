"""Each density of a conditional model is one given the condition, however it is handed over."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from parts import assert_close_to_mean
from scipy import stats

import keras_vae
from keras_vae.conditions import OneHot, Vector
from keras_vae.data import Source
from keras_vae.likelihoods import Bernoulli, NegativeBinomial, Normal, Poisson
from keras_vae.networks import conv, conv_transpose, mlp
from keras_vae.posteriors import DiagonalNormal, FullCovarianceNormal
from keras_vae.priors import ConditionalNormal, StandardNormal, VampPrior

E = (5,)
ROWS = 12
NAMES = ["loss", "elbo", "log_likelihood", "kl"]


def model(condition, likelihood=None, prior=None, eagerly=True, **parts):
    """A small one, all of its weights random."""
    parts = {"encoder": mlp([6], "tanh"), "decoder": mlp([6], "tanh"), **parts}
    vae = keras_vae.VAE(
        posterior=parts.pop("posterior", None) or DiagonalNormal(2),
        prior=prior or StandardNormal(2),
        likelihood=likelihood or Bernoulli(E),
        condition=condition,
        seed=0,
        **parts,
    )
    vae.compile("sgd", run_eagerly=eagerly, jit_compile=False)
    random = np.random.default_rng(0)
    for weight in vae.trainable_weights:
        weight.assign(0.5 * random.normal(size=weight.shape))
    return vae


def without_noise(vae):
    """Makes z = loc, whatever is drawn."""
    scale = vae.posterior.projections["scale_diag"]
    scale.kernel.assign(np.zeros(scale.kernel.shape))
    scale.bias.assign([-100.0, -100.0])


def bits(rows=ROWS, shape=E):
    return (np.random.default_rng(1).random((rows, *shape)) > 0.5).astype("float32")


def vectors(rows=ROWS, size=3):
    return np.random.default_rng(2).normal(size=(rows, size)).astype("float32")


def classes(rows=ROWS, count=3):
    return np.arange(rows) % count


def layer(inputs, dense):
    return inputs @ dense.kernel.numpy() + dense.bias.numpy()


def one_hot(values, count=3):
    return np.eye(count, dtype="float32")[values]


# The networks see x and the condition side by side

GIVEN = {
    "a vector": (lambda: Vector(3), vectors(), vectors()),
    "a class": (lambda: OneHot(3), classes(), one_hot(classes())),
}


@pytest.mark.parametrize("kind", GIVEN)
def test_encode_is_the_network_of_x_and_the_condition(kind):
    condition, given, vector = GIVEN[kind]
    vae, x = model(condition()), bits()
    features = np.tanh(layer(np.concatenate([x, vector], 1), vae.encoder.layers[-1]))
    q = vae.encode(x, given)
    heads = vae.posterior.projections
    np.testing.assert_allclose(q.mean(), layer(features, heads["loc"]), rtol=1e-4, atol=1e-5)
    scale = np.log1p(np.exp(layer(features, heads["scale_diag"]))) + 1e-6
    np.testing.assert_allclose(q.stddev(), scale, rtol=1e-4)


@pytest.mark.parametrize("kind", GIVEN)
def test_decode_is_the_network_of_z_and_the_condition(kind):
    condition, given, vector = GIVEN[kind]
    vae, z = (
        model(condition()),
        np.random.default_rng(3).normal(size=(4, ROWS, 2)).astype("float32"),
    )
    both = np.concatenate([z, np.broadcast_to(vector, (4, *vector.shape))], -1)
    features = np.tanh(layer(both, vae.decoder.layers[-1]))
    probs = 1 / (1 + np.exp(-layer(features, vae.likelihood.projections["logits"])))
    np.testing.assert_allclose(vae.decode(z, given).mean(), probs, rtol=1e-4)  # [K, B]
    np.testing.assert_allclose(vae.decode(z[1], given).mean(), probs[1], rtol=1e-4)  # [B]


def test_an_image_has_the_condition_as_constant_channels():
    vae = model(
        Vector(3),
        Bernoulli((4, 4, 1)),
        encoder=conv([3], activation="tanh"),
        decoder=conv_transpose([3], (4, 4, 1), activation="tanh"),
    )
    x, c = bits(shape=(4, 4, 1)), vectors()
    channels = np.broadcast_to(c[:, None, None], (ROWS, 4, 4, 3))
    features = vae.encoder(np.concatenate([x, channels], -1))
    found = vae.encode(x, c).mean()
    np.testing.assert_allclose(found, vae.posterior(features)["loc"], rtol=1e-5)
    z = np.zeros((ROWS, 2), "float32")
    logits = vae.likelihood(vae.decoder(np.concatenate([z, c], -1)))["logits"]
    np.testing.assert_allclose(vae.decode(z, c).mean(), tf.sigmoid(logits), rtol=1e-5)
    assert np.isfinite(vae.fit(x, c, verbose=0).history["elbo"]).all()


def test_a_count_is_given_to_the_encoder_as_its_logarithm_and_the_condition_as_it_is():
    vae = model(Vector(3), Poisson(E))
    x, c = np.arange(ROWS * 5).reshape(ROWS, 5).astype("float32"), vectors()
    features = np.tanh(layer(np.concatenate([np.log1p(x), c], 1), vae.encoder.layers[-1]))
    found = vae.encode(x, c).mean()
    np.testing.assert_allclose(
        found, layer(features, vae.posterior.projections["loc"]), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "float64"])
def test_a_conditional_model_of_another_precision(policy):
    keras.config.set_dtype_policy(policy)
    vae = model(Vector(3), prior=ConditionalNormal(2))
    history = vae.fit(bits(), vectors(), verbose=0).history
    assert np.isfinite([history[name] for name in NAMES]).all()
    assert vae.elbo(bits(), condition=vectors()).dtype == vae.density_dtype


# Against a closed form


def linear_gaussian():
    """p(z|c) = N(m(c), S), p(x|z, c) = N(W z + V c + b, s^2 I), and the exact q(z|x, c)."""
    vae = model(
        Vector(3),
        Normal(E, scale=0.7),
        ConditionalNormal(2),
        posterior=FullCovarianceNormal(2),
        encoder=mlp([]),
        decoder=mlp([]),
    )
    prior, out = vae.prior, vae.likelihood.projections["loc"]
    of_condition = lambda c: layer(c, prior.loc)  # noqa: E731
    covariance = np.diag((np.log1p(np.exp(prior.raw_scale.bias.numpy())) + 1e-6) ** 2)
    prior.raw_scale.kernel.assign(np.zeros(prior.raw_scale.kernel.shape))  # S for every c
    w, v = out.kernel.numpy()[:2], out.kernel.numpy()[2:]
    precision = np.linalg.inv(covariance) + w @ w.T / 0.49
    exact = np.linalg.inv(precision)
    # E[z|x, c] = exact (S^-1 m(c) + W (x - V c - b) / s^2), affine in x and c.
    to_x = exact @ w / 0.49
    to_m = exact @ np.linalg.inv(covariance)
    heads = vae.posterior.projections
    kernel = np.concatenate([to_x.T, (prior.loc.kernel.numpy() @ to_m.T) - v @ to_x.T])
    heads["loc"].kernel.assign(kernel)
    heads["loc"].bias.assign(to_m @ prior.loc.bias.numpy() - to_x @ out.bias.numpy())
    mean = lambda c: of_condition(c) @ w + c @ v + out.bias.numpy()  # noqa: E731
    return vae, mean, w.T @ covariance @ w + 0.49 * np.eye(5), exact


def test_the_bound_given_the_condition_is_the_closed_form():
    vae, mean, covariance, exact = linear_gaussian()
    random = np.random.default_rng(5)
    x, c = random.normal(size=(4, 5)).astype("float32"), vectors(4)
    log_p = [
        stats.multivariate_normal(m, covariance).logpdf(row)
        for m, row in zip(mean(c), x, strict=True)
    ]
    # ELBO = log p(x|c) - KL(q || p(z|x, c)): here q has the exact mean, and another covariance.
    q = vae.encode(x, c)
    own = np.asarray(q.covariance(), "float64")
    gap = 0.5 * (
        np.trace(np.linalg.inv(exact) @ own, axis1=1, axis2=2)
        - 2
        + np.linalg.slogdet(exact)[1]
        - np.linalg.slogdet(own)[1]
    )
    draws = [vae.elbo(x, num_samples=200, seed=seed, condition=c) for seed in range(20)]
    assert_close_to_mean(np.stack(draws), log_p - gap)


def test_the_density_given_the_condition_is_the_closed_form():
    """p(x|c) by summing decode over a grid of z with the weights of p(z|c)."""
    vae, mean, covariance, _ = linear_gaussian()
    x, c = np.random.default_rng(5).normal(size=(3, 5)).astype("float32"), vectors(3)
    axis = np.linspace(-9, 9, 181)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 1, 2).astype("float32")
    z = np.repeat(grid, 3, axis=1)  # [K, B, D]
    log_joint = np.asarray(vae.decode(z, c).log_prob(x) + vae.prior_given(c).log_prob(z), "float64")
    found = np.exp(log_joint).sum(0) * (axis[1] - axis[0]) ** 2
    expected = [
        stats.multivariate_normal(m, covariance).pdf(row) for m, row in zip(mean(c), x, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_samples_given_the_condition_are_of_the_closed_form():
    vae, mean, covariance, _ = linear_gaussian()
    c = vectors(1)
    x = vae.sample(4000, draw=True, seed=3, condition=c).numpy()
    error = np.sqrt(np.diag(covariance) / len(x))
    assert np.all(np.abs(x.mean(0) - mean(c)[0]) < 4 * error)
    np.testing.assert_allclose(np.cov(x.T), covariance, atol=0.12 * covariance.max())


# Every kind of data says the same


class Batches(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def cut(*arrays):
    """Batches of 5, the last one smaller."""
    return [tuple(a[i : i + 5] for a in arrays) for i in range(0, ROWS, 5)]


def dataset(value):
    return tf.data.Dataset.from_tensor_slices(value).batch(5)


ENTRIES = {
    "arrays": lambda x, c: (x, c),
    "a dict of what goes with x": lambda x, c: (x, {"condition": c}),
    "lists": lambda x, c: (x.tolist(), c.tolist()),
    "tensors": lambda x, c: (tf.constant(x), tf.constant(c)),
    "a source": lambda x, c: (Source(x, condition=c),),
    "a source and the condition": lambda x, c: (Source(x), c),
    "tf.data": lambda x, c: (dataset((x, c)),),
    "tf.data with a dict": lambda x, c: (dataset((x, {"condition": c})),),
    "tf.data of dicts": lambda x, c: (dataset({"x": x, "condition": c}),),
    "a generator": lambda x, c: (iter(cut(x, c)),),
    "a generator with dicts": lambda x, c: (iter([(x, {"condition": c}) for x, c in cut(x, c)]),),
    "a generator of dicts": lambda x, c: (iter([{"x": x, "condition": c} for x, c in cut(x, c)]),),
    "a PyDataset": lambda x, c: (Batches(cut(x, c)),),
    "a PyDataset of dicts": lambda x, c: (
        Batches([({"x": x, "condition": c},) for x, c in cut(x, c)]),
    ),
}
WEIGHTED = {
    "tf.data": lambda x, c, w: (dataset((x, c, w)),),
    "tf.data of dicts": lambda x, c, w: (dataset({"x": x, "condition": c, "sample_weight": w}),),
    "a generator": lambda x, c, w: (iter(cut(x, c, w)),),
    "a PyDataset": lambda x, c, w: (Batches(cut(x, c, w)),),
}
KINDS = {"Vector": (Vector, vectors()), "OneHot": (OneHot, classes())}


def steps(entry, name="steps_per_epoch"):
    return {name: 3} if "generator" in entry else {}


def check_logs(found, expected):
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, err_msg=name)


@pytest.fixture(scope="module")
def kind(request):
    """A kind of condition, and what fit, evaluate and predict give for arrays."""
    keras.utils.set_random_seed(0)
    make, c = KINDS[request.param]
    x, weights = bits(), np.linspace(0, 2, ROWS).astype("float32")
    vae = model(make(3))
    history = vae.fit(x, c, batch_size=5, shuffle=False, verbose=0).history
    logs = vae.evaluate(x, c, batch_size=5, verbose=0, return_dict=True)
    mean = vae.predict(x, batch_size=5, verbose=0, condition=c)
    other = model(make(3))
    weighted = other.fit(
        x, c, batch_size=5, shuffle=False, verbose=0, sample_weight=weights
    ).history
    return make, (x, c, weights), (history, logs, mean, weighted)


@pytest.mark.parametrize("kind", ["OneHot"], indirect=True)
@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_gives_the_same_numbers(kind, entry):
    make, (x, c, _), (history, logs, mean, _) = kind
    vae, give = model(make(3)), ENTRIES[entry]
    found = vae.fit(*give(x, c), batch_size=5, shuffle=False, verbose=0, **steps(entry))
    check_logs(found.history, history)
    given = give(x, c)
    found = vae.evaluate(*given, batch_size=5, verbose=0, return_dict=True, **steps(entry, "steps"))
    check_logs(found, logs)
    given = give(x, c)
    beside = {} if len(given) == 1 else {"condition": c}
    found = vae.predict(given[0], batch_size=5, verbose=0, **beside, **steps(entry, "steps"))
    np.testing.assert_allclose(found, mean, rtol=1e-5)


@pytest.mark.parametrize("kind", ["Vector"], indirect=True)
@pytest.mark.parametrize("entry", WEIGHTED)
def test_every_weighted_entry_gives_the_same_numbers(kind, entry):
    make, (x, c, weights), (*_, weighted) = kind
    vae = model(make(3))
    given = WEIGHTED[entry](x, c, weights)
    found = vae.fit(*given, batch_size=5, shuffle=False, verbose=0, **steps(entry))
    check_logs(found.history, weighted)


def test_a_row_keeps_its_condition_when_the_rows_are_shuffled():
    x, c = bits(), vectors()
    seen = []

    @keras.saving.register_keras_serializable(package="tests_of_conditions")
    class Noting(keras.layers.Layer):
        def call(self, inputs):
            if not tf.is_symbolic_tensor(inputs):
                seen.append(np.asarray(inputs))
            return 1 * inputs

        def compute_output_shape(self, shape):
            return shape

    vae = model(Vector(3), encoder=Noting())
    vae.fit(x, c, batch_size=5, epochs=2, verbose=0)
    epochs = np.concatenate(seen[-6:]).reshape(2, ROWS, 8)
    rows = np.concatenate([x, c], 1)
    for epoch in epochs:
        assert not np.array_equal(epoch, rows)
        np.testing.assert_array_equal(epoch[np.argsort(epoch[:, -1])], rows[np.argsort(c[:, -1])])


@pytest.mark.parametrize("name", KINDS)
def test_a_split_validates_on_the_last_rows_with_their_conditions(name):
    make, c = KINDS[name]
    x, weights = bits(), np.linspace(0, 2, ROWS)
    split = model(make(3)).fit(
        x, c, validation_split=0.25, sample_weight=weights, shuffle=False, verbose=0
    )
    apart = model(make(3)).fit(
        x[:9],
        c[:9],
        validation_data=(x[9:], c[9:], weights[9:]),
        sample_weight=weights[:9],
        shuffle=False,
        verbose=0,
    )
    check_logs(split.history, apart.history)


@pytest.mark.parametrize(
    "held_out",
    [
        lambda x, c: (x, c),
        lambda x, c: (x, {"condition": c}),
        lambda x, c: Source(x, condition=c),
        lambda x, c: dataset((x, c)),
    ],
)
def test_every_kind_of_validation_data_gives_the_same_numbers(held_out):
    x, c = bits(), vectors()
    vae = model(Vector(3))
    vae.optimizer.learning_rate = 0.0
    found = vae.fit(x, c, validation_data=held_out(x, c), verbose=0).history
    assert found["val_kl"] == pytest.approx(
        [vae.evaluate(x, c, verbose=0, return_dict=True)["kl"]], rel=1e-5
    )


def test_batches_by_hand_are_those_of_evaluate():
    x, c = bits(), classes()
    vae = model(OneHot(3))
    kl = vae.evaluate(x, c, batch_size=ROWS, verbose=0, return_dict=True)["kl"]
    assert vae.test_on_batch(x, c, return_dict=True)["kl"] == pytest.approx(kl, rel=1e-5)
    assert vae.train_on_batch(x, c, return_dict=True)["kl"] == pytest.approx(kl, rel=1e-5)
    found = vae.predict_on_batch(x, condition=c)
    np.testing.assert_allclose(found, vae.reconstruct(x, condition=c), rtol=1e-5)
    np.testing.assert_allclose(vae.predict_on_batch(Source(x, condition=c)), found, rtol=1e-6)


def test_compiled_steps_give_the_numbers_of_eager_ones():
    x, c = bits(), classes()
    expected = model(OneHot(3)).fit(x, c, batch_size=5, epochs=2, verbose=0).history
    compiled = model(OneHot(3), eagerly=False)
    check_logs(compiled.fit(x, c, batch_size=5, epochs=2, verbose=0).history, expected)


def test_xla_compiles_a_step_with_a_condition():
    x, c = bits(), classes()
    found = []
    for jit_compile in (False, True):
        vae = model(OneHot(3), eagerly=False)
        vae.compile("sgd", jit_compile=jit_compile)
        without_noise(vae)  # XLA draws other numbers
        found.append(vae.fit(x, c, batch_size=6, verbose=0).history)
    for name in NAMES:
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-4, err_msg=name)


def test_the_bound_learns_what_the_condition_tells():
    """x is its class: with the condition z is not needed, and log p(x|c) is near 0."""
    c = np.random.default_rng(0).integers(0, 3, 60)
    x = one_hot(c)
    vae = model(OneHot(3), Bernoulli((3,)))
    vae.compile(keras.optimizers.Adam(0.1), jit_compile=False)
    vae.fit(x, c, batch_size=60, epochs=40, verbose=0)
    right, wrong = (float(np.mean(vae.elbo(x, condition=k))) for k in (c, (c + 1) % 3))
    assert right > -0.5
    assert wrong < right - 2
    drawn = vae.sample(30, draw=True, seed=0, condition=np.arange(30) % 3).numpy()
    assert (drawn.argmax(1) == np.arange(30) % 3).mean() > 0.8


# One condition for all rows

ONE = {
    "a vector": (lambda: Vector(3), np.array([0.5, -1, 2])),
    "a vector as a list": (lambda: Vector(3), [0.5, -1, 2]),
    "a row": (lambda: Vector(3), np.array([[0.5, -1, 2]])),
    "a number": (lambda: Vector(1), 0.5),
    "a vector of one": (lambda: Vector(1), [0.5]),
    "a class": (lambda: OneHot(3), 2),
    "a class of NumPy": (lambda: OneHot(3), np.int64(2)),
    "a list of one class": (lambda: OneHot(3), [2]),
}


@pytest.mark.parametrize("one", ONE)
@pytest.mark.parametrize("rows", [1, 3, 5])
def test_one_condition_stands_for_all_rows(one, rows):
    make, value = ONE[one]
    vae, x, z = model(make()), bits(rows), vectors(rows, 2)
    each = np.repeat(np.atleast_1d(np.squeeze(value))[None], rows, 0)
    each = each[:, 0] if isinstance(vae.condition, OneHot) else each
    for call in (
        lambda c: vae.sample(rows, seed=1, condition=c),
        lambda c: vae.sample(rows, draw=True, seed=1, condition=c),
        lambda c: vae.encode(x, c).mean(),
        lambda c: vae.encode(tf.constant(x), c).mean(),
        lambda c: vae.decode(z, c).mean(),
        lambda c: vae.decode(z[None], c).mean(),
        lambda c: vae.reconstruct(x, condition=c),
        lambda c: vae.elbo(x, seed=1, condition=c),
        lambda c: vae.predict(x, condition=c, verbose=0),
    ):
        np.testing.assert_array_equal(call(value), call(each))


def test_a_vector_of_one_number_needs_no_axis_in_fit():
    c = vectors(size=1)
    found = model(Vector(1)).fit(bits(), c[:, 0], shuffle=False, verbose=0).history
    check_logs(found, model(Vector(1)).fit(bits(), c, shuffle=False, verbose=0).history)


def test_the_prior_given_a_condition_has_a_row_for_each():
    vae = model(Vector(3), prior=ConditionalNormal(2))
    assert vae.prior_given(vectors(5)).batch_shape == [5]
    assert vae.prior_given(vectors(1)[0]).batch_shape == [1]
    of_classes = model(OneHot(3), prior=ConditionalNormal(2))
    assert of_classes.prior_given(classes(5)).batch_shape == [5]
    assert of_classes.prior_given(2).batch_shape == [1]
    c = vectors(5)
    np.testing.assert_allclose(
        vae.prior_given(c).mean(), layer(c, vae.prior.loc), rtol=1e-5, atol=1e-6
    )
    plain = model(Vector(3))
    assert plain.prior_given().batch_shape == []
    assert plain.prior_given(vectors(5)).batch_shape == []


def test_a_prior_of_posteriors_starts_from_pairs_of_x_and_condition():
    vae = model(Vector(3), prior=VampPrior(2, ROWS))
    for projection in vae.likelihood.projections.values():
        projection.bias.assign(np.zeros(projection.bias.shape))  # as it is before training
    vae.optimizer.learning_rate = 0.0
    vae.fit(bits(), vectors(), verbose=0)
    expected = np.concatenate([bits(), vectors()], 1)
    np.testing.assert_allclose(vae.prior.inputs, expected, rtol=1e-6)


# What is refused, wherever it comes in

CALLS = {
    "fit": lambda vae, x, c: vae.fit(x, c, verbose=0),
    "evaluate": lambda vae, x, c: vae.evaluate(x, c, verbose=0),
    "predict": lambda vae, x, c: vae.predict(x, condition=c, verbose=0),
    "train_on_batch": lambda vae, x, c: vae.train_on_batch(x, c),
    "test_on_batch": lambda vae, x, c: vae.test_on_batch(x, c),
    "predict_on_batch": lambda vae, x, c: vae.predict_on_batch(x, condition=c),
    "encode": lambda vae, x, c: vae.encode(x, c),
    "encode of a tensor": lambda vae, x, c: vae.encode(tf.constant(x), c),
    "elbo": lambda vae, x, c: vae.elbo(x, condition=c),
    "reconstruct": lambda vae, x, c: vae.reconstruct(x, condition=c),
    "impute": lambda vae, x, c: vae.impute(x, condition=c),
    "decode": lambda vae, x, c: vae.decode(np.zeros((ROWS, 2)), c),
    "sample": lambda vae, x, c: vae.sample(ROWS, condition=c),
    "validation_data": lambda vae, x, c: vae.fit(
        x, good(vae), validation_data=x if c is None else (x, c), verbose=0
    ),
}
BATCHED = {
    "tf.data": lambda vae, x, c: vae.fit(dataset(x if c is None else (x, c)), verbose=0),
    "a generator": lambda vae, x, c: vae.fit(
        iter([(x,) if c is None else (x, c)]), steps_per_epoch=1, verbose=0
    ),
    "a PyDataset": lambda vae, x, c: vae.fit(Batches([(x,) if c is None else (x, c)]), verbose=0),
}


def good(vae):
    return classes() if isinstance(vae.condition, OneHot) else vectors()


WRONG = {
    "no condition": (
        Vector,
        None,
        r"conditional\. Expected: .*a vector of 3.*Received: None\. Pass",
    ),
    "no class": (OneHot, None, r"conditional\. Expected: .*a class of 3.*Received: None\. Pass"),
    "a class that is not there": (
        OneHot,
        np.where(np.arange(ROWS) == 3, 3, 0),
        r"`condition.*from 0 to 2.*Received: 3 at index \[\d\]\. Count",
    ),
    "one-hot": (OneHot, one_hot(classes()), r"`condition.*one-hot already.*argmax"),
    "NaN": (
        Vector,
        np.where(np.arange(3 * ROWS).reshape(ROWS, 3) == 1, np.nan, 0),
        r"`condition.*not finite.*nan at index \[0, 1\]",
    ),
    "strings": (OneHot, np.array(["a"] * ROWS), r"`condition.*dtype <U1.*np\.unique"),
    "a vector too long": (Vector, vectors(size=4), r"`condition.*\[B, 3\].*Received: \[\d+, 4\]"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_condition_is_refused_by_every_entry(wrong):
    make, c, message = WRONG[wrong]
    vae = model(make(3))
    before = vae.get_weights()
    for entry, call in {**CALLS, **BATCHED}.items():
        if wrong == "strings" and entry in BATCHED:
            continue  # TensorFlow's own business
        with pytest.raises(ValueError, match=rf"(?s){message}"):
            call(vae, bits(), c)
        assert int(vae.optimizer.iterations) == 0, entry
    for one, other in zip(vae.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("rows", [0, ROWS - 1, ROWS + 1])
@pytest.mark.parametrize("call", CALLS)
def test_a_condition_with_another_number_of_rows_is_refused(call, rows):
    argument = "(`condition`|`condition of validation_data`)"
    message = rf"(?s){argument} does not go with.*Expected: {ROWS} rows.*Received: shape \[{rows}"
    with pytest.raises(ValueError, match=message):
        CALLS[call](model(OneHot(3)), bits(), classes(rows))


def test_a_source_with_another_number_of_conditions_is_refused():
    for given in ({"condition": classes(3)}, {"condition": 1}, {"size_factor": np.ones(3)}):
        name = next(iter(given))
        with pytest.raises(ValueError, match=rf"`{name}` does not go with x.*{ROWS} rows.*Give"):
            Source(bits(), **given)


@pytest.mark.parametrize("entry", ["tf.data", "a generator", "a PyDataset"])
def test_a_wrong_condition_in_a_later_batch_is_refused_by_its_number(entry):
    c = classes()
    c[7] = 5
    with pytest.raises(
        ValueError, match=r"`condition of batch 1 of x`.*Received: 5 at index \[2\]"
    ):
        model(OneHot(3), eagerly=False).fit(
            *ENTRIES[entry](bits(), c), verbose=0, steps_per_epoch=3
        )


def test_a_batch_whose_conditions_are_too_few_is_refused():
    batches = [(x, c[:-1]) for x, c in cut(bits(), classes())]
    with pytest.raises(ValueError, match=r"`condition of batch 0 of x` does not go with batch 0"):
        model(OneHot(3)).fit(Batches(batches), verbose=0)


@pytest.mark.parametrize(
    "batch",
    [
        lambda x, c: {"x": x, "conditions": c},
        lambda x, c: (x, {"conditions": c}),
    ],
)
@pytest.mark.parametrize("kind", ["tf.data", "a generator", "a PyDataset"])
def test_an_unknown_name_is_refused(batch, kind):
    if kind == "tf.data":
        data = dataset(batch(bits(), classes()))
    else:
        data = [batch(x, c) for x, c in cut(bits(), classes())]
        data = iter(data) if kind == "a generator" else Batches(data)
    with pytest.raises(
        ValueError, match=r"(?s)has names.*'condition' and 'size_factor'.*'conditions'"
    ):
        model(OneHot(3)).fit(data, steps_per_epoch=2, verbose=0)


def test_a_dict_of_arrays_with_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"`x` has names.*'condition' and 'size_factor'.*'label'"):
        model(OneHot(3)).fit(bits(), {"label": classes()}, verbose=0)


def test_a_batch_without_x_is_refused():
    with pytest.raises(
        ValueError, match=r"without x\. Expected: 'x'.*Received: 'image', 'condition'"
    ):
        model(OneHot(3)).fit(dataset({"image": bits(), "condition": classes()}), verbose=0)


def test_a_condition_beside_batches_is_refused():
    with pytest.raises(
        ValueError, match=r"Batches bring along.*\(x, condition\).*Received: y beside"
    ):
        model(OneHot(3)).fit(dataset(bits()), classes(), verbose=0)


def test_a_model_of_x_alone_takes_no_condition():
    vae = model(None)
    for entry, call in CALLS.items():
        if entry != "validation_data":
            with pytest.raises(ValueError, match=r"(?s)no target.*y=None.*conditions\.OneHot"):
                call(vae, bits(), classes())
    with pytest.raises(ValueError, match=r"(?s)no target"):
        vae.fit(Source(bits(), condition=classes()), verbose=0)


def test_a_prior_given_a_condition_needs_a_model_with_one():
    with pytest.raises(ValueError, match=r"`prior` ConditionalNormal.*Expected: a condition.*None"):
        model(None, prior=ConditionalNormal(2))


@pytest.mark.parametrize("condition", ["OneHot", OneHot, 3])
def test_the_condition_is_of_its_kind(condition):
    with pytest.raises(TypeError, match=r"`condition` of VAE is not of its kind.*Condition"):
        model(condition)


# Size factors


def counts(rows=ROWS):
    return np.random.default_rng(3).poisson(3, (rows, *E)).astype("float32")


def factors(rows=ROWS):
    return np.exp(np.random.default_rng(4).normal(size=rows)).astype("float32")


def counting(condition=None, make=Poisson):
    return model(condition, make(E, size_factor=True))


def test_a_size_factor_multiplies_the_mean():
    vae, s, z = counting(), factors(), np.zeros((2, ROWS, 2), "float32")
    without = vae.decode(z).mean()
    np.testing.assert_allclose(vae.decode(z, size_factor=s).mean(), s[:, None] * without, rtol=1e-5)
    one = vae.decode(z, size_factor=2.0).mean()
    np.testing.assert_allclose(one, 2 * without, rtol=1e-5)
    x = vae.sample(ROWS, seed=0, size_factor=s) / vae.sample(ROWS, seed=0)
    np.testing.assert_allclose(x, np.repeat(s[:, None], 5, 1), rtol=1e-4)


@pytest.mark.parametrize("make", [Poisson, NegativeBinomial])
def test_the_bound_is_of_the_scaled_counts(make):
    vae, x, s = counting(make=make), counts(), factors()
    found = vae.elbo(x, num_samples=3, seed=1, size_factor=s)
    q = vae.encode(x)
    z = q.sample(3, seed=tf.constant([1, 0]))
    by_hand = tf.reduce_mean(vae.decode(z, size_factor=s).log_prob(x), 0)
    np.testing.assert_allclose(found, by_hand - q.kl_divergence(vae.prior_given()), rtol=1e-5)


SIZED = {
    "a dict": lambda x, s: (x, {"size_factor": s}),
    "a source": lambda x, s: (Source(x, size_factor=s),),
    "tf.data": lambda x, s: (dataset((x, {"size_factor": s})),),
    "tf.data of dicts": lambda x, s: (dataset({"x": x, "size_factor": s.astype("float64")}),),
    "a generator": lambda x, s: (iter([(x, {"size_factor": s}) for x, s in cut(x, s)]),),
    "a PyDataset": lambda x, s: (Batches([(x, {"size_factor": s}) for x, s in cut(x, s)]),),
}


def test_every_entry_of_a_size_factor_gives_the_same_numbers():
    logs, evaluated = None, None
    for entry, give in SIZED.items():
        vae = counting()
        given = give(counts(), factors())
        found = vae.fit(*given, batch_size=5, shuffle=False, verbose=0, **steps(entry)).history
        logs = logs or found
        check_logs(found, logs)
        given = give(counts(), factors())
        found = vae.evaluate(
            *given, batch_size=5, verbose=0, return_dict=True, **steps(entry, "steps")
        )
        evaluated = evaluated or found
        check_logs(found, evaluated)
    vae = counting()
    x = vae.predict(counts(), size_factor=factors(), verbose=0)
    np.testing.assert_allclose(x, vae.reconstruct(counts(), size_factor=factors()), rtol=1e-5)


def test_a_size_factor_and_a_condition_go_together():
    vae, x, c, s = counting(OneHot(3)), counts(), classes(), factors()
    vae.fit(x, {"condition": c, "size_factor": s}, verbose=0)
    source = Source(x, condition=c, size_factor=s)
    np.testing.assert_array_equal(
        vae.elbo(source, seed=0), vae.elbo(x, seed=0, condition=c, size_factor=s)
    )
    draws = vae.elbo(x, 2_000, seed=1, condition=c, size_factor=s)
    found, other = (
        keras_vae.evaluation.elbo(vae, given, num_samples=2_000, memory=1)
        for given in (source, Source(x, condition=c, size_factor=2 * s))
    )
    assert found.mean == pytest.approx(np.mean(draws), abs=0.1)  # of 2,000 draws each
    assert abs(other.mean - found.mean) > 0.5


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.zeros(ROWS), r"> 0.*values from 0\.0 to 0\.0\. A usual choice"),
        (-factors(), r"> 0.*values from -"),
        (np.full(ROWS, np.nan), r"> 0.*values from nan"),
        (np.full(ROWS, np.inf), r"> 0.*values from inf"),
        (factors()[:, None], r"Expected: shape \[B\]\. Received: dtype float32, shape \[12, 1\]"),
        (np.array(["a"] * ROWS), r"Received: dtype <U1, shape \[12\]"),
        (factors(5), r"does not go with x\. Expected: 12 rows"),
    ],
)
def test_a_wrong_size_factor_is_refused(wrong, said):
    with pytest.raises(ValueError, match=rf"(?s)^`size_factor` .*{said}"):
        counting().fit(counts(), {"size_factor": wrong}, verbose=0)


def test_a_missing_size_factor_is_refused_where_the_density_of_x_needs_it():
    vae = counting()
    for call in (
        lambda: vae.fit(counts(), verbose=0),
        lambda: vae.evaluate(counts(), verbose=0),
        lambda: vae.elbo(counts()),
        lambda: vae.reconstruct(counts()),
        lambda: vae.predict(counts(), verbose=0),
        lambda: vae.fit(dataset(counts()), verbose=0),
    ):
        with pytest.raises(ValueError, match=r"Poisson takes a size factor.*Expected.*fit\(x, {"):
            call()
    assert vae.encode(counts()).batch_shape == [ROWS]  # q(z|x) has no need of it


def test_a_size_factor_is_refused_where_it_has_no_meaning():
    for vae in (model(None, Poisson(E)), model(None)):
        x = counts() if isinstance(vae.likelihood, Poisson) else bits()
        for call in (
            lambda vae, x: vae.fit(x, {"size_factor": factors()}, verbose=0),
            lambda vae, x: vae.elbo(x, size_factor=factors()),
            lambda vae, x: vae.sample(3, size_factor=1.0),
        ):
            with pytest.raises(ValueError, match=r"`size_factor` has no meaning.*size_factor=True"):
                call(vae, x)


# The rest of the package


@pytest.mark.parametrize("make", [lambda: Vector(3), lambda: OneHot(3)])
def test_a_conditional_model_is_saved_whole(tmp_path, make):
    vae = model(make(), prior=ConditionalNormal(2, mlp([4])), eagerly=False)
    c = good(vae)
    vae.fit(bits(), c, verbose=0)
    vae.save(tmp_path / "vae.keras")
    again = keras.saving.load_model(tmp_path / "vae.keras")
    assert again.condition.get_config() == vae.condition.get_config()
    expected = vae.elbo(bits(), 3, seed=1, condition=c)
    np.testing.assert_array_equal(again.elbo(bits(), 3, seed=1, condition=c), expected)
    check_logs(
        again.train_on_batch(bits(), c, return_dict=True),
        vae.train_on_batch(bits(), c, return_dict=True),
    )


def test_what_a_conditional_model_assumes_names_the_condition():
    stated = model(Vector(3)).assumptions()
    assert stated.condition == "Each density is conditional on a vector of 3 real numbers."
    assert "conditional on a vector of 3 real numbers" in str(stated)
    assert model(None).assumptions().condition is None
    assert "conditional" not in str(model(None).assumptions())


def test_the_kl_by_dimension_of_a_conditional_model_sums_to_its_kl():
    vae, x, c = model(Vector(3), prior=ConditionalNormal(2)), bits(), vectors()
    found = keras_vae.evaluation.kl_per_dimension(vae, Source(x, condition=c), memory=1)
    kl = vae.evaluate(x, c, verbose=0, return_dict=True)["kl"]
    assert found.shape == (2,)
    assert found.sum() == pytest.approx(kl, rel=1e-5)


# Two devices


@pytest.mark.parametrize("rows", [8, 7])
def test_two_devices_have_the_gradient_of_one(two_devices, rows):
    x, c = bits(rows), classes(rows)
    found = []
    for strategy in (tf.distribute.get_strategy(), two_devices):
        with strategy.scope():
            vae = model(OneHot(3), eagerly=False)
            vae.compile(keras.optimizers.SGD(1.0), jit_compile=False)
        without_noise(vae)
        before = vae.get_weights()
        data = tf.data.Dataset.from_tensor_slices((x, c)).batch(rows)
        logs = vae.fit(data, verbose=0).history
        after = vae.get_weights()
        found.append(([b - a for a, b in zip(before, after, strict=True)], logs))
    (one, logs), (other, logs_of_two) = found
    assert max(np.abs(g).max() for g in one) > 0.01
    for g, h in zip(one, other, strict=True):
        np.testing.assert_allclose(h, g, rtol=1e-4, atol=2e-6)
    for name in NAMES:
        np.testing.assert_allclose(logs_of_two[name], logs[name], rtol=2e-5)
