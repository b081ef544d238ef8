"""What the tests of exports share."""

import sys

import pytest
import tensorflow as tf

from keras_vae.exported.reload import problems_of


@pytest.fixture
def checked_here(monkeypatch):
    """Exports are checked in this process: that TensorFlow alone loads them is tested elsewhere."""

    def verify(version, cases):
        signatures = tf.saved_model.load(str(version)).signatures
        for name, case in cases.items():
            assert problems_of(signatures[name], case._asdict()) == []

    monkeypatch.setattr(sys.modules["keras_vae.exported.export"], "verify", verify)
