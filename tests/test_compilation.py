"""`jit_compile="auto"` on a CPU: XLA compiles a long `fit` of dense networks."""

import keras
import numpy as np
import pytest
from keras import layers
from parts import make_vae, of_six_bits

from keras_vae import compilation, networks
from keras_vae.compilation import LONG, pays

X = np.random.default_rng(0).integers(0, 2, (103, 6)).astype("float32")


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(compilation, "num_cores", lambda: 2)
    monkeypatch.setattr(compilation, "has_gpu", lambda: False)


class Squared(layers.Layer):
    """A user's own layer: XLA may be able to compile it or not."""

    def call(self, x):
        return x**2


def functional():
    inputs = keras.Input((4, 4, 1))
    hidden = layers.LayerNormalization()(layers.Dense(6)(layers.Flatten()(inputs)))
    return keras.Model(inputs, layers.Concatenate()([hidden, layers.ReLU()(hidden)]))


ENCODERS = {
    "an MLP": (lambda: networks.mlp([6]), True),
    "a functional model": (functional, True),
    "convolutions": (lambda: networks.conv([3, 6]), False),
    "a layer of the user's": (
        lambda: keras.Sequential([layers.Flatten(), Squared(), layers.Dense(6)]),
        False,
    ),
    "a recurrence": (
        lambda: keras.Sequential([layers.Reshape((4, 4)), layers.LSTM(6)]),
        False,
    ),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_networks_of_dense_layers_gain(name):
    encoder, expected = ENCODERS[name]
    assert pays(make_vae(encoder=encoder), LONG) is expected


def test_a_short_fit_does_not_gain():
    assert not pays(make_vae(), LONG - 1)


def test_bfloat16_does_not_gain():
    keras.config.set_dtype_policy("mixed_bfloat16")
    assert not pays(make_vae(), LONG)


@pytest.mark.parametrize(("where", "found"), [("num_cores", 1), ("has_gpu", True)])
def test_one_core_and_a_gpu_do_not_gain(where, found, monkeypatch):
    monkeypatch.setattr(compilation, where, lambda: found)
    assert not pays(make_vae(), LONG)


def trained(epochs=3, rows=103, **compiled):
    """A model after `fit` in batches of 10: 11 steps an epoch of all rows."""
    vae = of_six_bits()
    vae.compile(keras.optimizers.Adam(0.01), **compiled)
    vae.fit(X[:rows], batch_size=10, epochs=epochs, verbose=0)
    return vae


def test_a_long_fit_is_that_of_jit_compile_true(monkeypatch):
    monkeypatch.setattr(compilation, "LONG", 33)
    vae, other, without = trained(), trained(jit_compile=True), trained(jit_compile=False)
    assert (vae._executions._resident.xla, without._executions._resident.xla) == (True, False)
    for weight, expected in zip(vae.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_the_length_of_a_fit_is_all_its_epochs(monkeypatch):
    """One that goes on from a later epoch has the steps of the whole, and its draws."""
    monkeypatch.setattr(compilation, "LONG", 33)
    vae = trained(epochs=2)
    assert not vae._executions._resident.xla
    vae.fit(X, batch_size=10, initial_epoch=2, epochs=3, verbose=0)
    assert vae._executions._resident.xla
    vae.fit(X, batch_size=10, verbose=0)
    assert not vae._executions._resident.xla


def test_steps_run_one_by_one_where_a_user_says_so(monkeypatch):
    monkeypatch.setattr(compilation, "LONG", 33)
    vae = of_six_bits()
    vae.compile("adam", run_eagerly=True)
    vae.fit(X, batch_size=10, epochs=3, verbose=0)
    assert vae._executions._resident is None
