"""Runs of models that nobody trained, and a served model without a server."""

import pathlib

import numpy as np
from app_model import Served, client
from streamlit.testing.v1 import AppTest

from keras_vae.exported import InProcess
from keras_vae.exported.signatures import INPUTS
from keras_vae.recipe import Recipe
from keras_vae.runs import Run

APP = pathlib.Path(__file__).parents[2] / "streamlit_app"


def write_run(folder, **words):
    """A run folder of a small model on the digits as it is before training."""
    recipe = Recipe(data="digits", units=(16,), latent_size=4, epochs=1, batch_size=64, **words)
    data = recipe.load_data()
    recipe = recipe.with_defaults(data)
    run = Run(folder)
    run.start(recipe)
    run.write_model(recipe.build(data))
    return run


def opened_on(run, name, monkeypatch):
    """A page on that run."""
    monkeypatch.setenv("KERAS_VAE_RUN", str(run.folder))
    monkeypatch.setenv("KERAS_VAE_RUNS", str(run.folder.parent / "none"))
    page = AppTest.from_file(APP / "app.py", default_timeout=120).run()
    page.switch_page(f"views/{name}.py").run()
    assert not page.exception, page.exception
    return page


class FakeServed(Served):
    """What `Served` is of a model, answered in this process."""

    def __init__(self, vae, data):
        self.key = self.title = "fake"
        self.event_shape = vae.likelihood.event_shape
        self.latent_size = vae.prior.latent_size
        self.data = data
        self.served = InProcess(vae, num_samples=10)
        self.client = self
        self.row = np.zeros((1, *self.event_shape), "float32")

    def answer(self, signature, inputs):
        return self.served.predict(signature, inputs)

    def metadata(self):
        signatures = {name: self._signature(name) for name in INPUTS}
        return client.Model(1, signatures)

    def _signature(self, name):
        inputs = self.served.inputs(name)
        values = {k: np.zeros([1, *spec.shape[1:]]) for k, spec in inputs.items()}
        outputs = self.answer(name, values)
        return client.Signature(
            name,
            {
                k: client.TensorSpec(np.dtype(spec.dtype.as_numpy_dtype), tuple(spec.shape))
                for k, spec in inputs.items()
            },
            {k: client.TensorSpec(v.dtype, (None, *v.shape[1:])) for k, v in outputs.items()},
        )


def opened_on_served(shown, name, monkeypatch):
    """A page on a served model."""
    monkeypatch.setattr("app_state.served", lambda address, model: shown)
    page = AppTest.from_file(APP / "app.py", default_timeout=120)
    page.session_state["served"] = ("localhost:1", "vae")
    page.run()
    page.switch_page(f"views/{name}.py").run()
    assert not page.exception, page.exception
    return page
