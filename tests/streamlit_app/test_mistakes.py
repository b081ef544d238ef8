"""Each mistake is the one that it claims to be, and the page says rightly what it assumes."""

import dataclasses
import math
import threading

import app_mistakes
import app_mistakes_judged
import app_mistakes_words
import app_pictures
import keras
import numpy as np
import pytest
import streamlit as st
import tensorflow as tf
from app_mistakes import EQUIVALENT, LATENT, PIXELS, RIGHT, VERSIONS, WRONG, build, right_of
from app_mistakes_judged import Result
from scipy import integrate, special, stats

from keras_vae import evaluation, likelihoods
from keras_vae.evaluation.draws import draws, seeds_of_rows
from keras_vae.objectives import Terms

FACTORS = {"pixels": 1, "dimensions": 1, "both": LATENT, "twice": 1}  # of equivalent over wrong


@pytest.fixture
def double():
    """Double precision, so that equal gradients are equal to ten digits."""
    keras.config.set_dtype_policy("float64")


def x(count=32, dtype="float32"):
    return app_mistakes_judged.digits().train[:count].array(dtype=dtype)


def loss_and_gradients(version, x, seed=3):
    vae = build(version, seed)
    with tf.GradientTape() as tape:
        loss = vae.compute_loss(tf.constant(x))
    return float(loss), tape.gradient(loss, vae.trainable_weights)


def terms(log_likelihood, ratio):
    """Of log-densities of z that are `ratio` apart, `[K, B]`."""
    values = [tf.constant(v, tf.float64) for v in (log_likelihood, 0 * ratio, ratio)]
    return Terms(*values, kl=None, z=None, q=None, p=None, seed=None)


# What the mistakes assume


@pytest.mark.parametrize("name", EQUIVALENT)
@pytest.mark.usefixtures("double")
def test_a_mistake_has_the_gradient_of_what_it_is_said_to_assume(name):
    _, wrong = loss_and_gradients(VERSIONS[name], x(dtype="float64"))
    _, right = loss_and_gradients(EQUIVALENT[name], x(dtype="float64"))
    assert len(wrong) == len(right) >= 8
    for mistaken, expected in zip(wrong, right, strict=True):
        scale = np.abs(expected).max()
        assert scale > 0
        np.testing.assert_allclose(FACTORS[name] * mistaken, expected, atol=1e-10 * scale)


@pytest.mark.parametrize("name", EQUIVALENT)
@pytest.mark.usefixtures("double")
def test_training_a_mistake_and_what_it_assumes_ends_with_the_same_weights(name):
    # Not with Adam, whose epsilon sees the factor between the two losses.
    ends = []
    for version, factor in ((VERSIONS[name], FACTORS[name]), (EQUIVALENT[name], 1)):
        vae = build(version, 3)
        first = [weight.numpy() for weight in vae.trainable_weights]
        vae.compile(keras.optimizers.SGD(1e-4 * factor))
        for batch in np.split(x(128, "float64"), 4):
            vae.train_step(tf.constant(batch))
        ends.append([weight.numpy() for weight in vae.trainable_weights])
        assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(first, ends[-1], strict=True))
    for mistaken, expected in zip(*ends, strict=True):
        np.testing.assert_allclose(mistaken, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "variance"),
    [("pixels", 64 / 2), ("both", 64 / (2 * 8)), ("twice", 2 * 0.25), ("dimensions", 0.25 / 8)],
)
def test_the_implied_variance(name, variance):
    vae = build(VERSIONS[name], 0)
    if "scale" in vae.likelihood.learned:
        vae.likelihood.start_from(tf.zeros((8, 8, 1)), tf.fill((8, 8, 1), 0.25))
    found = VERSIONS[name].factor * app_mistakes_judged.own_variance(vae, x())
    assert found == pytest.approx(variance, rel=1e-5)
    equivalent = build(EQUIVALENT[name], 0)
    beta = equivalent.objective.beta
    own = (
        equivalent.likelihood.one_scale() ** 2 if equivalent.likelihood.scale != "shared" else 0.25
    )
    assert beta * own == pytest.approx(variance)


# The formulas, in NumPy


def numpy_parts(vae, x):
    """Means and scale of p(x|z) at the z of the next loss, and the KL per dimension `[B, D]`."""
    q = vae.encode(x)
    loc, scale = q.mean().numpy(), q.stddev().numpy()
    kl = 0.5 * (loc**2 + scale**2 - 1) - np.log(scale)
    twin = build(VERSIONS["right"], vae.seed)  # the same seeds, from the start
    z = q.sample(vae.objective.num_samples, seed=twin._seed())
    return vae.decode(z).distribution, kl


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("pixels", lambda error, sigma, kl: error.mean(-1) + kl.sum(-1)),
        ("both", lambda error, sigma, kl: error.mean(-1) + kl.mean(-1)),
        ("dimensions", lambda error, sigma, kl: nll(error, sigma) + kl.mean(-1)),
        ("twice", lambda error, sigma, kl: nll(error, sigma) + 2 * kl.sum(-1)),
    ],
)
def test_the_loss_is_the_one_that_mistaken_code_computes(name, formula):
    loss, _ = loss_and_gradients(VERSIONS[name], x())
    p, kl = numpy_parts(build(VERSIONS[name], 3), x())
    error = ((x() - p.loc.numpy()[0]) ** 2).reshape(32, PIXELS)
    expected = formula(error, float(p.scale.numpy().ravel()[0]), kl).mean()
    assert loss == pytest.approx(expected, rel=1e-5)


def nll(error, sigma):
    return error.sum(-1) / (2 * sigma**2) + PIXELS / 2 * math.log(2 * math.pi * sigma**2)


def test_the_error_of_a_draw_exceeds_that_of_the_mean_by_d_sigma_squared():
    likelihood = app_mistakes.AgainstDraw((8, 8, 1), 0.3)
    likelihood.build((None, 4))
    loc = np.random.default_rng(0).uniform(size=(1, 1, 8, 8, 1)).astype("float32")
    p = likelihood.distribution(
        {"loc": tf.repeat(tf.constant(loc), 20_000, 0), "scale": tf.fill((1, 1, 1, 1, 1), 0.3)}
    )
    drawn = likelihood.adapt(p, tf.constant(x(1)))
    excess = ((x(1) - drawn.distribution.loc) ** 2).numpy().sum((1, 2, 3, 4))
    excess = excess - ((x(1) - loc) ** 2).sum()
    error = excess.std() / math.sqrt(len(excess))
    assert abs(excess.mean() - PIXELS * 0.3**2) < 4 * error < 0.1
    lost = (p.log_prob(x(1)) - drawn.log_prob(x(1))).numpy()  # and d/2 nats, for any scale
    assert abs(lost.mean() - PIXELS / 2) < 4 * lost.std() / math.sqrt(len(excess)) < 1


def test_the_mean_gradient_against_draws_is_that_against_the_mean():
    likelihood = app_mistakes.AgainstDraw((8, 8, 1), 0.3)
    likelihood.build((None, 4))
    loc = tf.constant(np.random.default_rng(0).uniform(size=(1, 8, 8, 1)), tf.float32)
    scale = tf.constant(0.3)
    count = 20_000
    with tf.GradientTape() as tape:
        tape.watch([loc, scale])
        locs, scales = tf.repeat(loc[None], count, 0), tf.fill((count, 1, 1, 1, 1), scale)
        p = likelihood.distribution({"loc": locs, "scale": scales})
        value = tf.reduce_mean(likelihood.adapt(p, tf.constant(x(1))).log_prob(x(1)))
    by_loc, by_scale = tape.gradient(value, [loc, scale])
    offset = x(1) - loc
    error = 1 / 0.3 / math.sqrt(count)  # of the mean of epsilon / scale
    np.testing.assert_allclose(by_loc, offset / 0.3**2, atol=5 * error)
    expected = float(tf.reduce_sum(offset**2)) / 0.3**3 - PIXELS / 0.3
    assert float(by_scale) == pytest.approx(expected, abs=5 * error * 30)


def test_a_draw_is_only_taken_in_training():
    against, right = build(VERSIONS["draw"], 0), build(VERSIONS["right"], 0)
    losses = [float(vae.compute_loss(x(), training=False)) for vae in (against, right)]
    assert losses[0] == losses[1]
    assert float(build(VERSIONS["draw"], 0).compute_loss(x())) > losses[1] + 20


def test_inverted_weights_count_the_worst_draw_most():
    random = np.random.default_rng(0)
    likelihood, ratio = random.normal(size=(10, 6)) * 3, random.normal(size=(10, 6))
    log_w = likelihood - ratio
    objective = app_mistakes.InvertedWeights()
    log_likelihood = tf.constant(likelihood)
    with tf.GradientTape() as tape:
        tape.watch(log_likelihood)
        bound = objective.bound(terms(likelihood, ratio)._replace(log_likelihood=log_likelihood), 0)
    v = special.softmax(-log_w, axis=0)
    np.testing.assert_allclose(bound, (v * log_w).sum(0), rtol=1e-10)
    assert (v.argmax(0) == log_w.argmin(0)).all()
    assert (bound.numpy() < log_w.mean(0)).all()  # below the ELBO's estimate, for every x
    gradient = tape.gradient(bound, log_likelihood)
    np.testing.assert_allclose(gradient, v * (1 - log_w + (v * log_w).sum(0)), rtol=1e-8)
    assert (gradient.numpy().argmax(0) == log_w.argmin(0)).all()
    right = RIGHT["right, weighted"].objective.bound(terms(likelihood, ratio), 0)
    np.testing.assert_allclose(right, special.logsumexp(log_w, axis=0) - math.log(10), rtol=1e-10)


@pytest.mark.parametrize("logit", [-6.0, -1.0, 0.01, 3.0])
def test_a_bernoulli_on_grey_values_is_no_density(logit):
    grey = app_mistakes.GreyBernoulli((1,)).distribution({"logits": tf.constant([[logit]])})
    right = likelihoods.ContinuousBernoulli((1,)).distribution({"logits": tf.constant([[logit]])})
    total, _ = integrate.quad(lambda v: math.exp(grey.log_prob([[v]])[0]), 0, 1)
    m = special.expit(logit)
    assert total == pytest.approx((2 * m - 1) / (math.log(m) - math.log(1 - m)), rel=1e-4)
    assert total <= 0.5 + 1e-6
    missing = (right.log_prob([[0.3]]) - grey.log_prob([[0.3]])).numpy()
    np.testing.assert_allclose(missing, -math.log(total), rtol=1e-3)
    assert abs(right.mean().numpy().item() - m) > 1e-3 or abs(m - 0.5) < 0.01


def test_a_bernoulli_weighs_grey_values_like_a_normal_of_its_own_variance():
    logits = tf.constant(np.random.default_rng(0).normal(size=(1, 8, 8, 1)) * 2, tf.float32)
    m = special.expit(logits.numpy())
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        grey = app_mistakes.GreyBernoulli((8, 8, 1)).distribution({"logits": logits})
        value = grey.log_prob(x(1))
        error = -((x(1) - tf.sigmoid(logits)) ** 2) / (2 * m * (1 - m))
    np.testing.assert_allclose(tape.gradient(value, logits), x(1) - m, atol=1e-6)
    np.testing.assert_allclose(tape.gradient(error, logits), x(1) - m, atol=1e-5)
    np.testing.assert_allclose(grey.variance(), m * (1 - m), atol=1e-6)


# The versions


def test_versions_differ_in_nothing_but_the_mistake():
    first = [w.numpy() for w in build(VERSIONS["right"], 5).trainable_weights if w.shape.rank == 2]
    assert len(first) == 5
    for name, version in VERSIONS.items():
        vae = build(version, 5)
        kernels = [w for w in vae.trainable_weights if w.shape.rank == 2]
        for kernel, expected in zip(kernels, first, strict=True):
            np.testing.assert_array_equal(kernel, expected, err_msg=name)
        assert right_of(name) in RIGHT
        assert np.isfinite(float(vae.compute_loss(x())))
    for name in WRONG:
        wrong, right = VERSIONS[name], VERSIONS[right_of(name)]
        assert wrong.objective.num_samples == right.objective.num_samples


def test_the_statement_of_a_mistake_does_not_call_it_a_bound():
    is_bound = {
        name: build(version, 0).assumptions().bound.is_lower_bound
        for name, version in WRONG.items()
    }
    assert is_bound.pop("grey")  # the objective is right, the density is none
    assert is_bound.pop("draw")
    assert is_bound == {
        "pixels": False,
        "dimensions": False,
        "both": False,
        "twice": True,  # beta = 2
        "inverted": True,  # below the ELBO
    }


def test_no_mistake_is_registered_with_keras():
    for value in vars(app_mistakes).values():
        if isinstance(value, type) and value.__module__ == "app_mistakes":
            assert keras.saving.get_registered_name(value) == value.__name__


# Judging


def by_hand(vae, x, variance, factor=1):
    """Of the mean of the bound over x, in NumPy, with the draws of `evaluation.elbo`."""
    q = vae.encode(x)
    seeds = seeds_of_rows(0, tf.range(len(x), dtype=tf.int64), tf.constant(0))
    parameters = vae.posterior(vae.encoder(tf.constant(x, tf.float32)))
    z = draws(vae, parameters, 10, seeds)
    means = vae.likelihood.centre(vae.decode(z)).numpy()
    loc, scale = q.mean().numpy(), q.stddev().numpy()
    kl = (0.5 * (loc**2 + scale**2 - 1) - np.log(scale)).sum(-1)
    log_likelihood = stats.norm(means, math.sqrt(variance)).logpdf(x).sum((2, 3, 4)).mean(0)
    return (log_likelihood - kl).mean()


@pytest.mark.parametrize("name", ["right", "grey", "right, grey"])
def test_the_bound_with_another_variance_is_that_of_the_same_networks(name):
    vae = build(VERSIONS[name], 2)
    model = app_mistakes_judged.with_variance(vae, 0.07)
    found = evaluation.elbo(model, x(100))
    assert found.mean == pytest.approx(by_hand(vae, x(100), 0.07), rel=1e-5)
    np.testing.assert_allclose(
        model.reconstruct(x(5)), vae.likelihood.centre(vae.decode(vae.encode(x(5)).mean()))
    )


def test_no_variance_is_better_than_the_mean_squared_error():
    vae = build(VERSIONS["right"], 2)
    best = app_mistakes_judged.mean_squared_error(vae, x(200))
    bounds = [
        evaluation.elbo(app_mistakes_judged.with_variance(vae, best * factor), x(200)).mean
        for factor in (0.9, 1.0, 1.1)
    ]
    assert max(bounds) == bounds[1]


def test_a_bernoulli_on_grey_values_is_judged_with_the_missing_constant():
    vae = build(VERSIONS["grey"], 2)
    model = app_mistakes_judged.as_assumed(vae, 1.0)
    z = np.random.default_rng(0).normal(size=(4, LATENT)).astype("float32")
    logits = vae.decode(z).distribution.logits.numpy().astype("float64")
    constant = np.log(logits / np.tanh(logits / 2)).sum((1, 2, 3))
    expected = vae.decode(z).log_prob(x(4)).numpy() + constant
    np.testing.assert_allclose(model.decode(z).log_prob(x(4)), expected, rtol=1e-4)


@pytest.fixture
def short(monkeypatch):
    """Trainings of two epochs, which no test has had before."""
    monkeypatch.setattr(app_mistakes_judged, "EPOCHS", 2)
    st.cache_data.clear()
    yield
    st.cache_data.clear()


@pytest.mark.usefixtures("short")
def test_a_result_is_of_the_trained_model():
    heard = []
    vae, loss = app_mistakes_judged.trained("twice", 1, heard.append)
    result = app_mistakes_judged.judged("twice", vae, loss, 1)
    assert heard == [0.5, 1.0]
    test = app_mistakes_judged.digits().test.array()
    q = vae.encode(test)
    loc, scale = q.mean().numpy(), q.stddev().numpy()
    kl = (0.5 * (loc**2 + scale**2 - 1) - np.log(scale)).mean(0)
    np.testing.assert_allclose(result.kl, kl, rtol=1e-4)
    assert result.active == (loc.var(0) > 0.01).sum() > 0
    assert result.variance == pytest.approx(2 * vae.likelihood.one_scale() ** 2, rel=1e-4)
    bounds = [by_hand(vae, test, v) for v in (result.variance, result.best_variance)]
    assert [result.assumed.mean, result.best.mean] == pytest.approx(bounds, rel=1e-4)
    assert result.weighted > result.best.mean
    assert "beta sigma^2" in result.advice
    np.testing.assert_array_equal(result.x, test[: len(result.x)])
    np.testing.assert_allclose(result.reconstructions, vae.reconstruct(result.x), atol=1e-5)
    noise = (result.draws - result.samples).std()
    assert noise == pytest.approx(math.sqrt(result.variance), rel=0.1)


@pytest.mark.usefixtures("short")
def test_what_report_raises_ends_the_training():
    def report(done):
        if done:
            raise InterruptedError(done)

    with pytest.raises(InterruptedError, match=r"0\.5"):
        app_mistakes_judged.result("right", 0, report)
    assert not app_mistakes_judged.TRAINING.locked()


# The page


def made_up(name, seed):
    """A result that tells its version and its seed."""
    rank = list(VERSIONS).index(name) + 10 * seed
    random = np.random.default_rng(rank)
    images = {
        field: random.uniform(size=(16, 8, 8, 1))
        for field in ("x", "reconstructions", "samples", "draws")
    }
    return Result(
        loss=rank + 0.5,
        variance=rank + 2.0,
        assumed=evaluation.Estimate(rank + 0.25, 0.125, 359),
        best_variance=0.5,
        best=evaluation.Estimate(rank + 0.75, 0.125, 359),
        weighted=rank + 0.875,
        kl=np.linspace(0, 1, LATENT) * (rank + 1),
        spread=np.array([0.011, 0.009, 0.5, 0, 0, 0, 0, 0]),
        log_weights=random.normal(size=(10, 16)),
        advice="A linear model says so." if name in EQUIVALENT else "",
        **images,
    )


@pytest.fixture
def page(opened, monkeypatch):
    """The page on results that are made up, and which of them it asked for."""
    asked = []

    def result(name, seed, report):
        report(0.5)
        asked.append((name, seed))
        return made_up(name, seed)

    monkeypatch.setattr(app_mistakes_judged, "result", result)
    st.cache_data.clear()
    page = opened("mistakes")
    yield page, asked
    st.cache_data.clear()


def click(page, key):
    page.button(key=key).click().run()
    assert not page.exception
    assert not page.error
    return page


def test_nothing_is_trained_until_the_visitor_says_so(page):
    page, asked = page
    assert asked == []
    assert len(page.table) == 1  # who does this
    assert set(page.table[0].value.index) == {w.title for w in app_mistakes_words.WORDS.values()}
    click(page, "train_mistakes")
    assert asked == [("pixels", 0), ("right", 0)]
    assert len(page.table) == 3


def test_each_switch_shows_its_mistake_beside_the_right_version(page):
    page, asked = page
    click(page, "train_mistakes")
    for wrong in WRONG:
        page.radio(key="mistake").set_value(wrong).run()
        assert not page.exception
        names = {"wrong": wrong, "right": right_of(wrong)}
        assert {(name, 0) for name in names.values()} <= set(asked)
        table = page.table[0].value
        assert list(table.columns) == list(names)
        for version, name in names.items():
            result, column = made_up(name, 0), table[version]
            assert column["Loss in its own log"] == f"{result.loss:.3f}"
            assert column["σ² that it assumes"] == f"{result.variance:.4g}"
            assert column["Bound, as assumed (nats)"] == f"{result.assumed.mean:.3f} +- 0.125"
            assert column["Bound, with that σ² (nats)"] == f"{result.best.mean:.3f} +- 0.125"
            assert column["... with 50 weighted draws of z (nats)"] == f"{result.weighted:.3f}"
            kl = 4 * (list(VERSIONS).index(name) + 1)  # the sum of linspace(0, rank + 1, 8)
            assert column["KL(q(z|x) ‖ p(z)) (nats)"] == f"{kl:.3f}"
            assert column["Active units"] == "2 of 8"
        assert [info.value for info in page.info] == [
            f"The package says of that model, before it is trained: {made_up(wrong, 0).advice}"
        ] * (wrong in EQUIVALENT)
        said = " ".join(markdown.value for markdown in page.markdown)
        for name in names.values():
            assert VERSIONS[name].objective.equation() in said
        assert app_mistakes_words.WORDS[wrong].fair in said
        assert "nan" not in said
    assert len(asked) == len(VERSIONS)  # each once


def test_another_seed_is_another_training_and_what_was_trained_is_kept(page):
    page, asked = page
    click(page, "train_mistakes")
    page.number_input(key="mistake_seed").set_value(3).run()
    assert asked[2:] == [("pixels", 3), ("right", 3)]
    page.radio(key="mistake").set_value("twice").run()
    assert asked[4:] == [("twice", 3)]  # the right version is there
    page.number_input(key="mistake_seed").set_value(0).run()
    page.radio(key="mistake").set_value("pixels").run()
    assert asked[5:] == [("twice", 0)]


def test_all_of_them_side_by_side(page):
    page, asked = page
    click(page, "train_mistakes")
    assert list(page.table[1].value["Bound, best σ²"]) == ["0.75", "3.75"]  # right, pixels
    click(page, "train_all_mistakes")
    assert sorted(asked) == sorted((name, 0) for name in VERSIONS)
    table = page.table[1].value
    assert list(table["Bound, best σ²"]) == [f"{rank + 0.75:.2f}" for rank in range(10)]
    assert list(table["σ² assumed"]) == [f"{rank + 2.0:.3g}" for rank in range(10)]
    assert list(table["50 draws"]) == [f"{rank + 0.875:.2f}" for rank in range(10)]


def test_the_pictures_are_those_of_the_results(page, monkeypatch):
    page, _ = page
    shown = []
    grid = app_pictures.grid
    monkeypatch.setattr(
        app_pictures,
        "grid",
        lambda images, *limits, **k: shown.append(images) or grid(images, *limits, **k),
    )
    click(page, "train_mistakes")
    fields = ("x", "reconstructions", "samples", "draws")
    expected = [getattr(made_up(n, 0), f) for n in ("pixels", "right") for f in fields]
    np.testing.assert_array_equal(np.stack(shown), np.stack(expected))


def test_the_chart_has_the_kl_of_each_dimension(page):
    page, _ = page
    click(page, "train_mistakes")
    (chart,) = page.get("vega_lite_chart")
    assert "version" in chart.proto.spec
    wrong, right = made_up("pixels", 0).kl, made_up("right", 0).kl
    for nats in (wrong, right):
        assert ", ".join(f"{value:.2f}" for value in nats) in chart.proto.alt


@pytest.mark.usefixtures("short")
def test_the_numbers_of_a_real_training_reach_the_page(opened):
    page = opened("mistakes")
    page.number_input(key="mistake_seed").set_value(7).run()
    click(page, "train_mistakes")
    table = page.table[0].value
    assert table.loc["σ² that it assumes", "wrong"] == "32"
    assert float(table.loc["Bound, as assumed (nats)", "wrong"].split()[0]) < -150
    assert "exceed beta sigma^2 = 32" in page.info[0].value
    # As long as results are kept, so are those of the same seed for the next visitor.
    again = opened("mistakes")
    again.number_input(key="mistake_seed").set_value(7).run()
    assert click(again, "train_mistakes").table[0].value.equals(table)


def test_the_weight_of_the_worst_draw_in_words():
    log_w = np.array([[0.0, 1.0], [-2.0, 3.0], [1.0, -1.0]])
    result = dataclasses.replace(made_up("inverted", 0), log_weights=log_w)
    inverted = np.mean(
        [1 / (1 + math.exp(-2) + math.exp(-3)), 1 / (1 + math.exp(-2) + math.exp(-4))]
    )
    right = np.mean([1 / (1 + math.exp(2) + math.exp(3)), 1 / (1 + math.exp(2) + math.exp(4))])
    assert app_mistakes_words.worst_weight(result) == pytest.approx((inverted, right))
    assert f"{inverted:.0%}" in app_mistakes_words.WORDS["inverted"].assumes(result, result)


def test_the_comparison_says_what_is_computed():
    comparison = app_mistakes_words.COMPARISON
    assert f"{len(app_mistakes_judged.digits().test)} digits" in comparison
    assert f"{app_mistakes_judged.WEIGHTED_DRAWS} draws" in comparison
    assert f"{app_mistakes_judged.DRAWS} draws of z" in comparison


def test_a_training_that_fails_is_a_sentence(page, monkeypatch):
    page, _ = page

    def result(name, seed, report):
        raise ValueError("There is no such file.")

    monkeypatch.setattr(app_mistakes_judged, "result", result)
    page.button(key="train_mistakes").click().run()
    assert not page.exception
    assert [error.value for error in page.error] == ["There is no such file."]


def test_one_model_is_trained_at_a_time(monkeypatch):
    inside, most = [], []

    def trained(name, seed, report):
        inside.append(name)
        most.append(len(inside))
        threading.Event().wait(0.05)
        inside.remove(name)
        return None, 0.0

    monkeypatch.setattr(app_mistakes_judged, "trained", trained)
    monkeypatch.setattr(app_mistakes_judged, "judged", lambda *arguments: None)
    threads = [
        threading.Thread(target=app_mistakes_judged.result, args=("right", seed, lambda done: None))
        for seed in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]
