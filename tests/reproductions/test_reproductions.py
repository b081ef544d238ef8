"""Each study trains, measures and writes what it says, and goes on where it was stopped."""

import dataclasses
import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from scipy import special, stats

from keras_vae import objectives
from keras_vae.cli import cli
from keras_vae.data import DataSet, Protocol, Source
from keras_vae.reproductions import STUDIES, burda, continuous_bernoulli, keras_guide, linear
from keras_vae.reproductions.larochelle import Gated
from keras_vae.reproductions.running import Job, run
from keras_vae.reproductions.sets import all_training_images
from keras_vae.reproductions.study import Plan

PROTOCOL = Protocol("noise", "300, 20, 20", "none", "none", 0)
QUICK = [  # one of each kind of model
    ("burda", "iwae-k5"),
    ("larochelle", "vamp-prior"),
    ("sigma-vae", "optimal"),
    ("continuous-bernoulli", "bernoulli"),
    ("continuous-bernoulli", "continuous-bernoulli"),
    ("linear", "learned"),
    ("kingma", "mnist-3"),
    ("kingma", "frey-2"),
    ("keras-guide", "as-published"),
    ("keras-guide", "stated"),
]
few_do_not_matter = pytest.mark.filterwarnings("ignore:.*effective samples", "ignore:.*directions")


def noise(study, variant):
    """Random images of the kind that a variant is trained on."""
    random = np.random.default_rng(0)
    shape = (28, 20, 1) if variant.startswith("frey") else (28, 28, 1)
    grey = [random.integers(0, 256, (n, *shape), dtype=np.uint8) for n in (300, 20, 20)]
    if study in ("larochelle",):
        return DataSet(PROTOCOL, *(Source(g % 2) for g in grey))
    if study == "burda" or variant.startswith("mnist"):
        held_out = (Source(g % 2) for g in grey[1:])
        return DataSet(PROTOCOL, Source(grey[0], 255.0, dynamic=True), *held_out)
    return DataSet(PROTOCOL, *(Source(g, 255.0) for g in grey))


def job(study, variant, epochs=2):
    found = STUDIES[study].variant(variant)
    found = dataclasses.replace(found, data=lambda data_dir: noise(study, variant))
    return Job(STUDIES[study], found, epochs, num_samples=20)


def quiet(line):
    """Says nothing."""


@few_do_not_matter
@pytest.mark.parametrize(("study", "variant"), QUICK)
def test_a_variant_is_trained_measured_and_written(study, variant, tmp_path):
    path = run(job(study, variant), tmp_path / "runs", tmp_path / "results", quiet)
    result = json.loads(path.read_text())
    how = result["figures"].get("-log p(x)", {}).get("how", "exact")
    draws = "" if how.startswith("exact") else "-draws20"  # of other numbers nothing depends on it
    assert path.name == f"{study}-{variant}-epochs2-seed0{draws}.json"
    assert result["num_samples"] == (20 if draws else None)
    assert result["protocol"] == dataclasses.asdict(PROTOCOL)
    assert result["epochs"] == 2
    assert result["training_seconds"] > 0
    assert result["parameters"] > 1_000
    for figure in result["figures"].values():
        assert np.isfinite(figure["value"])
    published = STUDIES[study].variant(variant).published
    assert {n for n, f in result["figures"].items() if f["published"]} == set(published)
    assert (result["curve"] is not None) == (study == "kingma")


@few_do_not_matter
def test_a_stopped_run_ends_as_the_uninterrupted_one(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_vae.reproductions.running.SECONDS", 0.0)
    wanted = job("burda", "iwae-k5", epochs=3)
    whole = json.loads(run(wanted, tmp_path / "a", tmp_path / "a", quiet).read_text())

    monkeypatch.setattr("keras_vae.reproductions.running.Recorder.on_epoch_end", stopping_after(1))
    with pytest.raises(KeyboardInterrupt):
        run(wanted, tmp_path / "b", tmp_path / "b", quiet)
    monkeypatch.undo()
    resumed = json.loads(run(wanted, tmp_path / "b", tmp_path / "b", quiet).read_text())
    for name, figure in whole["figures"].items():
        assert resumed["figures"][name]["value"] == pytest.approx(figure["value"], rel=1e-5)


def stopping_after(epochs):
    """What `Recorder` does after an epoch, and then Ctrl-C."""
    from keras_vae.runs import Recorder

    original = Recorder.on_epoch_end

    def stopped(self, epoch, logs=None):
        original(self, epoch, logs)
        if epoch + 1 == epochs:
            raise KeyboardInterrupt

    return stopped


def test_a_result_that_is_there_is_left_as_it_is(tmp_path):
    wanted = job("linear", "learned")
    path = tmp_path / f"{wanted.name}.json"
    path.write_text("{}")
    lines = []
    assert run(wanted, tmp_path / "runs", tmp_path, lines.append) == path
    assert path.read_text() == "{}"
    assert lines == [f"{wanted.name}: there already"]


@few_do_not_matter
def test_another_number_of_draws_is_another_result_of_the_same_training(tmp_path):
    few = job("burda", "iwae-k5", epochs=1)
    first = run(few, tmp_path, tmp_path / "results", quiet)
    lines = []
    second = run(
        dataclasses.replace(few, num_samples=30), tmp_path, tmp_path / "results", lines.append
    )
    assert first != second
    assert not any("epoch" in line.split(": ")[1] for line in lines)  # trained once
    how = [json.loads(p.read_text())["figures"]["-log p(x)"]["how"] for p in (first, second)]
    assert "20 draws" in how[0]
    assert "30 draws" in how[1]


@few_do_not_matter
def test_a_result_says_what_trained_and_measured_it(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_vae.reproductions.running._commit", lambda: "first")
    wanted = job("linear", "learned", epochs=2)
    monkeypatch.setattr("keras_vae.reproductions.running.Recorder.on_epoch_end", stopping_after(1))
    with pytest.raises(KeyboardInterrupt):
        run(wanted, tmp_path, tmp_path, quiet)
    monkeypatch.undo()
    monkeypatch.setattr("keras_vae.reproductions.running._commit", lambda: "second")
    versions = {"keras": keras.__version__, "tensorflow": "2.99"}
    monkeypatch.setattr("keras_vae.reproductions.running.versions", lambda: versions)
    result = json.loads(run(wanted, tmp_path, tmp_path, quiet).read_text())
    assert result["commit"] == "first, second"
    both = {"keras": keras.__version__, "tensorflow": f"{tf.__version__}, 2.99"}
    assert result["versions"] == both


@few_do_not_matter
@pytest.mark.parametrize("changed", [{"optimiser": "another"}, {"batch_size": 7}])
def test_a_training_of_another_model_is_not_gone_on_with(changed, tmp_path):
    wanted = job("linear", "learned", epochs=2)
    run(wanted, tmp_path, tmp_path, quiet)
    other = dataclasses.replace(wanted.variant, **changed)
    with pytest.raises(ValueError, match="another model by this name"):
        run(dataclasses.replace(wanted, variant=other), tmp_path, tmp_path / "other", quiet)


# The studies' own parts


def test_burdas_schedule_has_its_eight_stages():
    full = burda.learning_rate(Plan(epochs=3280, steps=10, seed=0))
    ends = np.cumsum([3**i for i in range(8)])
    for stage, end in enumerate(ends):
        assert float(full(end * 10)) == pytest.approx(0.001 * 10 ** (-stage / 7))
        if stage < 7:
            assert float(full(end * 10 + 1)) == pytest.approx(0.001 * 10 ** (-(stage + 1) / 7))
    short = burda.learning_rate(Plan(epochs=328, steps=100, seed=0))
    assert float(short(328 * 100)) == pytest.approx(1e-4)
    assert float(short(0)) == pytest.approx(1e-3)


def test_what_is_compared_differs_in_the_bound_alone():
    variants = STUDIES["burda"].variants
    data = noise("burda", "vae-k1")
    plan = Plan(epochs=1, steps=3, seed=0)
    models = [variant.build(data, plan) for variant in variants]
    assert len({model.count_params() for model in models}) == 1
    assert [model.objective.num_samples for model in models] == [1, 5, 5, 50, 50, 50]
    assert models[-1].objective == objectives.IWAE(50, gradient="dreg")


def test_a_direction_counts_where_it_adds_a_fiftieth_of_the_noise():
    random = np.random.default_rng(0)
    left, right = (np.linalg.qr(random.normal(size=(n, n)))[0] for n in (6, 3))
    w = left[:, :3] @ np.diag([3.0, 0.29, 0.28]) @ right  # no latent is a direction by itself
    assert linear.directions(w, 4.0) == 2
    assert linear.directions(w, 3.0) == 3


def test_the_best_w_has_as_many_directions_as_there_are_eigenvalues_above_the_variance():
    """`W = U sqrt(eigenvalues - variance)` of those above it (Tipping and Bishop 1999)."""
    values = np.array([9.0, 4.0, 1.5, 1.01, 0.99, 0.2])
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    best = axes * np.sqrt(np.maximum(values - 1.0, 0))
    assert linear.directions(best, 1.0) == np.sum(values > 1 + linear.TOLD) == 3


def test_the_linear_models_density_and_its_best_are_exact():
    random = np.random.default_rng(0)
    x = random.normal(size=(500, 6)) @ random.normal(size=(6, 6))
    w, variance = random.normal(size=(6, 2)), 0.7
    second = x.T @ x / len(x)
    expected = stats.multivariate_normal(np.zeros(6), w @ w.T + variance * np.eye(6)).logpdf(x)
    assert linear._log_p(second, w, variance) == pytest.approx(expected.mean())

    covariance = np.cov(x.T, bias=True)
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1], vectors[:, ::-1]
    noise_variance = values[2:].mean()
    best = vectors[:, :2] * np.sqrt(values[:2] - noise_variance)
    reached = linear._log_p(covariance, best, noise_variance)
    assert linear._best(values, 2, noise_variance) == pytest.approx(reached)
    for _ in range(20):
        other = linear._log_p(covariance, best + 0.05 * random.normal(size=(6, 2)), noise_variance)
        assert other < reached


def test_the_guides_loss_is_an_elbo_with_the_variance_that_it_implies():
    """D times the loss is `-ELBO` less the constant of a Normal with variance d / 2D."""
    model = keras_guide.guide(noise("keras-guide", ""), Plan(1, 1, 0))
    x = np.random.default_rng(0).random((2_000, 784)).astype("float32")
    loss = model.evaluate(x, x, verbose=0)
    figures = keras_guide._of_guide(model, x, seed=0)
    constant = 392 * np.log(2 * np.pi * keras_guide.IMPLIED)
    assert figures["-ELBO"].value - constant == pytest.approx(32 * loss, rel=1e-3)
    assert figures["-ELBO, best scale for its means"].value < figures["-ELBO"].value
    assert keras_guide.IMPLIED == 12.25


def test_a_matched_continuous_bernoulli_has_the_mean_of_the_bernoulli():
    """Or as near to 0 or 1 as one can have whose parameter is at least 0.0001 from them."""
    logits = tf.constant(np.linspace(-15, 15, 60), tf.float32)[None, None]  # none of them is 0
    expected = special.expit(logits.numpy().ravel().astype("float64"))
    matched = continuous_bernoulli._matched(logits).numpy().ravel().astype("float64")
    found = -1 / np.expm1(-matched) - 1 / matched
    most = special.logit(1 - 1e-4)
    highest = -1 / np.expm1(-most) - 1 / most
    np.testing.assert_allclose(found, np.clip(expected, 1 - highest, highest), rtol=1e-4)


def test_clipped_parameters_are_a_ten_thousandth_from_their_ends():
    logits = tf.constant([[[-20.0, -3.0, 0.5, 20.0]]])
    found = special.expit(continuous_bernoulli._clipped(logits).numpy().ravel())
    np.testing.assert_allclose(found, [1e-4, *special.expit([-3, 0.5]), 1 - 1e-4], rtol=1e-4)


def test_a_gated_layer_is_a_product():
    layer = Gated(3)
    x = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
    y = layer(x).numpy()
    w, b, v, c = layer.get_weights()
    np.testing.assert_allclose(y, (x @ w + b) / (1 + np.exp(-(x @ v + c))), rtol=1e-5)


@pytest.mark.parametrize("binarisation", ["dynamic", "none"])
def test_all_training_images_are_all_of_the_files(binarisation):
    if not os.environ.get("KERAS_VAE_DATA"):
        pytest.skip("needs mnist in KERAS_VAE_DATA")
    data = all_training_images("mnist", None, binarisation)
    assert data.train.values.shape == (60_000, 28, 28, 1)
    assert data.train.values.max() == 255
    assert data.train.dynamic == (binarisation == "dynamic")
    assert len(data.test) == 10_000
    assert data.test.values.max() == (1 if binarisation == "dynamic" else 255)


# The command


def test_the_command_lists_the_studies():
    shown = CliRunner().invoke(cli, ["reproduce"])
    assert shown.exit_code == 0
    for study in STUDIES.values():
        assert study.reference in shown.output
        for variant in study.variants:
            assert variant.model in shown.output


def test_a_variant_that_is_none_is_refused():
    shown = CliRunner().invoke(cli, ["reproduce", "burda", "--only", "vae-k7"])
    assert shown.exit_code != 0
    assert "Expected one of: vae-k1" in str(shown.exception)


def test_names_are_unique():
    for study in STUDIES.values():
        names = [variant.name for variant in study.variants]
        assert len(names) == len(set(names))
    assert keras.backend.backend() == "tensorflow"
