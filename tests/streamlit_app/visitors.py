"""What tests of the page look at: the pictures of a run, and models without a run."""

import app_state
import numpy as np
import streamlit as st
from app_model import Shown

from keras_vae.exported import InProcess


class Answering(Shown):
    """A model that answers the served contract in this process, as a server would.

    Args:
        vae: the model.
        data: at hand, or None.
        local: whether the pages may look into the model.
    """

    run = None

    def __init__(self, vae, data=None, local=False):
        self.key = self.title = f"answering {id(vae)} {local} {data is None}"
        self.vae = vae if local else None
        self.data = data
        self.event_shape = vae.likelihood.event_shape
        self.latent_size = vae.prior.latent_size
        self.served = InProcess(vae)

    def answer(self, signature, inputs):
        return self.served.predict(signature, inputs)


class Seen:
    """What a page gave Streamlit in its latest run: `pictures`, `charts`, `files`."""

    def __init__(self, monkeypatch):
        self.clear()
        for name, kept in (("image", self.image), ("altair_chart", self.chart)):
            monkeypatch.setattr(st, name, self.after(kept, getattr(st, name)))
        monkeypatch.setattr(st, "download_button", self.after(self.file, st.download_button))

    def clear(self):
        self.pictures, self.charts, self.files = [], [], []

    def after(self, kept, original):
        def call(*args, **options):
            kept(*args, **options)
            return original(*args, **options)

        return call

    def image(self, pixels, caption=None, alt=None):
        assert alt
        self.pictures.append((caption, pixels))

    def chart(self, chart, alt=None, **options):
        assert alt
        self.charts.append(chart)

    def file(self, label, data, **options):
        self.files.append(data)

    def picture(self, caption):
        """The one picture of this caption."""
        (found,) = [pixels for said, pixels in self.pictures if said == caption]
        return found


def serve(monkeypatch, shown):
    """Makes the page's server this model, for a visitor whose `served` is set."""
    monkeypatch.setattr(app_state, "served", lambda address, name: shown)


def assert_same_picture(found, expected):
    """Equal bytes, but for the rounding of a float32 to a shade."""
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
