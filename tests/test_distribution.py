"""Two devices are one: the same gradient, the same numbers, noise of their own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae
from keras_vae.data import Source
from keras_vae.likelihoods import Bernoulli
from keras_vae.networks import mlp
from keras_vae.posteriors import DiagonalNormal
from keras_vae.priors import StandardNormal

E = (6,)
NAMES = ["loss", "elbo", "log_likelihood", "kl"]


@pytest.fixture(scope="module")
def one_device():
    return tf.distribute.get_strategy()


def model(strategy, encoder=None, still=True, learning_rate=0.0, **given):
    with strategy.scope():
        vae = keras_vae.VAE(
            encoder=encoder() if encoder else mlp([]),
            decoder=mlp([]),
            posterior=DiagonalNormal(2),
            prior=StandardNormal(2),
            likelihood=Bernoulli(E),
            seed=0,
            **given,
        )
        vae.compile(keras.optimizers.SGD(learning_rate), jit_compile=False)
    # The same weights on any number of devices; z = loc, whatever is drawn, if still.
    rng = np.random.default_rng(0)
    for variable in vae.trainable_weights:
        variable.assign(0.5 * rng.normal(size=variable.shape))
    if still:
        vae.posterior.projections["scale_diag"].kernel.assign(
            np.zeros(vae.posterior.projections["scale_diag"].kernel.shape)
        )
        vae.posterior.projections["scale_diag"].bias.assign([-100.0, -100.0])
    return vae


def bits(rows=10):
    return (np.random.default_rng(0).random((rows, *E)) > 0.4).astype("float32")


def batched(x, weights=None, size=None):
    if weights is None:
        return tf.data.Dataset.from_tensor_slices(x).batch(size or len(x))
    data = tf.data.Dataset.from_tensor_slices((x, weights)).batch(size or len(x))
    return data.map(lambda x, w: (x, None, w))


def regularised():
    return keras.Sequential(
        [
            keras.layers.Flatten(),
            keras.layers.Dense(
                5,
                activation="tanh",
                kernel_regularizer=keras.regularizers.L2(0.1),
            ),
        ]
    )


def active():
    penalty = keras.regularizers.L2(0.1)
    layer = keras.layers.Dense(5, activation="tanh", activity_regularizer=penalty)
    return keras.Sequential([keras.layers.Flatten(), layer])


def gradient(vae, data):
    """What one step of the learning rate 1 subtracts from each weight."""
    vae.optimizer.learning_rate = 1.0
    before = [v.numpy() for v in vae.trainable_weights]
    vae.fit(data, verbose=0)
    assert vae.optimizer.iterations == 1
    return {v.path: b - v.numpy() for v, b in zip(vae.trainable_weights, before, strict=True)}


def check_equal_gradients(found, expected):
    assert any(np.abs(value).max() > 0.01 for value in expected.values())
    for (path, one), other in zip(expected.items(), found.values(), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=2e-6, err_msg=path)


@pytest.mark.parametrize("encoder", [None, regularised, active])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_is_that_of_one_device(two_devices, one_device, encoder, weighted):
    x = bits(8)
    w = np.array([0, 3, 1, 1, 0.5, 0, 0, 2], "float32") if weighted else None
    expected = gradient(model(one_device, encoder), batched(x, w))
    check_equal_gradients(gradient(model(two_devices, encoder), batched(x, w)), expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_of_an_odd_batch_is_that_of_one_device(two_devices, one_device, weighted):
    x = bits(7)
    w = np.array([0, 3, 1, 1, 0.5, 0, 2], "float32") if weighted else None
    expected = gradient(model(one_device), batched(x, w))
    check_equal_gradients(gradient(model(two_devices), batched(x, w)), expected)


def test_the_gradient_of_an_odd_batch_amid_others_is_that_of_one_device(two_devices, one_device):
    found, expected = model(two_devices), model(one_device)
    for vae in (found, expected):
        vae.optimizer.learning_rate = 0.5
        vae.fit(batched(bits(11), size=4), epochs=2, verbose=0)
        assert vae.optimizer.iterations == 6
    for one, other in zip(found.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-6)


class Noise(keras.layers.Layer):
    """A decoder that keeps the z that it was given last, on each replica."""

    def __init__(self):
        super().__init__()
        self.drawn = tf.Variable(
            tf.zeros((0, 2)),
            trainable=False,
            shape=(None, 2),
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.NONE,
        )

    def call(self, z):
        if not tf.distribute.in_cross_replica_context():
            self.drawn.assign(z)
        return z


def standardised_draws(strategy):
    """What each replica draws in one step, where every x is the same."""
    with strategy.scope():
        vae = keras_vae.VAE(
            encoder=mlp([]),
            decoder=Noise(),
            posterior=DiagonalNormal(2),
            prior=StandardNormal(2),
            likelihood=Bernoulli(E),
            seed=0,
        )
        vae.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    x = np.ones((8, *E), "float32")
    vae.fit(batched(x), verbose=0)
    drawn = [z.numpy() for z in strategy.experimental_local_results(vae.decoder.drawn)]
    q = vae.encode(x[:1])
    return [(z - q.mean().numpy()) / q.stddev().numpy() for z in drawn]


def test_every_replica_draws_noise_of_its_own(two_devices):
    with pytest.warns(UserWarning, match="keep 0 of 2"):  # constant data
        first, second = standardised_draws(two_devices)
    assert first.shape == second.shape == (4, 2)
    both = np.concatenate([first, second])
    assert len(np.unique(both.round(5))) == 16
    assert np.abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.99


def logs_on(strategy, data, **given):
    vae = model(strategy)
    history = vae.fit(data, verbose=0, **given).history
    return vae, {name: values[-1] for name, values in history.items()}


@pytest.mark.parametrize("kind", ["array", "tf.data", "weighted"])
def test_logs_are_of_the_whole_batch(two_devices, one_device, kind):
    x, w = bits(10), np.linspace(0, 2, 10, dtype="float32")
    # The two halves of each batch differ: the first replica's numbers are not the batch's.
    x[:2], x[4:6] = 0.0, 1.0
    data = {"array": x, "tf.data": batched(x, size=4), "weighted": batched(x, w, size=4)}[kind]
    given = {"batch_size": 4, "shuffle": False} if kind == "array" else {}
    logs = []
    for strategy in (one_device, two_devices):
        vae = model(strategy)
        vae.optimizer.iterations.assign(1)  # not a first fit: leave the likelihood as it is
        history = vae.fit(data, verbose=0, epochs=2, validation_data=data, **given).history
        evaluated = vae.evaluate(data, batch_size=4, verbose=0, return_dict=True)
        logs.append({**{k: v[-1] for k, v in history.items()}, **evaluated})
    assert set(logs[0]) == set(logs[1]) == {*NAMES, *(f"val_{name}" for name in NAMES)}
    for name, value in logs[0].items():
        np.testing.assert_allclose(logs[1][name], value, rtol=2e-5, err_msg=name)


def test_losses_of_the_networks_are_logged_once(two_devices, one_device):
    x = bits(8)
    logs = [
        model(strategy, regularised).evaluate(batched(x), verbose=0, return_dict=True)
        for strategy in (one_device, two_devices)
    ]
    for name in NAMES:
        np.testing.assert_allclose(logs[1][name], logs[0][name], rtol=2e-5, err_msg=name)
    assert logs[0]["loss"] + logs[0]["elbo"] > 0.01


def test_fit_of_an_array_trains_on_every_row(two_devices):
    vae = model(two_devices, still=False, learning_rate=0.1)
    x = bits(64)
    before = float(np.mean(vae.elbo(x, num_samples=50)))
    vae.fit(x, batch_size=16, epochs=5, verbose=0)
    assert vae.optimizer.iterations == 20
    assert float(np.mean(vae.elbo(x, num_samples=50))) > before + 0.5


@pytest.mark.parametrize("rows", [8, 9, 11])
def test_fit_of_an_array_is_that_of_one_device(two_devices, one_device, rows):
    grey = np.random.default_rng(1).integers(0, 256, (rows, *E), dtype=np.uint8)
    x, w = Source(grey, divisor=255.0, dynamic=True), np.linspace(0, 2, rows)
    found, expected = (model(s, learning_rate=0.3) for s in (two_devices, one_device))
    logs = [
        vae.fit(x, batch_size=4, epochs=2, sample_weight=w, verbose=0).history
        for vae in (found, expected)
    ]
    for one, other in zip(found.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-6)
    for name in NAMES:
        np.testing.assert_allclose(logs[0][name], logs[1][name], rtol=2e-5, err_msg=name)


@pytest.mark.parametrize("size", [4, 5])
def test_predict_keeps_the_rows_in_order(two_devices, size):
    vae, x = model(two_devices), bits(10)
    found = vae.predict(x, batch_size=size, verbose=0)
    np.testing.assert_allclose(found, vae.reconstruct(x), rtol=1e-5)


def test_batches_by_hand_are_of_both_devices(two_devices, one_device):
    x = bits(8)
    found, expected = model(two_devices), model(one_device)
    for name in NAMES:
        one = expected.test_on_batch(x, return_dict=True)[name]
        other = found.test_on_batch(x, return_dict=True)[name]
        np.testing.assert_allclose(other, one, rtol=2e-5, err_msg=name)
