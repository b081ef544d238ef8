"""Several steps for one call from Python, unless somebody counts them one by one."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from parts import of_six_bits

from keras_vae import executions
from keras_vae.executions import STEPS_AT_ONCE, STEPS_AT_ONCE_COMPILED, steps_at_once

X = np.random.default_rng(0).integers(0, 2, (100, 6)).astype("float32")


def model(**compiled):
    vae = of_six_bits()
    vae.compile("adam", **compiled)
    return vae


class Counter(keras.callbacks.Callback):
    """Counts batches."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def on_train_batch_end(self, batch, logs=None):
        self.seen += 1


class Epochs(keras.callbacks.Callback):
    """Has no hook of a batch."""


@pytest.mark.parametrize(
    ("callbacks", "steps", "expected"),
    [
        ([], (), STEPS_AT_ONCE),
        ([Epochs(), keras.callbacks.TerminateOnNaN()], (None, None), STEPS_AT_ONCE),
        (
            [keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)],
            (),
            STEPS_AT_ONCE,
        ),
        ([Epochs(), Counter()], (), 1),
        ([keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)], (), 1),
        ([keras.callbacks.LambdaCallback(on_train_batch_end=[].insert)], (), 1),
        ([], (None, 5), 1),
    ],
    ids=[
        "nothing",
        "Keras's own",
        "an epoch's",
        "a batch's",
        "a lambda of a batch",
        "a list",
        "steps",
    ],
)
def test_how_many_steps_one_call_runs(callbacks, steps, expected):
    assert steps_at_once(callbacks, *steps) == expected


def test_on_a_gpu_more_steps_run_at_once(monkeypatch):
    monkeypatch.setattr(executions, "has_gpu", lambda: True)
    assert steps_at_once([]) == STEPS_AT_ONCE_COMPILED
    assert steps_at_once([Counter()]) == 1


def test_more_steps_run_at_once_where_xla_compiles_their_loop():
    vae = model(jit_compile=True)
    vae.fit(X, batch_size=10, verbose=0)
    assert vae.steps_per_execution == STEPS_AT_ONCE_COMPILED
    counter = Counter()
    vae.fit(X, batch_size=10, callbacks=[counter], verbose=0)
    assert (vae.steps_per_execution, counter.seen) == (1, 10)


def test_a_hook_sees_every_batch():
    counter, vae = Counter(), model()
    vae.fit(X, batch_size=10, verbose=0)
    assert vae.steps_per_execution == STEPS_AT_ONCE
    vae.fit(X, batch_size=10, callbacks=[counter], verbose=0)
    assert counter.seen == 10
    vae.fit(X, batch_size=10, verbose=0)
    assert vae.steps_per_execution == STEPS_AT_ONCE


def test_a_number_of_steps_is_kept():
    vae = model()
    vae.fit(X, batch_size=10, verbose=0)
    done = int(vae.optimizer.iterations.numpy())
    vae.fit(X, batch_size=10, steps_per_epoch=3, verbose=0)
    assert (done, int(vae.optimizer.iterations.numpy())) == (10, 13)


def test_a_number_that_was_chosen_stays():
    vae = model(steps_per_execution=3)
    vae.fit(X, batch_size=10, verbose=0)
    assert vae.steps_per_execution == 3


def test_the_weights_are_the_same_whatever_runs_at_once():
    weights = []
    for steps in (1, "auto"):
        vae = model(steps_per_execution=steps)
        vae.fit(X, batch_size=10, epochs=2, verbose=0)
        weights.append(np.concatenate([w.numpy().ravel() for w in vae.trainable_weights]))
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("steps", [3, "auto"])
def test_a_loaded_model_goes_on_as_it_was_compiled(tmp_path, steps):
    model(steps_per_execution=steps).save(tmp_path / "model.keras")
    vae = keras.saving.load_model(tmp_path / "model.keras")
    vae.fit(X, batch_size=10, verbose=0)
    assert vae.steps_per_execution == (3 if steps == 3 else STEPS_AT_ONCE)


def test_a_model_that_is_not_compiled_predicts_and_is_saved(tmp_path):
    compiled = model()
    vae = compiled.from_config(compiled.get_config())
    assert vae.predict(X, batch_size=10, verbose=0).shape == X.shape
    vae.save(tmp_path / "model.keras")
    assert not keras.saving.load_model(tmp_path / "model.keras").compiled


def test_step_by_step_in_python_nothing_runs_at_once():
    vae = model(run_eagerly=True)
    vae.fit(X[:20], batch_size=10, verbose=0)
    assert vae.steps_per_execution == 1


def test_evaluating_in_a_callback_leaves_the_steps_of_fit_as_they_are():
    class Evaluates(Counter):
        def on_epoch_end(self, epoch, logs=None):
            self.model.evaluate(X, verbose=0)

    counter, vae = Evaluates(), model()
    vae.fit(X, batch_size=10, epochs=2, callbacks=[counter], verbose=0)
    assert counter.seen == 20


def rows_seen(vae) -> float:
    _, count = vae.metrics[0].total_and_count()
    return float(count)


def test_steps_that_a_callback_counts_are_as_many():
    counts = []

    class Evaluates(Epochs):
        def on_epoch_end(self, epoch, logs=None):
            self.model.evaluate(X, batch_size=10, steps=3, verbose=0)
            counts.append(rows_seen(self.model))

    vae = model()
    vae.fit(X, batch_size=10, epochs=2, callbacks=[Evaluates()], verbose=0)
    vae.evaluate(X, batch_size=10, steps=3, verbose=0)
    assert counts == [rows_seen(vae)] * 2
    assert vae.steps_per_execution == 1
    assert int(vae.optimizer.iterations) == 20


def test_a_later_fit_on_a_dataset_compiles_nothing(monkeypatch):
    vae, data = model(), tf.data.Dataset.from_tensor_slices(X).batch(10)
    traced = []
    step = vae.train_step
    monkeypatch.setattr(vae, "train_step", lambda batch: (traced.append(1), step(batch))[1])
    for batches in (data, data, X, data):
        vae.fit(batches, batch_size=10 if batches is X else None, verbose=0)
    assert len(traced) == 2  # one of Keras's function, one of the array's
