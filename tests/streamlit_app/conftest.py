"""A trained run, and the page on it without a browser."""

import fcntl
import pathlib

import app_training
import pytest
from streamlit.testing.v1 import AppTest

from keras_vae.recipe import Recipe
from keras_vae.runs import Run, train

APP = pathlib.Path(__file__).parents[2] / "streamlit_app"


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """A run of a few epochs on the digits, once for all the processes that run tests."""
    shared = tmp_path_factory.getbasetemp()
    if shared.name.startswith("popen-"):  # of one of several processes
        shared = shared.parent
    folder = shared / "runs" / "small"
    folder.parent.mkdir(exist_ok=True)
    with open(shared / "runs.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _train(Run(folder))
    return folder


def _train(run):
    recipe = Recipe(data="digits", units=(64,), latent_size=4, epochs=15)
    data = recipe.load_data()
    recipe = recipe.with_defaults(data)
    run.start(recipe)
    train(run, recipe, data, recipe.build(data), [])


@pytest.fixture
def no_runs(tmp_path, monkeypatch):
    """A page that has no run yet; the folder where it keeps them."""
    monkeypatch.setenv("KERAS_VAE_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("KERAS_VAE_RUN", raising=False)
    yield tmp_path / "runs"
    app_training._first.clear()  # which ends what was begun


@pytest.fixture
def opened(run_folder, monkeypatch):
    """Opens a page, `opened("model")`, on the trained run, as a new visitor."""
    monkeypatch.setenv("KERAS_VAE_RUNS", str(run_folder.parent))
    monkeypatch.delenv("KERAS_VAE_RUN", raising=False)

    def open_page(name):
        page = AppTest.from_file(APP / "app.py", default_timeout=120).run()
        page.switch_page(f"views/{name}.py").run()
        assert not page.exception, page.exception
        return page

    return open_page
