import json
import re

import keras
import numpy as np
import pytest
from app_diagram import Flow, picture, words
from untrained import FakeServed, opened_on, opened_on_served, write_run

from keras_vae.data import load


@pytest.fixture(scope="module")
def vae(run_folder):
    return keras.saving.load_model(run_folder / "model.keras")


def drawn(page):
    """What the picture says to those who do not see it."""
    (html,) = page.get("html")
    return re.search('aria-label="([^"]*)"', html.proto.body)[1]


def test_the_page_shows_the_formulas_that_the_model_states(opened, vae):
    shown = " ".join(latex.value for latex in opened("model").latex)
    stated = vae.assumptions()
    for part in (stated.posterior, stated.prior, stated.likelihood, stated.bound):
        assert part.equation in shown
    assert r"\log p(x) \;\ge\; " + stated.bound.equation in shown


def test_the_numbers_are_those_of_the_run(opened, run_folder, vae):
    page = opened("model")
    found = json.loads((run_folder / "metrics.json").read_text())
    shown = {metric.label: metric.value for metric in page.metric}
    for label, name in (("Held-out bound", "elbo"), ("Baseline without z", "independent_baseline")):
        mean, error = map(float, shown[f"{label}, nats"].split(" ± "))
        assert mean == pytest.approx(found["test"][name]["mean"], abs=0.005)
        assert error == pytest.approx(found["test"][name]["standard_error"], abs=0.005)
    weights = sum(int(np.prod(w.shape)) for w in vae.weights)
    assert int(shown["Parameters"].replace(",", "")) == weights
    assert (shown["β"], shown["K"], shown["KL"]) == ("1", "1", "exact")
    said = " ".join(caption.value for caption in page.caption)
    assert found["protocol"]["split"] in said
    assert found["protocol"]["scaling"] in said


def test_the_picture_has_the_shapes_of_the_parameters(opened, vae):
    said = drawn(opened("model"))
    q = vae.encode(np.zeros((1, 8, 8, 1)))
    assert (
        f"loc {q.mean().shape[1:].as_list()}, scale_diag {q.stddev().shape[1:].as_list()}" in said
    )
    assert "Normal: loc [8, 8, 1], scale [1, 1, 1]" in said
    weights = sum(int(np.prod(w.shape)) for w in vae.encoder.weights)
    assert f"{weights:,} weights" in said


def test_what_a_run_has_not_measured_is_said(tmp_path, monkeypatch):
    run = write_run(tmp_path / "run", objective="elbo:beta=0.5")
    page = opened_on(run, "model", monkeypatch)
    assert "written no numbers" in page.info[0].value
    assert not page.metric


def test_a_beta_below_one_is_called_no_bound(tmp_path, monkeypatch):
    page = opened_on(write_run(tmp_path / "run", beta=0.5), "model", monkeypatch)
    assert not [latex for latex in page.latex if r"\ge" in latex.value]
    assert any("no lower bound" in markdown.value for markdown in page.markdown)


def test_of_a_served_model_the_page_shows_the_contract(vae, monkeypatch):
    page = opened_on_served(FakeServed(vae, load("digits")), "model", monkeypatch)
    table = page.table[0].value.set_index("signature")
    assert table.loc["`decode`", "inputs"] == "`z` float32 [4]"
    assert table.loc["`score`", "outputs"] == "; ".join(
        f"`{name}` float32 []" for name in ("elbo", "log_likelihood", "kl")
    )
    assert "loc [4], scale_diag [4]" in drawn(page)
    assert "DiagonalNormal" not in drawn(page)
    assert "does not send" in page.info[0].value
    assert not page.metric


def test_words_of_a_model_are_no_markup_in_the_picture():
    flow = Flow([2], '<b>"', [3], "A & B", {"loc": [4]}, 4, "P", "d", None, "L", {"rate": [2]})
    body = picture(flow)
    assert "<b>" not in body
    assert "A &amp; B" in body
    assert "&lt;b&gt;&quot;" in body
    assert "loc [4]. A draw z of 4 values" in words(flow)
