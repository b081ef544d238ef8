import re
import textwrap
from pathlib import Path

import app_glossary
import app_live
import app_source
import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability
from app_formulas import kl_of_normals, log_density
from scipy import stats
from tensorflow_probability import distributions as tfd
from untrained import FakeServed, opened_on, opened_on_served, write_run

import keras_vae
from keras_vae.data import load
from keras_vae.exported import InProcess

DIGITS = load("digits")
EXAMPLE = 7


@pytest.fixture(scope="module")
def vae(run_folder):
    return keras.saving.load_model(run_folder / "model.keras")


def rows(page):
    """What the tables of two columns say: formula to number, of all steps in their order."""
    tables = [t.value for t in page.table if list(t.value) == ["what", "value"]]
    pairs = [pair for table in tables for pair in table.itertuples(index=False)]
    found = {}
    for what, value in pairs:
        found.setdefault(what.strip("$"), []).append(float(value.replace(",", "")))
    return found


def answers(vae, index, seed):
    """x, the parameters of q(z|x), z, and those of p(x|z), by the contract."""
    served = InProcess(vae)
    x = DIGITS.test[index : index + 1].array()
    q = served.predict("encode", {"x": x})
    z = served.predict("encode_sample", {"x": x, "seed": [seed]})["z"]
    return x, q, z, served.predict("decode", {"z": z})


def test_every_number_of_a_normal_model_follows_from_numpy(opened, vae):
    page = opened("derivation")
    page.number_input(key="derivation_index").set_value(EXAMPLE).run()
    page.button(key="derivation_draw").click().run()
    assert not page.exception
    found = rows(page)
    x, q, z, p = answers(vae, EXAMPLE, seed=1)
    sigma, d = float(p["scale"].ravel()[0]), x.size

    log_prior = stats.norm.logpdf(z).sum()
    log_posterior = stats.norm.logpdf(z, q["loc"], q["scale_diag"]).sum()
    log_likelihood = stats.norm.logpdf(x, p["loc"], sigma).sum()
    assert found[r"\log p(z)"] == pytest.approx([log_prior], abs=1e-3)
    assert found[r"\log q(z|x)"] == pytest.approx([log_posterior], abs=1e-3)
    assert found[r"\log p(x|z)"] == pytest.approx([log_likelihood], abs=1e-3)

    error = ((x - p["loc"]) ** 2).sum()
    assert found[r"-\|x - \mathrm{loc}\|^2 / 2\sigma^2"] == pytest.approx(
        [-error / (2 * sigma**2)], abs=1e-3
    )
    constant = -d / 2 * np.log(2 * np.pi * sigma**2)
    assert found[r"-\tfrac{d}{2} \log 2\pi\sigma^2"] == pytest.approx([constant], abs=1e-3)
    assert found[r"\text{sum}"] == pytest.approx(found[r"\text{log\_prob of the model}"], abs=1e-3)
    assert found[r"\text{sum}"] == pytest.approx([log_likelihood], abs=1e-3)

    kl = ((q["scale_diag"] ** 2 + q["loc"] ** 2 - 1 - np.log(q["scale_diag"] ** 2)) / 2).sum()
    assert found[r"\text{by the formula}"] == pytest.approx([kl], abs=1e-3)
    assert found[r"\text{by the package}"] == pytest.approx([kl], abs=1e-3)
    (sampled,), errors = (
        found[r"\text{mean of } \log q(z|x) - \log p(z)"],
        found[r"\text{its standard error}"],
    )
    assert abs(sampled - kl) < 5 * errors[1]

    assert found[r"\text{the bound, ELBO}"] == pytest.approx([log_likelihood - kl], abs=2e-3)
    assert found[r"\text{loss}"] == pytest.approx([kl - log_likelihood], abs=2e-3)

    draws = InProcess(vae).predict(
        "decode_sample", {"z": z.repeat(200, 0), "seed": np.arange(200) + 200}
    )["x"]
    of_draws = ((draws - x) ** 2).sum((1, 2, 3))
    assert found[r"\|x - \text{mean}\|^2"] == pytest.approx([error], abs=1e-3)
    assert found[r"\|x - \text{this draw}\|^2"] == pytest.approx([of_draws[0]], abs=1e-3)
    assert found[r"\text{mean over 200 draws}"] == pytest.approx([of_draws.mean()], abs=1e-3)
    (expected,) = found[r"\text{expected: } \sum_i \mathrm{Var}(\tilde{x}_i)"]
    assert expected == pytest.approx(d * sigma**2, rel=1e-3)
    assert abs(of_draws.mean() - error - expected) < 5 * errors[2]


def test_the_bound_is_below_and_both_are_means_over_the_same_draws(opened, vae):
    found = rows(opened("derivation"))
    x, _, z, _ = answers(vae, 0, seed=0)
    known = app_live.known(vae, x[0], z[0], seed=0)
    w = known.log_weights
    assert found[r"\text{mean of } \log w"] == pytest.approx([w.mean()], abs=1e-3)
    assert found[r"\log \text{ of the mean of } w"] == pytest.approx(
        [np.log(np.mean(np.exp(w - w.max()))) + w.max()], abs=1e-3
    )
    assert found[r"\text{the gap}"][0] > 0
    elbo = vae.elbo(np.repeat(x, 50, 0), num_samples=200, seed=3).numpy()
    error = np.hypot(w.std() / np.sqrt(len(w)), elbo.std() / np.sqrt(len(elbo)))
    assert abs(w.mean() - elbo.mean()) < 5 * error


def test_the_last_step_has_the_loss_of_compute_loss(vae, monkeypatch):
    x = DIGITS.test[EXAMPLE : EXAMPLE + 1].array()
    seed = tf.constant([3, 4])
    z = vae.encode(x).sample(1, seed=seed)[0, 0].numpy()
    monkeypatch.setattr(type(vae), "_seed", lambda self, value=None: seed)
    loss = float(vae.compute_loss(tf.constant(x), training=False))
    assert app_live.known(vae, x[0], z, seed=0).bound == pytest.approx(-loss, abs=1e-4)


def test_the_numbers_leave_the_shared_model_as_it_is(vae):
    before = [v.numpy() for v in vae.variables]
    x, _, z, _ = answers(vae, 0, seed=0)
    app_live.known(vae, x[0], z[0], seed=0)
    for old, variable in zip(before, vae.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy(), err_msg=variable.path)


def test_another_draw_is_one_visitors_own(opened):
    first, second = opened("derivation"), opened("derivation")
    before = rows(first)
    first.button(key="derivation_draw").click().run()
    assert rows(first)[r"\log p(z)"] != before[r"\log p(z)"]
    assert rows(first)[r"\text{by the package}"] == before[r"\text{by the package}"]  # of no draw
    second.run()
    assert rows(second) == before


def test_the_code_is_in_the_file_at_the_lines_that_are_said(opened):
    page = opened("derivation")
    places = [
        re.search(r"`(\S+\.py)`, lines (\d+) to (\d+)", caption.value) for caption in page.caption
    ]
    places = [place.groups() for place in places if place]
    assert len(places) == len(page.code)
    roots = [Path(m.__file__).parents[1] for m in (keras_vae, tensorflow_probability)]
    for (file, first, last), code in zip(places, page.code, strict=True):
        path = next(root / file for root in roots if (root / file).exists())
        lines = path.read_text().splitlines()[int(first) - 1 : int(last)]
        assert code.value == textwrap.dedent("\n".join(lines))
    shown = "\n".join(code.value for code in page.code)
    for needed in ("def compute_loss", "def kl_divergence", "tfd.Normal(", "def _log_prob"):
        assert needed in shown


def test_the_glossary_has_the_words_of_networks(opened):
    (table,) = (t.value for t in opened("derivation").table if "the words of networks" in t.value)
    words = " ".join(table["the words of networks"]).lower()
    for word in (
        "encoder",
        "decoder",
        "latent code",
        "reconstruction loss",
        "kl loss",
        "mse",
        "bce",
    ):
        assert word in words
    for word in ("reparameterisation trick", "beta", "sampling"):
        assert word in words
    assert len(table) == len(dict(app_glossary.GLOSSARY))  # no word twice


def test_other_families_say_what_takes_the_place(tmp_path, monkeypatch):
    run = write_run(
        tmp_path / "run",
        binarisation="threshold",
        posterior="inverse-autoregressive-flow",
        objective="iwae:num_samples=7",
    )
    page = opened_on(run, "derivation", monkeypatch)
    found, said = rows(page), " ".join(info.value for info in page.info)
    assert "Bernoulli. The cross-entropy" in said
    assert "no closed form" in said
    assert r"\text{by the formula}" not in found

    vae = keras.saving.load_model(run.model_path)
    served, x = InProcess(vae), run.recipe.load_data().test[:1].array()
    z = served.predict("encode_sample", {"x": x, "seed": [0]})["z"]
    logits = served.predict("decode", {"z": z})["logits"].astype("float64")
    probs = 1 / (1 + np.exp(-logits))
    log_likelihood = stats.bernoulli.logpmf(x, probs).sum()
    assert found[r"\text{sum}"] == pytest.approx([log_likelihood], abs=1e-3)
    assert found[r"\text{log\_prob of the model}"] == pytest.approx([log_likelihood], abs=1e-3)
    variance = (probs * (1 - probs)).sum()
    assert found[r"\text{expected: } \sum_i \mathrm{Var}(\tilde{x}_i)"] == pytest.approx(
        [variance], abs=1e-3
    )
    w = app_live.known(vae, x[0], z[0], seed=0).log_weights[:7]
    assert found[r"\text{the bound, IWAE}"] == pytest.approx(
        [np.log(np.exp(w - w.max()).mean()) + w.max()], abs=1e-3
    )


def test_a_served_model_shows_what_its_contract_tells(vae, monkeypatch):
    shown = FakeServed(vae, DIGITS)
    page = opened_on_served(shown, "derivation", monkeypatch)
    found = rows(page)
    x, _, _, p = answers(vae, 0, seed=0)
    score = InProcess(vae, num_samples=10).predict("score", {"x": x, "seed": [0]})
    assert found[r"\mathrm{KL}(q(z|x)\,\|\,p(z))"] == pytest.approx(score["kl"], abs=1e-3)
    assert found[r"\|x - \text{mean}\|^2"] == pytest.approx(
        [((x - p["mean"]) ** 2).sum()], abs=1e-3
    )
    assert r"\log p(x|z)" not in found
    assert any("answers the KL as one number" in info.value for info in page.info)


def test_a_served_model_without_data_still_shows_the_steps(vae, monkeypatch):
    page = opened_on_served(FakeServed(vae, None), "derivation", monkeypatch)
    assert "no data at hand" in page.info[1].value
    assert not rows(page)
    assert len(page.expander) == 6
    assert page.code


@pytest.mark.parametrize(
    ("family", "parameters", "x", "expected"),
    [
        ("Normal", {"loc": [0.2, 1.0], "scale": [0.5, 2.0]}, [0.1, 0.4], stats.norm.logpdf),
        ("Laplace", {"loc": [0.2, 1.0], "scale": [0.5]}, [0.1, 0.4], stats.laplace.logpdf),
        ("Poisson", {"rate": [0.7, 3.0]}, [0.0, 4.0], stats.poisson.logpmf),
    ],
)
def test_the_formulas_are_those_of_scipy(family, parameters, x, expected):
    parameters = {name: np.array(value) for name, value in parameters.items()}
    parts = log_density(family, parameters, np.array(x))
    want = expected(np.array(x), *parameters.values()).sum()
    assert sum(part.value for part in parts) == pytest.approx(want)


def test_the_continuous_bernoulli_has_its_constant():
    logits, x = np.array([-6.0, -1e-5, 0.0, 0.4, 5.0]), np.array([0.0, 0.3, 0.5, 0.9, 1.0])
    parts = log_density("ContinuousBernoulli", {"logits": logits}, x)
    want = tfd.ContinuousBernoulli(logits=tf.constant(logits)).log_prob(x).numpy().sum()
    assert sum(part.value for part in parts) == pytest.approx(want)
    assert log_density("StudentT", {"loc": x}, x) is None


def test_the_kl_of_normals_is_that_of_tfp():
    q, p = ([0.3, -2.0], [0.5, 1.5]), ([0.0, 1.0], [1.0, 0.2])
    want = tfd.kl_divergence(tfd.Normal(*q), tfd.Normal(*p)).numpy()
    np.testing.assert_allclose(kl_of_normals(*q, *p), want, rtol=1e-5)


def assigning(value):
    first = value
    # between
    second = {
        "x": first,
    }
    second["y"] = value
    return second


def test_lines_are_read_from_the_source():
    found = app_source.assignments(assigning, "first", "second")
    lines = Path(__file__).read_text().splitlines()
    assert lines[found.first - 1].strip() == "first = value"
    assert lines[found.last - 1].strip() == "}"
    assert found.code.startswith("first = value\n# between\nsecond = {")
    assert found.file == "test_derivation.py"
    with pytest.raises(ValueError, match="without: third"):
        app_source.assignments(assigning, "first", "third")
