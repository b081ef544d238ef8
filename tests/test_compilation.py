"""`jit_compile="auto"` on a CPU: XLA compiles a long `fit` of dense networks."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from parts import LIKELIHOODS, OBJECTIVES, make_vae, of_six_bits

from keras_vae import VAE, compilation, devices, likelihoods, networks, objectives
from keras_vae.compilation import LONG, ROWS, pays
from keras_vae.resident_training import ResidentTraining

X = np.random.default_rng(0).integers(0, 2, (103, 6)).astype("float32")


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(compilation, "num_cores", lambda: 2)
    monkeypatch.setattr(compilation, "has_gpu", lambda: False)


class Squared(layers.Layer):
    """A user's own layer: XLA may be able to compile it or not."""

    def call(self, x):
        return x**2


class OwnBernoulli(likelihoods.Bernoulli):
    """A user's own likelihood."""


class OwnVAE(VAE):
    """A user's own model."""


def functional(operation=None):
    inputs = keras.Input((4, 4, 1))
    hidden = layers.LayerNormalization()(layers.Dense(6)(layers.Flatten()(inputs)))
    hidden = operation(hidden) if operation else hidden
    return keras.Model(inputs, layers.Concatenate()([hidden, layers.ReLU()(hidden)]))


def marked():
    dense = layers.Dense(6)
    dense.supports_jit = False
    return keras.Sequential([layers.Flatten(), dense])


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
    "dropout": (
        lambda: keras.Sequential([layers.Flatten(), layers.Dense(6), layers.Dropout(0.1)]),
        False,
    ),
    "an operation that is no layer": (lambda: functional(keras.ops.sort), False),
    "a layer that says so": (marked, False),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_networks_of_dense_layers_gain(name):
    encoder, expected = ENCODERS[name]
    assert pays(make_vae(encoder=encoder), LONG, 128) is expected


def test_a_short_fit_does_not_gain():
    assert not pays(make_vae(), LONG - 1, 128)


@pytest.mark.parametrize("samples", [1, 5])
def test_many_rows_do_not_gain(samples):
    vae = make_vae(objective=lambda: objectives.IWAE(samples))
    assert pays(vae, LONG, ROWS // samples)
    assert not pays(vae, LONG, ROWS // samples + 1)


@pytest.mark.parametrize("name", ["ELBO", "IWAE", "InfoVAE", "BetaTCVAE"])
def test_the_bounds_that_were_measured_gain(name):
    assert pays(make_vae(objective=OBJECTIVES[name]), LONG, 8) == (name in ("ELBO", "IWAE"))


def test_parts_of_a_users_own_do_not_gain():
    assert not pays(make_vae(likelihood=lambda: OwnBernoulli((4, 4, 1))), LONG, 128)
    assert pays(make_vae(likelihood=LIKELIHOODS["Poisson"]), LONG, 128)
    vae = of_six_bits()
    parts = vae.encoder, vae.decoder, vae.posterior, vae.prior, vae.likelihood, vae.objective
    assert not pays(OwnVAE(*parts), LONG, 128)


def test_determinism_does_not_allow_it(monkeypatch):
    monkeypatch.setattr(compilation, "is_op_determinism_enabled", lambda: True)
    assert not pays(make_vae(), LONG, 128)


def test_bfloat16_does_not_gain():
    keras.config.set_dtype_policy("mixed_bfloat16")
    assert not pays(make_vae(), LONG, 128)


@pytest.mark.parametrize(("where", "found"), [("num_cores", 1), ("has_gpu", True)])
def test_one_core_and_a_gpu_do_not_gain(where, found, monkeypatch):
    monkeypatch.setattr(compilation, where, lambda: found)
    assert not pays(make_vae(), LONG, 128)


@pytest.fixture
def started(monkeypatch):
    """What ran the steps of each `fit`, in their order."""
    found, start = [], ResidentTraining.start

    def noted(steps, batch_size):
        found.append(steps)
        return start(steps, batch_size)

    monkeypatch.setattr(ResidentTraining, "start", noted)
    return found


def compiled(vae) -> bool:
    """Whether XLA compiled the steps of the only kind of `fit` that there was."""
    [xla] = vae._executions._kept
    return xla


def trained(epochs=3, rows=103, **compiled):
    """A model after `fit` in batches of 10: 11 steps an epoch of all rows."""
    vae = of_six_bits()
    vae.compile(keras.optimizers.Adam(0.01), **compiled)
    vae.fit(X[:rows], batch_size=10, epochs=epochs, verbose=0)
    return vae


def test_a_long_fit_is_that_of_jit_compile_true(monkeypatch):
    monkeypatch.setattr(compilation, "LONG", 33)
    vae, other, without = trained(), trained(jit_compile=True), trained(jit_compile=False)
    assert (compiled(vae), compiled(without)) == (True, False)
    for weight, expected in zip(vae.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_the_length_of_a_fit_is_all_its_epochs(monkeypatch, started):
    """One that goes on from a later epoch has the steps of the whole, and its draws."""
    monkeypatch.setattr(compilation, "LONG", 33)
    vae = trained(epochs=2)
    vae.fit(X, batch_size=10, initial_epoch=2, epochs=3, verbose=0)
    vae.fit(X, batch_size=10, verbose=0)
    assert [steps.xla for steps in started] == [False, True, False]


def test_a_short_fit_and_a_long_one_in_turn_compile_each_once(monkeypatch, started):
    monkeypatch.setattr(compilation, "LONG", 33)
    vae = trained(epochs=1)
    for epochs in (3, 1, 3):
        vae.fit(X, batch_size=10, epochs=epochs, verbose=0)
    assert [steps.xla for steps in started] == [False, True, False, True]
    assert (started[0], started[1]) == (started[2], started[3])
    for steps in started[:2]:
        assert steps._several.experimental_get_tracing_count() == 2  # full batches, and the last


def test_steps_run_one_by_one_where_a_user_says_so(monkeypatch):
    monkeypatch.setattr(compilation, "LONG", 33)
    vae = of_six_bits()
    vae.compile("adam", run_eagerly=True)
    vae.fit(X, batch_size=10, epochs=3, verbose=0)
    assert not vae._executions._kept


def test_a_loaded_model_decides_as_the_saved_one(monkeypatch, tmp_path):
    monkeypatch.setattr(compilation, "LONG", 33)
    vae = trained()
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    for model in (vae, loaded):
        model.fit(X, batch_size=10, epochs=3, verbose=0)
        assert compiled(model)
    for weight, expected in zip(loaded.get_weights(), vae.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_no_strategy_has_it_not_even_of_one_replica(monkeypatch):
    monkeypatch.setattr(compilation, "LONG", 33)
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        vae = trained()
    assert not compiled(vae)


def test_what_else_goes_with_a_long_fit(monkeypatch):
    monkeypatch.setattr(compilation, "LONG", 33)
    seen = []
    hook = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    weights = np.linspace(0.5, 2, 103)
    models = []
    for asked in ("auto", True):
        vae = of_six_bits()
        adam = keras.optimizers.Adam(0.01, gradient_accumulation_steps=2)
        vae.compile(adam, jit_compile=asked)
        fit = {"epochs": 3, "verbose": 0, "validation_data": X[:20], "callbacks": [hook]}
        history = vae.fit(X, batch_size=10, sample_weight=weights, **fit).history
        assert np.isfinite(history["val_loss"]).all()
        models.append(vae.get_weights())
        assert compiled(vae)
    assert len(seen) == 2 * 33
    for found, expected in zip(*models, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("asked", "variable", "expected"),
    [(0, "", 4), (2, "", 2), (0, "1", 1), (8, "", 4), (3, "1", 3)],
)
def test_the_cores_are_those_that_tensorflow_may_use(monkeypatch, asked, variable, expected):
    name = "get_intra_op_parallelism_threads"
    monkeypatch.setattr(devices.tf.config.threading, name, lambda: asked)
    monkeypatch.setattr(
        devices.os, "sched_getaffinity", lambda process: {0, 1, 2, 3}, raising=False
    )
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", variable)
    assert devices.num_cores() == expected
