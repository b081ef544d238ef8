"""Training in front of a visitor."""

import pathlib
import time

import app_recipes
import app_training
import numpy as np
import pytest
from app_training import AT_ONCE, Busy, Training
from streamlit.testing.v1 import AppTest

from keras_vae.recipe import Recipe

APP = pathlib.Path(__file__).parents[2] / "streamlit_app"

SMALL = ["--data", "digits", "--units", "8", "--latent-size", "2"]


def until(condition, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_a_stopped_training_leaves_a_model_of_the_epochs_that_it_had(tmp_path):
    training = Training([*SMALL, "--epochs", "100000"], tmp_path / "run")
    until(lambda: len(training.history().get("epoch", ())) >= 2)
    training.stop()
    until(lambda: training.ended)
    assert training.trained, training.reason()
    assert training.run.recipe.epochs == len(training.history()["epoch"]) < 100000


def test_a_refusal_is_the_commands_own_sentence(tmp_path):
    training = Training(["--posterior", "power-spherical"], tmp_path / "run")
    until(lambda: training.ended)
    assert not training.trained
    assert training.reason().startswith("q(z|x) and p(z) must live on the same set")
    assert "Traceback" not in training.reason()


def test_a_forgotten_training_takes_its_process_and_its_files_with_it():
    training = Training([*SMALL, "--epochs", "100000"])
    process, folder = training._process, training.run.folder.parent
    del training
    until(lambda: process.poll() is not None)
    assert not folder.exists()


def test_there_are_no_more_trainings_at_once_than_the_machine_takes():
    running = [Training([*SMALL, "--epochs", "100000"]) for _ in range(AT_ONCE)]
    try:
        with pytest.raises(Busy, match="Try again"):
            Training(SMALL)
    finally:
        for training in running:
            training.abandon()
    Training(SMALL).abandon()


def test_the_words_of_a_recipe_make_that_recipe():
    recipe = Recipe(data="digits", units=(8, 4), prior="vamp-prior:pseudo_inputs=5", warm_up=3)
    said = app_recipes.words(recipe)
    assert said == [
        "--units", "8,4", "--prior", "vamp-prior:pseudo_inputs=5", "--warm-up", "3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (Recipe(latent_size=4, posterior="power-spherical"), "must live on the same set"),
        (Recipe(latent_size=4, likelihood="bernoulli"), "Bernoulli"),
        (Recipe(latent_size=4, posterior="low-rank-normal:rank=1000000"), "at most"),
        (Recipe(latent_size=4, prior="vamp-prior:pseudo_inputs=1_000_000_000"), "at most 1000"),
        (Recipe(latent_size=4, prior="vamp-prior:pseudo_inputs=0xFFFFFFF"), "at most 1000"),
        (Recipe(latent_size=4, prior="coupling-flow:layers=999"), "layers of at most 16"),
        (Recipe(latent_size=4, prior="coupling-flow:units=(9,9999)"), "units of at most 1000"),
        (Recipe(latent_size=4, posterior="low-rank-normal:rank=two"), "rank"),
        (Recipe(latent_size=4, posterior="laplace:scale=3"), "no option"),
        (Recipe(latent_size=4, objective="iwae:gradient='dregs'"), "gradient"),
    ],
)
def test_what_is_refused_says_why(recipe, said):
    verdict = app_recipes.verdict(recipe)
    assert verdict.refusal is not None
    assert said in verdict.refusal


def test_what_is_accepted_says_what_it_assumes_and_sets_nobodys_seeds():
    before = np.random.get_state()[1].copy()
    verdict = app_recipes.verdict(Recipe(latent_size=4, likelihood="laplace", seed=5))
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    assert verdict.refusal is None
    assert "Laplace" in verdict.summary
    assert verdict.parameters > 0


def test_the_page_refuses_trains_stops_and_keeps(opened, no_runs):
    page = opened("train")
    page.selectbox(key="posterior").select("power-spherical").run()
    assert "Refused" in page.error[0].value
    assert page.button(key="start").disabled
    page.selectbox(key="posterior").select("diagonal-normal").run()
    assert not page.error
    assert "weights" in page.success[0].value
    page.number_input(key="epochs").set_value(200).run()
    page.button(key="start").click().run()
    training = page.session_state["training"]
    until(lambda: training.history().get("epoch"))
    page.run()
    assert any("validation" in metric.label for metric in page.metric)
    page.button(key="stop").click().run()
    until(lambda: training.ended)
    page.run()
    assert "Held-out bound" in page.success[0].value
    for name, said in (("../up", "a-z"), ("", "a-z"), ("mine", None)):
        page.text_input(key="run_name").set_value(name)
        page.button[0].click().run()
        if said:
            assert said in page.error[0].value
    assert (no_runs / "mine" / "model.keras").exists()
    assert page.session_state["folder"] == str(no_runs / "mine")


def test_where_there_is_no_run_the_digits_are_trained_in_front_of_the_reader(no_runs):
    page = AppTest.from_file(APP / "app.py", default_timeout=120).run()
    assert [title.value for title in page.title] == ["A first model"]
    until(lambda: (no_runs / "digits" / "history.csv").exists())
    page.run()
    assert any("validation" in metric.label for metric in page.metric)
    until(lambda: (no_runs / "digits" / "metrics.json").exists())
    until(lambda: app_training._first(no_runs / "digits").ended)
    page.run()
    assert not page.exception
    assert page.sidebar.selectbox[0].options == ["digits"]
    assert [title.value for title in page.title] == ["What this model assumes"]
