import io
import math
import re
from decimal import Decimal

import app_bound
import app_charts
import app_pictures
import app_state
import keras
import numpy as np
import pytest
import tensorflow as tf
from app_model import Shown
from PIL import Image

import keras_vae
from keras_vae.exported import InProcess

NUMBER = r"(-?\d+\.\d{3})"


@pytest.fixture(scope="module")
def vae(run_folder):
    return keras.saving.load_model(run_folder / "model.keras")


@pytest.fixture(scope="module")
def x_test():
    return keras_vae.data.load("digits").test.array()


@pytest.fixture
def shown_pictures(monkeypatch):
    """The arrays behind the pictures of the latest run: x, the mean, the draw."""
    seen = []
    real = app_pictures.picture
    monkeypatch.setattr(
        app_pictures, "picture", lambda x, limits: (seen.append(np.array(x)), real(x, limits))[1]
    )

    class Latest:
        def __iter__(self):
            return iter(seen[-3:])

    return Latest()


def said(page, words):
    (found,) = [m.value for m in page.markdown if words in m.value]
    return found


def table(page):
    frame = page.dataframe[0].value
    return dict(zip(frame["term"], map(Decimal, frame["nats"]), strict=True))


class Model(Shown):
    """A model without a run, in this process, or as one of which only answers can be had."""

    run = None

    def __init__(self, vae, data, key, served=False):
        self.key, self.title, self.data = key, key, data
        self.vae = None if served else vae
        self.event_shape, self.latent_size = vae.likelihood.event_shape, vae.prior.latent_size
        self._served = InProcess(vae, num_samples=3 if served else 1)

    def answer(self, signature, inputs):
        return self._served.predict(signature, inputs)


@pytest.fixture
def opened_on(opened, monkeypatch):
    """Opens the page on any model."""

    def open_page(model):
        monkeypatch.setattr(app_state, "model", lambda: model)
        return opened("one_image")

    return open_page


def errors(page):
    return [error.value for error in page.error]


# On a trained run


def test_the_pictures_are_x_the_mean_and_a_draw(opened, vae, x_test, shown_pictures):
    page = opened("one_image")
    page.number_input(key="image_row").set_value(5).run()
    x, mean, draw = shown_pictures
    np.testing.assert_array_equal(x, x_test[5])
    np.testing.assert_allclose(mean, vae.reconstruct(x_test[5:6])[0], atol=1e-5)
    p = vae.decode(vae.encode(x_test[5:6]).mean())
    np.testing.assert_allclose(draw, p.sample(seed=tf.constant([0, 0]))[0], atol=1e-5)
    label = keras_vae.data.load("digits").test.labels[5]
    assert any(caption.value.startswith(f"Labelled {label}.") for caption in page.caption)

    page.button(key="image_draw").click().run()
    again, same_mean, other = shown_pictures
    np.testing.assert_array_equal(again, x)
    np.testing.assert_array_equal(same_mean, mean)
    np.testing.assert_allclose(other, p.sample(seed=tf.constant([1, 0]))[0], atol=1e-5)
    words = said(page, "root mean square")
    apart = [np.sqrt(np.mean((other - mean) ** 2)), np.sqrt(np.mean((x - mean) ** 2))]
    assert re.findall(r"\*\*(\d\.\d{3})\*\*", words) == [f"{value:.3f}" for value in apart]

    page.button(key="image_another").click().run()
    x, _, _ = shown_pictures
    row = page.number_input(key="image_row").value
    assert row != 5
    np.testing.assert_array_equal(x, x_test[row])
    assert errors(page) == []


def test_the_terms_add_up_to_the_bound_to_the_last_digit(opened, vae, x_test):
    page = opened("one_image")
    log_likelihood, kl, bound = map(Decimal, re.findall(NUMBER, said(page, "= bound")))
    assert log_likelihood - kl == bound

    terms = table(page)
    kl_terms = {name: value for name, value in terms.items() if name.startswith("- KL")}
    assert terms["log p(x|z)"] == log_likelihood
    assert -sum(kl_terms.values()) == kl
    assert terms.pop("bound") == bound == sum(terms.values())

    q = vae.encode(x_test[:1])
    loc, scale = q.mean().numpy()[0], q.stddev().numpy()[0]
    closed = 0.5 * (scale**2 + loc**2 - 1 - np.log(scale**2))
    np.testing.assert_allclose([-float(v) for v in kl_terms.values()], closed, atol=0.00051)

    z = q.sample(20_000, seed=tf.constant([7, 7]))
    log_probs = vae.decode(z).log_prob(x_test[:1]).numpy()[:, 0]
    error = log_probs.std() * math.sqrt(1 / len(log_probs) + 1 / app_bound.DRAWS)
    assert abs(float(log_likelihood) - log_probs.mean()) < 4 * error


def test_the_slider_draws_the_bound_up_to_the_log_likelihood(opened, vae, x_test):
    page = opened("one_image")
    q, p = vae.latents(x_test[:1])
    z = q.sample(2**14, seed=tf.constant([3, 3]))
    own = (vae.decode(z).log_prob(x_test[:1]) + p.log_prob(z) - q.log_prob(z)).numpy()[:, 0]
    bound = Decimal(re.findall(NUMBER, said(page, "= bound"))[-1])
    before = -math.inf
    for size in (1, 16, 256, 1024):
        page.select_slider(key="image_k").set_value(size).run()
        words = said(page, "against the bound")
        value, error = re.search(rf"\*\*{NUMBER}\*\* ± {NUMBER}", words).groups()
        gain = re.search(r"([+-]\d+\.\d{3}) against", words).group(1)
        groups = np.log(np.exp(own.reshape(-1, size).astype("float64")).mean(axis=1))
        own_error = groups.std(ddof=1) / math.sqrt(len(groups))
        # The errors of the largest K are themselves known to 4 groups only.
        both = math.hypot(own_error, max(float(error), own_error * 2 if size == 1024 else 0))
        assert abs(float(value) - groups.mean()) < 4 * both, size
        assert Decimal(value) - bound == Decimal(gain)
        assert float(value) >= before
        before = float(value)
    assert errors(page) == []


def test_a_drawing_becomes_x_and_what_is_none_a_sentence(opened, shown_pictures):
    page = opened("one_image")
    page.radio(key="image_source").set_value("draw").run()
    assert "Draw something" in page.info[0].value
    assert not page.dataframe

    pixels = np.random.default_rng(0).integers(0, 256, 64).tolist()
    page.session_state["image_canvas_8x8"] = {"pixels": pixels}
    page.run()
    x, _, _ = shown_pictures
    sixteenths = np.round(np.reshape(pixels, (8, 8, 1)) / 255 * 16) / 16
    np.testing.assert_array_equal(x, sixteenths)
    assert table(page)
    assert any("divided by 16" in caption.value for caption in page.caption)

    page.session_state["image_canvas_8x8"] = {"pixels": [300] * 64}
    page.run()
    assert "out of range" in errors(page)[0]
    assert not page.exception


def test_a_good_upload_becomes_x_and_a_bad_one_a_sentence(opened, x_test, shown_pictures):
    page = opened("one_image")
    page.radio(key="image_source").set_value("upload").run()
    assert not page.dataframe
    file = io.BytesIO()
    Image.fromarray(np.round(x_test[3, ..., 0] * 255).astype(np.uint8)).save(file, "PNG")
    page.file_uploader(key="image_upload").set_value(("three.png", file.getvalue(), "image/png"))
    page.run()
    x, _, _ = shown_pictures
    np.testing.assert_array_equal(x, x_test[3])
    page.checkbox(key="image_inverted").check().run()
    x, _, _ = shown_pictures
    np.testing.assert_allclose(x, 1 - x_test[3], atol=1e-6)

    bad = ("bad.png", file.getvalue()[:40], "image/png")
    page.file_uploader(key="image_upload").set_value(bad).run()
    assert "Expected: a whole PNG" in errors(page)[0]
    assert not page.exception
    page.radio(key="image_source").set_value("test").run()
    assert errors(page) == []


def test_a_run_of_the_page_leaves_keras_as_it_was(opened):
    page = opened("one_image")
    before = keras.layers.Dense(1).name
    page.run()
    after = keras.layers.Dense(1).name  # Keras counts on, unless its session was cleared
    assert int(after.rpartition("_")[2]) == int("0" + before.removeprefix("dense").strip("_")) + 1


# On other models


def build(posterior, prior, likelihood):
    keras.utils.set_random_seed(0)
    return keras_vae.VAE(
        encoder=keras_vae.networks.mlp([16]),
        decoder=keras_vae.networks.mlp([16]),
        posterior=posterior,
        prior=prior,
        likelihood=likelihood,
    )


def test_a_model_of_bits_with_dependent_dimensions(opened_on, shown_pictures, monkeypatch):
    rows, real = [], app_charts.latents
    monkeypatch.setattr(app_charts, "latents", lambda *args: (rows.append(args[0]), real(*args))[1])
    data = keras_vae.data.load("digits", binarisation="dynamic")
    vae = build(
        keras_vae.posteriors.LowRankNormal(15, rank=2),
        keras_vae.priors.MixtureOfNormals(15, components=3),
        keras_vae.likelihoods.Bernoulli((8, 8, 1)),
    )
    vae.encode(data.test[:1].array())
    page = opened_on(Model(vae, data, "low rank"))
    assert [name for name in table(page) if "KL" in name] == ["- KL"]
    captions = " ".join(caption.value for caption in page.caption)
    assert "depend on each other" in captions
    assert "q(z|x) is shown by 400 draws" in captions
    assert "p(z) is shown by 400 draws" in captions
    assert rows[-1] == [f"z{d}" for d in range(12)]
    page.slider(key="image_dimensions").set_value(3).run()
    assert rows[-1] == ["z0", "z1", "z2"]

    page.radio(key="image_source").set_value("draw").run()
    page.session_state["image_canvas_8x8"] = {"pixels": [0, 255] * 32}
    page.run()
    x, _, draw = shown_pictures
    np.testing.assert_array_equal(x.ravel(), [0, 1] * 32)
    assert set(np.unique(draw)) <= {0, 1}
    assert any("grey value as probability" in caption.value for caption in page.caption)
    assert errors(page) == []


def test_a_served_model_of_which_only_answers_can_be_had(opened_on, vae, x_test, shown_pictures):
    page = opened_on(Model(vae, keras_vae.data.load("digits"), "served", served=True))
    assert any("answers the KL as one number" in caption.value for caption in page.caption)
    slider = page.select_slider(key="image_k")
    assert slider.options == [str(2**n) for n in range(7)]
    log_likelihood, kl, bound = map(Decimal, re.findall(NUMBER, said(page, "= bound")))
    assert log_likelihood - kl == bound
    q, p = vae.latents(x_test[:1])
    np.testing.assert_allclose(float(kl), q.kl_divergence(p).numpy()[0], atol=0.00051)
    # 64 requests of the server's 3 draws are one estimate of 192.
    slider.set_value(64).run()
    value = float(re.search(NUMBER, said(page, "against the bound")).group(1))
    z = q.sample(192 * 100, seed=tf.constant([3, 3]))
    own = (vae.decode(z).log_prob(x_test[:1]) + p.log_prob(z) - q.log_prob(z)).numpy()[:, 0]
    groups = np.log(np.exp(own.reshape(100, 192).astype("float64")).mean(axis=1))
    assert abs(value - groups.mean()) < 4 * groups.std()

    page.radio(key="image_bits").set_value(True).run()
    x, _, _ = shown_pictures
    np.testing.assert_array_equal(x, x_test[0] > 0.5)


def test_without_data_the_test_set_is_missed_in_a_sentence(opened_on, vae):
    page = opened_on(Model(vae, None, "no data", served=True))
    assert "There is no data at hand" in errors(page)[0]
    page.radio(key="image_source").set_value("draw").run()
    page.session_state["image_canvas_8x8"] = {"pixels": [0, 255] * 32}
    page.run()
    assert errors(page) == []
    assert table(page)


# The numbers behind it


def test_estimates_are_means_over_groups_and_never_fall():
    log_weights = np.random.default_rng(0).normal(0, 3, 64)
    found = app_bound.estimates(log_weights)
    assert [each.size for each in found] == [1, 2, 4, 8, 16, 32, 64]
    for each in found:
        groups = np.log(np.exp(log_weights).reshape(-1, each.size).mean(axis=1))
        assert each.groups == len(groups)
        np.testing.assert_allclose(each.value, groups.mean(), rtol=1e-12)
        if len(groups) > 1:
            error = groups.std(ddof=1) / math.sqrt(len(groups))
            np.testing.assert_allclose(each.error, error, rtol=1e-12)
    assert found[-1].error is None
    assert np.all(np.diff([each.value for each in found]) >= 0)
    low = app_bound.estimates(log_weights - 2000)  # far below what exp can hold
    np.testing.assert_allclose(low[-1].value, found[-1].value - 2000)


def test_rounded_terms_add_up_exactly():
    values = {f"KL of z{d}": 0.0005 + 0.1 * d for d in range(50)}
    terms = app_bound.terms(-80.0004999, values)
    assert terms.bound == terms.log_likelihood - sum(terms.kl.values())
    assert abs(float(terms.bound) - (-80.0004999 - sum(values.values()))) < 51 * 0.0005
    assert all(-each.as_tuple().exponent == app_bound.DIGITS for each in terms.kl.values())


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_bound_that_is_no_number_is_a_sentence(value):
    with pytest.raises(ValueError, match="finite"):
        app_bound.terms(value, {"KL": 0.0})


def test_curves_are_densities():
    draws = np.random.default_rng(0).normal(1.0, 0.5, 400)
    for z, density in (
        app_charts.normal_curve(1.0, 0.5),
        app_charts.drawn_curve(draws, draws.min(), draws.max()),
        app_charts.drawn_curve(np.array([0.0, 1.0, 1.0]), 0.0, 1.0),
        app_charts.drawn_curve(np.ones(5), 1.0, 1.0),
    ):
        assert abs(np.trapezoid(density, z) - 1) < 1e-3
    z, density = app_charts.normal_curve(1.0, 0.5)
    np.testing.assert_allclose(density.max(), 1 / (0.5 * math.sqrt(2 * math.pi)))


def test_many_large_x_are_asked_in_several_requests():
    asked = []

    class Large(Shown):
        title, event_shape, vae = "large", (64, 64, 3), "here"

        def answer(self, signature, inputs):
            asked.extend(inputs["seed"])
            assert np.size(inputs["x"]) <= app_bound.VALUES_AT_ONCE
            return {"elbo": np.asarray(inputs["seed"], "float32")}

    found = app_bound.scores("large", Large(), np.zeros((64, 64, 3), "float32"))
    np.testing.assert_array_equal(found["elbo"], np.arange(1024))
    assert asked == list(range(1024))
