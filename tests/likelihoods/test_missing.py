"""p(x|z) of values that are not all observed."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from parts import (
    LIKELIHOODS,
    assert_finite,
    built,
    data_for,
    density,
    features,
    make_vae,
    round_trip,
    table,
)
from tensorflow_probability import distributions as tfd

from keras_vae import evaluation
from keras_vae.data import Source
from keras_vae.distributions.observed import Observed
from keras_vae.likelihoods import (
    Beta,
    Categorical,
    Laplace,
    LogitNormal,
    Missing,
    Multinomial,
    NegativeBinomial,
    Normal,
    OneHotCategorical,
    Poisson,
    StudentT,
)

ROOT = pathlib.Path(__file__).parents[2]
INNER = {
    "Normal-shared": lambda **k: Normal((4, 2), "shared", **k),
    "Normal-optimal": lambda **k: Normal((4, 2), "optimal", **k),
    "Laplace": lambda **k: Laplace((4, 2), "per_value", **k),
    "StudentT": lambda **k: StudentT((4, 2), **k),
    "Beta": lambda **k: Beta((4, 2), **k),
    "LogitNormal": lambda **k: LogitNormal((4, 2), **k),
    "Bernoulli": lambda **k: LIKELIHOODS["Bernoulli"]((4, 2), **k),
    "Poisson": lambda **k: Poisson((4, 2), **k),
    "NegativeBinomial": lambda **k: NegativeBinomial((4, 2), **k),
    "Categorical": lambda **k: Categorical(3, (4, 2), **k),
    "Table": lambda **k: table(**k),
}
each = pytest.mark.parametrize("name", INNER)


def example(name, rows=4):
    """The head, complete data, the same with holes, and what is known of it."""
    head = built(Missing(INNER[name]()))
    x = data_for(head.likelihood, rows)
    known = np.random.default_rng(5).random(x.shape) < 0.6
    known[0], known[1] = True, False
    return head, x, np.where(known, x, np.nan).astype("float32"), known


def value_densities(head, x):
    """log p(x_i|z) of each value by the likelihood itself: what changes if x_i does alone.

    Of independent values `log p(x) - log p(y)` is that of the one in which x and y differ.
    """
    whole = head.likelihood.distribution(head(features(len(x))))
    axes = tuple(range(1, x.ndim))
    if hasattr(whole, "blocks"):
        parts = np.split(x, x.shape[-1], axis=-1)
        return np.stack([b.log_prob(p) for b, p in zip(whole.blocks, parts, strict=True)], -1), axes
    return whole.distribution.log_prob(x).numpy(), axes


@each
def test_the_density_is_that_of_what_is_observed(name):
    head, x, holes, known = example(name)
    p = head.distribution(head(features(4)))
    log_prob = p.log_prob(holes).numpy()
    assert log_prob[1] == 0
    whole = head.likelihood.distribution(head(features(4)))
    np.testing.assert_allclose(log_prob[0], whole.log_prob(x)[0], rtol=1e-6)
    values, axes = value_densities(head, x)
    np.testing.assert_allclose(log_prob, np.where(known, values, 0).sum(axes), rtol=1e-5)
    stacked = {key: tf.stack([value] * 3) for key, value in head(features(4)).items()}
    np.testing.assert_allclose(
        head.distribution(stacked).log_prob(holes), [log_prob] * 3, rtol=1e-5
    )


def test_the_density_of_a_part_is_the_integral_over_the_rest():
    head = built(Missing(Normal((2,), "per_value")))
    p = head.distribution(head(features(1)))
    grid = np.linspace(-30, 30, 60_001).astype("float32")
    pairs = np.stack([np.full_like(grid, 0.7), grid], -1)
    integral = np.exp(p.log_prob(pairs[:, None]).numpy().astype("float64")).sum() * 1e-3
    np.testing.assert_allclose(np.exp(p.log_prob([[0.7, np.nan]])), [integral], rtol=1e-4)


def test_the_density_of_a_part_is_scipys():
    head = built(LIKELIHOODS["Missing"]((3,)))
    parameters = head(features(3))
    x = data_for(head, 3)
    assert np.isnan(x).any()
    np.testing.assert_allclose(
        head.distribution(parameters).log_prob(x), density(head, parameters, x), rtol=1e-5
    )


@each
@pytest.mark.parametrize("raw", [-1e4, -50.0, 50.0, 1e4])
def test_no_nan_leaks_into_a_gradient(name, raw):
    head, _, holes, _ = example(name)
    for weight in head.trainable_weights:
        weight.assign(tf.fill(weight.shape, 0.0 if weight.path.endswith("kernel") else raw))
    with tf.GradientTape() as tape:
        log_prob = head.distribution(head(features(4))).log_prob(holes)
    assert_finite(log_prob, *tape.gradient(log_prob, head.trainable_weights))


@each
def test_what_is_missing_moves_no_weight(name):
    head, _, holes, _ = example(name)
    with tf.GradientTape() as tape:
        log_prob = head.distribution(head(features(4))).log_prob(np.full_like(holes, np.nan))
    assert not log_prob.numpy().any()
    for gradient in tape.gradient(log_prob, head.trainable_weights):
        assert not np.any(np.asarray(gradient))


@each
def test_all_but_the_density_is_the_likelihoods(name):
    head, x, _, _ = example(name)
    inner, parameters = head.likelihood, head(features(4))
    p, whole = head.distribution(parameters), inner.distribution(parameters)
    assert isinstance(p, Observed)
    assert (p.batch_shape, p.event_shape, p.dtype) == ((4,), head.event_shape, whole.dtype)
    np.testing.assert_array_equal(head.centre(p), inner.centre(whole))
    np.testing.assert_array_equal(p.sample(2, seed=(1, 2)), whole.sample(2, seed=(1, 2)))
    closed = name not in ("Categorical", "Table", "LogitNormal")  # these have no mean or variance
    for statistic in ("mean", "variance") if closed else ():
        np.testing.assert_array_equal(getattr(p, statistic)(), getattr(whole, statistic)())
    weights = tf.constant([[0.25] * 4, [0.75] * 4])
    two = {key: tf.stack([value, tf.roll(value, 1, 0)]) for key, value in parameters.items()}
    np.testing.assert_array_equal(
        head.average(head.distribution(two), weights),
        inner.average(inner.distribution(two), weights),
    )
    np.testing.assert_array_equal(head.encoder_input(x), inner.encoder_input(x))
    assert set(head.projected()) | set(head.shared()) == set(inner.projected()) | set(
        inner.shared()
    )
    assert set(head.statement().parameters) == set(parameters)
    assert head.statement().support == f"{inner.support.name}, or NaN where missing"


@each
@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_density_is_the_same_however_it_is_compiled(name, jit_compile):
    head, _, holes, _ = example(name)

    def terms(x):
        p = head.distribution(head(features(4)))
        return p.log_prob(x), head.encoder_input(x), head.contains(x)

    compiled = tf.function(terms, jit_compile=jit_compile)(tf.constant(holes))
    for value, eager in zip(compiled, terms(holes), strict=True):
        np.testing.assert_allclose(value, eager, rtol=1e-5, atol=1e-6)


def test_the_encoder_is_given_zero_where_a_value_is_missing():
    nan = np.nan
    normal = Missing(Normal((2,))).encoder_input(tf.constant([[1.0, nan], [nan, nan]]))
    np.testing.assert_array_equal(normal, [[1, 0], [0, 0]])
    counts = Missing(Poisson((2,))).encoder_input(tf.constant([[3.0, nan]]))
    np.testing.assert_allclose(counts, [[np.log(4), 0]], rtol=1e-6)
    categories = Missing(Categorical(3, (2,))).encoder_input(tf.constant([[nan, 0.0], [2.0, nan]]))
    np.testing.assert_array_equal(categories, [[0, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0]])
    rows = tf.constant([[2.0, nan, nan, 1.0], [nan, 0.0, 1.0, nan]])
    np.testing.assert_allclose(
        Missing(table()).encoder_input(rows), [[2, 0, 0, 0, 0, 1], [0, 0, 0, 1, 0, 0]]
    )
    bytes_ = Missing(LIKELIHOODS["DiscretisedLogistic-shared"]((2,)))
    np.testing.assert_array_equal(bytes_.encoder_input(tf.constant([[0.0, nan]])), [[-1, 0]])


def test_the_optimal_scale_is_that_of_what_is_observed():
    head = built(Missing(Normal((3,), "optimal")))
    x = np.random.default_rng(0).normal(size=(200, 3)) * 2
    x[::2, 0] = x[::3, 2] = np.nan
    parameters = {**head(features(200)), "loc": tf.zeros((200, 3))}
    adapted = head.adapt(head.distribution(parameters), tf.constant(x, tf.float32))
    scale = np.sqrt(np.nanmean(x**2))
    np.testing.assert_allclose(
        adapted.whole.distribution.scale, np.full((200, 1), scale), rtol=1e-5
    )
    assert head.likelihood.one_scale() == pytest.approx(scale, rel=1e-5)
    assert_finite(adapted.log_prob(x.astype("float32")))


# What may be wrapped


@pytest.mark.parametrize(
    "whole",
    [
        lambda: Multinomial((5,)),
        lambda: OneHotCategorical((4, 3)),
    ],
)
def test_values_that_are_not_independent_are_refused(whole):
    with pytest.raises(ValueError, match="values that are independent given z") as error:
        Missing(whole())
    assert f"Received: {type(whole()).__name__}" in str(error.value)


@pytest.mark.parametrize("wrong", [Normal, "Normal", None])
def test_missing_wraps_a_likelihood(wrong):
    with pytest.raises(ValueError, match="`likelihood` of Missing is that of the values"):
        Missing(wrong)
    with pytest.raises(ValueError, match="`likelihood` of Missing is that of the values"):
        Missing(Missing(Normal((3,))))


def test_the_precision_is_one():
    with pytest.raises(ValueError, match="Give all of them the same dtype"):
        Missing(Normal((3,), dtype="float64"))
    head = built(Missing(Normal((3,), dtype="float64"), dtype="float64"))
    p = head.distribution(head(features().astype("float64")))
    assert p.log_prob(np.array([[1.0, np.nan, 2.0]] * 3)).dtype == tf.float64


def test_a_distribution_that_does_not_factorise_has_no_observed_part():
    with pytest.raises(ValueError, match=r"Expected: tfd.Independent of single values"):
        Observed(tfd.MultivariateNormalDiag([0.0, 0.0]))


def test_a_distribution_can_be_sliced():
    p = Observed(tfd.Independent(tfd.Normal(tf.random.normal((4, 3)), 1.0), 1))
    x = np.array([[1.0, np.nan, 2.0]] * 4, "float32")
    np.testing.assert_allclose(p[1:3].log_prob(x[1:3]), p.log_prob(x)[1:3])


@pytest.mark.parametrize("name", ["Missing", "Missing-Table"])
def test_a_loaded_head_is_the_saved_one(name):
    head = built(LIKELIHOODS[name]())
    loaded = built(round_trip(head))
    loaded.set_weights(head.get_weights())
    for key, value in head(features()).items():
        np.testing.assert_array_equal(loaded(features())[key], value)
    assert keras.saving.get_registered_name(Missing) == "keras_vae>Missing"
    assert loaded.takes_columns == (name == "Missing-Table")


# Data


@each
def test_nan_is_taken_and_all_else_outside_is_refused_as_ever(name):
    head, x, holes, _ = example(name)
    head.check(holes)
    assert bool(head.contains(holes))
    holes[2, 1] = np.inf
    x[2, 1] = np.inf
    assert not bool(head.contains(holes))
    with pytest.raises(ValueError, match="outside the support") as error:
        head.check(holes)
    with pytest.raises(ValueError, match="outside the support") as without:
        head.likelihood.check(x)
    assert str(error.value) == str(without.value)
    assert "Remove the infinite values" in head.support.remedy(holes)
    with pytest.raises(ValueError, match="event shape"):
        head.check(holes[:, :1])
    with pytest.raises(ValueError, match="missing values"):
        head.likelihood.check(np.full_like(holes, np.nan))


def test_bytes_are_refused_as_ever():
    with pytest.raises(ValueError, match="holds bytes, up to 255"):
        Missing(Normal((2,))).check(np.array([[0, 255]], "uint8"))
    Missing(LIKELIHOODS["DiscretisedLogistic-shared"]((2,))).check(np.array([[0, 255]], "uint8"))


def test_moments_are_those_of_what_is_observed():
    x = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]])
    mean, variance = Source(x).moments()
    np.testing.assert_array_equal(mean, [2, 5, 0])
    np.testing.assert_array_equal(variance, [1, 0, 1])


# Training


def with_holes(n=40):
    x = np.random.default_rng(0).normal(size=(n, 6)).astype("float32")
    x[np.random.default_rng(1).random(x.shape) < 0.3] = np.nan
    x[0], x[:, 5] = np.nan, np.nan
    return x


@pytest.mark.parametrize("jit_compile", [False, True])
def test_training_on_data_with_holes_stays_finite(jit_compile):
    vae = make_vae(likelihood=lambda: Missing(Normal((6,), "shared")))
    vae.compile(optimizer="adam", jit_compile=jit_compile)
    x = with_holes()
    logs = vae.fit(x, epochs=2, batch_size=40, verbose=0).history
    assert_finite(*logs.values(), *vae.get_weights(), vae.predict(x, verbose=0))
    with tf.GradientTape() as tape:
        loss = vae.compute_loss(tf.constant(x))
    assert_finite(loss, *tape.gradient(loss, [weight.value for weight in vae.trainable_weights]))


@pytest.mark.parametrize("masked", [np.ma.array, tf.data.Dataset])
def test_every_kind_of_data_may_have_holes(masked):
    vae = make_vae(likelihood=lambda: Missing(Normal((6,))))
    vae.compile(optimizer="sgd")
    x = with_holes()
    if masked is tf.data.Dataset:
        data = tf.data.Dataset.from_tensor_slices(x).batch(10)
    else:
        data = np.ma.array(np.nan_to_num(x), mask=np.isnan(x))
    assert_finite(*vae.fit(data, verbose=0).history.values())
    x[12, 3] = np.inf
    with pytest.raises(ValueError, match=r"Received: inf at index \[2, 3\]"):
        vae.fit(tf.data.Dataset.from_tensor_slices(x).batch(10), verbose=0)


@pytest.mark.parametrize("name", ["Missing", "Missing-Table"])
def test_the_baseline_is_that_of_what_is_observed(name):
    head = LIKELIHOODS[name]()
    x = data_for(head, 30)
    rows = Source(x)
    found = evaluation.independent_baseline(head, rows, rows)
    mean, variance = (tf.cast(moment, tf.float32) for moment in rows.moments())
    p = head.likelihood.distribution(head.independent(mean, variance))
    if name == "Missing":
        values = p.distribution.log_prob(np.nan_to_num(x)).numpy()
    else:
        parts = np.split(np.nan_to_num(x), 4, axis=-1)
        values = np.stack([b.log_prob(c) for b, c in zip(p.blocks, parts, strict=True)], -1)
    expected = np.where(np.isnan(x), 0, values).reshape(30, -1).sum(-1)
    assert found.mean == pytest.approx(expected.mean(), rel=1e-4)


def test_a_table_with_holes_is_trained_imputed_and_saved(tmp_path):
    vae = make_vae(likelihood=LIKELIHOODS["Missing-Table"])
    vae.compile()
    x = data_for(vae.likelihood, 30)
    holes = vae.likelihood.given_back(tf.constant(x))
    vae.fit(holes, epochs=2, verbose=0)
    imputed = vae.impute(holes, num_samples=5, draw=True)
    assert [imputed[name].dtype.kind for name in imputed] == ["f", "i", "i", "i"]
    for (_, filled), old in zip(imputed.items(), x.T, strict=True):
        np.testing.assert_array_equal(filled[~np.isnan(old)], old[~np.isnan(old)])
    vae.likelihood.likelihood.check(vae.likelihood.as_source(imputed).array())
    vae.save(tmp_path / "model.keras")
    np.savez(tmp_path / "x.npz", **holes)
    code = (
        "import keras, keras_vae, numpy as np; vae = keras.saving.load_model('model.keras'); "
        "x = dict(np.load('x.npz')); np.save('elbo', vae.elbo(x, seed=1)); vae.fit(x, verbose=0)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "elbo.npy"), vae.elbo(holes, seed=1), rtol=1e-5)


def test_the_bound_of_an_example_is_that_of_its_observed_values():
    """Exact: with p(x|z) that does not depend on z, log p(x_o) is a product of marginals."""
    vae = make_vae(likelihood=lambda: Missing(Normal((3,), scale=0.5)))
    vae.likelihood.likelihood.projections["loc"].kernel.assign(
        np.zeros(vae.likelihood.likelihood.projections["loc"].kernel.shape)
    )
    for head in vae.posterior.projections.values():
        for weight in head.weights:
            weight.assign(np.zeros(weight.shape))
    vae.posterior.projections["scale_diag"].bias.assign(np.full(2, np.log(np.e - 1)))
    rows = [[1.0, 2.0, 3.0], [1.0, np.nan, 3.0], [np.nan] * 3]
    marginal = tfd.Normal(0.0, 0.5).log_prob([1.0, 2.0, 3.0]).numpy()
    expected = [marginal.sum(), marginal[0] + marginal[2], 0]
    np.testing.assert_allclose(vae.elbo(np.array(rows)), expected, rtol=1e-5, atol=1e-5)
