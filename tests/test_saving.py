"""A file holds the whole model: another process goes on exactly where the first one stopped."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_vae
from keras_vae.data import Source
from keras_vae.likelihoods import Bernoulli, Normal
from keras_vae.networks import conv, conv_transpose, mlp
from keras_vae.objectives import ELBO, IWAE
from keras_vae.posteriors import DiagonalNormal, FullCovarianceNormal
from keras_vae.priors import StandardNormal

ROOT = pathlib.Path(__file__).parents[1]
E = (6, 5, 1)


@keras.saving.register_keras_serializable(package="tests_of_saving")
class Own(keras.Model):
    def __init__(self, units=6, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.flatten = keras.layers.Flatten()
        self.dense = keras.layers.Dense(units, activation="tanh")

    def call(self, inputs):
        return self.dense(self.flatten(inputs))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def noisy():
    return keras.Sequential(
        [
            keras.layers.Flatten(),
            keras.layers.Dense(6, activation="tanh"),
            keras.layers.Dropout(0.3),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.2),
        ]
    )


SCHEDULE = keras.optimizers.schedules.PolynomialDecay(0.0, 10, 4.0)
COMBINATIONS = {
    "plain": {},
    "scheduled": {
        "likelihood": Normal(E, scale="shared"),
        "posterior": FullCovarianceNormal(3),
        "objective": ELBO(beta=SCHEDULE, num_samples=2, free_bits=0.1),
    },
    "convolutional": {
        "encoder": conv([4, 4]),
        "decoder": conv_transpose([4, 4], E),
        "likelihood": Normal(E, scale="per_value"),
        "objective": IWAE(num_samples=3),
    },
    "noisy": {"encoder": noisy(), "decoder": noisy()},
    "own": {"encoder": Own(7), "decoder": Own()},
    "half": {"encoder": mlp([8]), "decoder": mlp([8])},
}


def model(name):
    """A fresh model of a combination: the parts above are only their configurations."""
    keras.config.set_dtype_policy("mixed_float16" if name == "half" else "float32")
    defaults = {
        "encoder": mlp([6]),
        "decoder": mlp([6]),
        "posterior": DiagonalNormal(3),
        "prior": StandardNormal(3),
        "likelihood": Bernoulli(E),
    }
    made = {part: type(value).from_config(value.get_config()) if part != "objective" else value
            for part, value in {**defaults, **COMBINATIONS[name]}.items()}  # fmt: skip
    if name == "half":
        made |= {"encoder": mlp([8]), "decoder": mlp([8])}
    vae = keras_vae.VAE(**made, seed=1)
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    return vae


def data(rows=20, seed=0):
    return (np.random.default_rng(seed).random((rows, *E)) > 0.4).astype("float32")


def state_of(vae):
    """Every number that the next step depends on."""
    state = {f"{i}:{v.path}": np.asarray(v) for i, v in enumerate(vae.variables)}
    optimizer = {f"optimizer/{i}": np.asarray(v) for i, v in enumerate(vae.optimizer.variables)}
    return {**state, **optimizer}


LOAD = """
import json, sys
import numpy as np
import keras, keras_vae

answers = {{}}
for name in {names!r}:
    if name == "own":  # only a class of the user's own has to be imported
        sys.path.insert(0, {tests!r})
        import test_saving
    vae = keras.saving.load_model(f"{folder}/{{name}}.keras", safe_mode=True)
    x = np.load("{folder}/x.npy")
    state = [np.asarray(v).tolist() for v in (*vae.variables, *vae.optimizer.variables)]
    answers[name] = {{
        "state": state,
        "policies": [layer.dtype_policy.name for layer in
                     (vae, vae.encoder.layers[-1], vae.posterior.projections["loc"])],
        "evaluate": vae.evaluate(x, verbose=0, return_dict=True),
        "mean": np.asarray(vae.reconstruct(x)).tolist(),
        "elbo": np.asarray(vae.elbo(x, num_samples=3, seed=5)).tolist(),
        "beta": float(vae.assumptions().bound.beta),
        "train": vae.train_on_batch(x, return_dict=True),
        "steps": int(vae.optimizer.iterations),
    }}
print(json.dumps(answers))
"""


def python(code):
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def answers(vae, x):
    """What a model says after it was saved; the draws too, since the seed's state goes along."""
    layers = vae, vae.encoder.layers[-1], vae.posterior.projections["loc"]
    return {
        "state": [np.asarray(v) for v in (*vae.variables, *vae.optimizer.variables)],
        "policies": [layer.dtype_policy.name for layer in layers],
        "evaluate": vae.evaluate(x, verbose=0, return_dict=True),
        "mean": vae.reconstruct(x),
        "elbo": vae.elbo(x, num_samples=3, seed=5),
        "beta": float(vae.assumptions().bound.beta),
        "train": vae.train_on_batch(x, return_dict=True),
        "steps": int(vae.optimizer.iterations),
    }


def check_answers(found, expected):
    for one, other in zip(found["state"], expected["state"], strict=True):
        np.testing.assert_array_equal(np.asarray(one, other.dtype), other)
    for key in ("policies", "beta", "steps"):
        assert found[key] == expected[key], key
    np.testing.assert_allclose(found["mean"], expected["mean"], rtol=1e-6)
    np.testing.assert_allclose(found["elbo"], expected["elbo"], rtol=1e-5)
    for call in ("evaluate", "train"):
        assert set(found[call]) == {"loss", "elbo", "log_likelihood", "kl"}
        for key, value in expected[call].items():
            np.testing.assert_allclose(found[call][key], value, rtol=1e-5, err_msg=key)


# One test, since one process costs as much as all of the rest.
def test_another_process_goes_on_with_the_same_numbers(tmp_path):
    expected, x = {}, data()
    np.save(tmp_path / "x.npy", x)
    for name in COMBINATIONS:
        vae = model(name)
        vae.fit(x, batch_size=8, verbose=0)
        vae.save(tmp_path / f"{name}.keras")
        expected[name] = answers(vae, x)
    code = LOAD.format(names=list(COMBINATIONS), folder=tmp_path, tests=str(ROOT / "tests"))
    ended = python(code)
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    for name in COMBINATIONS:
        check_answers(found[name], expected[name])
    assert found["half"]["policies"] == ["mixed_float16"] * 3
    assert found["scheduled"]["beta"] == pytest.approx(4.0 * 3 / 10)


# In this process


# Keras forgets the policy of a Sequential, though not that of its layers: "half" differs in it.
@pytest.mark.parametrize("name", [name for name in COMBINATIONS if name != "half"])
def test_a_configuration_is_json_and_makes_the_same_model(name):
    vae = model(name)
    config = vae.get_config()
    assert json.loads(json.dumps(config, default=list))
    again = keras_vae.VAE.from_config(config)
    assert json.dumps(again.get_config(), default=list) == json.dumps(config, default=list)
    again.set_weights(vae.get_weights())
    np.testing.assert_allclose(again.reconstruct(data()), vae.reconstruct(data()), rtol=1e-6)
    assert again.objective.get_config() == vae.objective.get_config()


def test_a_clone_is_a_new_model_of_the_same_kind():
    vae = model("scheduled")
    clone = keras.models.clone_model(vae)
    assert clone.objective.get_config() == vae.objective.get_config()
    assert [v.shape for v in clone.weights] == [v.shape for v in vae.weights]
    assert not np.array_equal(
        clone.posterior.projections["loc"].kernel, vae.posterior.projections["loc"].kernel
    )
    clone.posterior.projections["loc"].bias.assign([1.0, 2.0, 3.0])
    assert not np.any(vae.posterior.projections["loc"].bias)


def test_a_frozen_network_stays_frozen(tmp_path):
    vae = model("plain")
    vae.encoder.trainable = False
    vae.compile()  # Keras takes note of what is trainable here
    vae.save(tmp_path / "frozen.keras")
    again = keras.saving.load_model(tmp_path / "frozen.keras")
    assert len(again.trainable_weights) == len(vae.trainable_weights)


@pytest.mark.parametrize("name", ["noisy", "scheduled"])
def test_weights_alone_can_be_saved_and_loaded(name, tmp_path):
    vae, other = model(name), model(name)
    vae.fit(data(), verbose=0)
    vae.save_weights(tmp_path / "vae.weights.h5")
    other.load_weights(tmp_path / "vae.weights.h5")
    for one, two in zip(vae.variables, other.variables, strict=True):
        np.testing.assert_array_equal(one, two, one.path)


def test_a_model_that_was_never_fitted_or_compiled_can_be_saved(tmp_path):
    made = model("plain").get_config()
    vae = keras_vae.VAE.from_config(made)
    vae.save(tmp_path / "fresh.keras")
    again = keras.saving.load_model(tmp_path / "fresh.keras")
    np.testing.assert_allclose(again.reconstruct(data()), vae.reconstruct(data()), rtol=1e-6)
    assert not again.compiled


def test_equal_bounds_are_equal_values():
    assert ELBO(beta=2.0) == ELBO(beta=2.0)
    bound = COMBINATIONS["scheduled"]["objective"]  # Keras's schedules compare by identity
    assert ELBO.from_config(bound.get_config()).get_config() == bound.get_config()


# A run that is killed

RUN = """
import os, signal, sys
import numpy as np
sys.path.insert(0, {tests!r})
import test_saving
import keras, keras_vae

class Kill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2 and {kill}:
            os.kill(os.getpid(), signal.SIGKILL)

test_saving.run({folder!r}, [Kill()])
"""


def run(folder, callbacks=()):
    """Four epochs, backed up each; at the end every number that they left behind."""
    keras.utils.set_random_seed(7)
    vae = model("noisy")
    grey = np.random.default_rng(0).random((50, *E)) * np.linspace(0, 1, 50)[:, None, None, None]
    backup = keras.callbacks.BackupAndRestore(folder + "/backup", delete_checkpoint=False)
    vae.fit(
        Source(grey, dynamic=True),
        batch_size=16,
        epochs=4,
        validation_data=data(),
        callbacks=[backup, *callbacks],
        verbose=0,
    )
    np.savez(folder + "/end.npz", **{k.replace("/", "|"): v for k, v in state_of(vae).items()})


def test_a_run_that_was_killed_ends_as_if_it_had_not_been(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir()
    whole.mkdir()
    code = {"tests": str(ROOT / "tests"), "folder": str(killed)}
    assert python(RUN.format(**code, kill=True)).returncode == -9
    assert not (killed / "end.npz").exists()
    resumed = python(RUN.format(**code, kill=False))
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    ended = python(RUN.format(tests=code["tests"], folder=str(whole), kill=False))
    assert ended.returncode == 0, ended.stderr[-3000:]
    with np.load(killed / "end.npz") as found, np.load(whole / "end.npz") as expected:
        assert set(found) == set(expected)
        assert expected["optimizer|0"] == 16  # 4 steps an epoch
        different = [k for k in expected if not np.array_equal(found[k], expected[k])]
    assert not different
