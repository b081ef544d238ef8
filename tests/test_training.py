"""Keras's workflow: whatever feeds and steps a model, what is optimised and logged is the bound."""

import contextlib
import csv
import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae
from keras_vae.data import Source
from keras_vae.likelihoods import Bernoulli, Normal
from keras_vae.networks import mlp
from keras_vae.objectives import ELBO, IWAE
from keras_vae.posteriors import DiagonalNormal
from keras_vae.priors import StandardNormal

E = (6,)
NAMES = ["loss", "elbo", "log_likelihood", "kl"]


def model(**given):
    parts = {
        "encoder": mlp([]),
        "decoder": mlp([]),
        "posterior": DiagonalNormal(2),
        "prior": StandardNormal(2),
        "likelihood": Bernoulli(E),
        "seed": 0,
    }
    return keras_vae.VAE(**{**parts, **given})


def still(vae):
    """The model with its posterior's scale at the floor, 1e-6: z is loc, whatever is drawn."""
    vae.posterior.projections["scale_diag"].kernel.assign(
        tf.zeros_like(vae.posterior.projections["scale_diag"].kernel)
    )
    vae.posterior.projections["scale_diag"].bias.assign(
        tf.fill(vae.posterior.projections["scale_diag"].bias.shape, -100.0)
    )
    return vae


def still_model(optimizer=None, objective=ELBO(), **given):  # noqa: B008, a frozen value
    vae = still(model(objective=objective))
    vae.compile(optimizer or keras.optimizers.SGD(0.0), **given)
    return vae


def bits(rows=10, seed=0):
    return (np.random.default_rng(seed).random((rows, *E)) > 0.4).astype("float32")


# The equation of a still model, for each example, in NumPy


def terms(vae, x):
    """log p(x|z) and KL at z = loc, `[B]` each, in float64."""
    kernel, bias = (np.asarray(w, "float64") for w in vae.posterior.projections["loc"].weights)
    loc = np.asarray(x, "float64") @ kernel + bias
    kernel, bias = (np.asarray(w, "float64") for w in vae.likelihood.projections["logits"].weights)
    logits = loc @ kernel + bias
    log_likelihood = (x * logits - np.logaddexp(0, logits)).sum(-1)
    return log_likelihood, 0.5 * (1e-12 + loc**2 - 1 - np.log(1e-12)).sum(-1)


def expected_logs(vae, x, weights=None, beta=1.0):
    log_likelihood, kl = terms(vae, x)
    values = beta * kl - log_likelihood, log_likelihood - kl, log_likelihood, kl
    return {n: np.average(v, weights=weights) for n, v in zip(NAMES, values, strict=True)}


def check_logs(logs, expected, prefix=""):
    assert {f"{prefix}{name}" for name in NAMES} <= set(logs)
    for name in NAMES:
        np.testing.assert_allclose(logs[f"{prefix}{name}"], expected[name], rtol=2e-5, err_msg=name)


def gradient(vae, x, weights=None, beta=1.0):
    """Of the mean of weight * loss of a still model, by automatic differentiation of our own
    formula: by variable, zero for the posterior's scale."""
    free = [
        *vae.posterior.projections["loc"].weights,
        *vae.likelihood.projections["logits"].weights,
    ]
    with tf.GradientTape() as tape:
        loc = x @ free[0].value + free[1].value
        logits = loc @ free[2].value + free[3].value
        log_likelihood = tf.reduce_sum(x * logits - tf.math.softplus(logits), -1)
        loss = beta * tf.reduce_sum(0.5 * loc**2, -1) - log_likelihood
        loss = tf.reduce_mean(loss if weights is None else loss * weights)
    found = tape.gradient(loss, [v.value for v in free])
    return {v.path: g.numpy() for v, g in zip(free, found, strict=True)}


def change(vae, act):
    """What `act` subtracts from the weights that a still model learns, by variable."""
    free = [
        *vae.posterior.projections["loc"].weights,
        *vae.likelihood.projections["logits"].weights,
    ]
    before = [v.numpy() for v in free]
    act(vae)
    return {v.path: b - v.numpy() for v, b in zip(free, before, strict=True)}


def check_change(found, expected, factor=1.0):
    for path, value in expected.items():
        np.testing.assert_allclose(found[path], factor * value, rtol=1e-4, atol=2e-6, err_msg=path)


# Data of every kind


class Batches(keras.utils.PyDataset):
    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return -(-len(self.arrays[0]) // 4)

    def __getitem__(self, index):
        rows = slice(4 * index, 4 * index + 4)
        if len(self.arrays) == 1:
            return (self.arrays[0][rows],)
        return self.arrays[0][rows], None, self.arrays[1][rows]


def batched(x):
    return tf.data.Dataset.from_tensor_slices(x).batch(4)


def endless(x):
    while True:
        for start in range(0, len(x), 4):
            yield x[start : start + 4]


def of_unknown_length(x):
    return batched(x).filter(lambda _: True)


DATA = {
    "uint8": lambda x: x.astype("uint8"),
    "float64": lambda x: x.astype("float64"),
    "tensor": tf.constant,
    "Source": lambda x: Source((x * 255).astype("uint8"), divisor=255.0),
    "tf.data": batched,
    "tf.data of uint8": lambda x: batched(x.astype("uint8")),
    "tf.data of tuples": lambda x: batched(x).map(lambda x: (x,)),
    "PyDataset": Batches,
}


@pytest.mark.parametrize("kind", DATA)
def test_any_data_gives_the_means_over_its_examples(kind):
    vae, x = still_model(), bits()
    history = vae.fit(
        DATA[kind](x), batch_size=4, epochs=2, validation_data=DATA[kind](x[:7]), verbose=0
    ).history
    for epoch in range(2):
        logs = {name: values[epoch] for name, values in history.items()}
        check_logs(logs, expected_logs(vae, x))
        check_logs(logs, expected_logs(vae, x[:7]), "val_")
    assert set(history) == {*NAMES, *(f"val_{name}" for name in NAMES)}
    assert vae.optimizer.iterations == 6
    check_logs(vae.evaluate(DATA[kind](x), verbose=0, return_dict=True), expected_logs(vae, x))
    predicted = vae.predict(DATA[kind](x), verbose=0)
    np.testing.assert_allclose(predicted, vae.reconstruct(x), rtol=1e-5)


# Keras warns at the end of the first epoch of any dataset of unknown length.
@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
def test_a_dataset_of_unknown_length_is_read_to_its_end():
    vae, known, x = still_model(keras.optimizers.SGD(0.1)), still_model(), bits()
    known.compile(keras.optimizers.SGD(0.1))
    known.set_weights(vae.get_weights())
    vae.fit(of_unknown_length(x), epochs=2, verbose=0)
    known.fit(batched(x), epochs=2, verbose=0)
    for found, right in zip(learned(vae), learned(known), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-6)
    found = vae.evaluate(of_unknown_length(x), verbose=0, return_dict=True)
    check_logs(found, expected_logs(vae, x))


def test_a_generator_is_read_by_steps():
    vae, x = still_model(), bits(12)
    history = vae.fit(
        endless(x), steps_per_epoch=2, epochs=3, validation_data=endless(x[:8]),
        validation_steps=2, verbose=0,
    ).history  # fmt: skip
    parts = [x[:8], np.concatenate([x[8:], x[:4]]), x[4:]]
    for epoch, part in enumerate(parts):
        check_logs({n: history[n][epoch] for n in NAMES}, expected_logs(vae, part))
        check_logs({k: v[epoch] for k, v in history.items()}, expected_logs(vae, x[:8]), "val_")


def test_a_generator_of_weighted_batches_is_read():
    vae, x, w = still_model(), bits(8), np.arange(8.0, dtype="float32")
    batches = iter([(x[:4], None, w[:4]), (x[4:], None, w[4:])])
    logs = vae.fit(batches, steps_per_epoch=2, verbose=0).history
    check_logs({n: logs[n][0] for n in NAMES}, expected_logs(vae, x, w))


def test_an_endless_dataset_is_read_by_steps():
    vae, x = still_model(), bits(12)
    vae.fit(batched(x).repeat(), steps_per_epoch=5, epochs=2, verbose=0)
    assert vae.optimizer.iterations == 10


def test_a_single_example_can_be_fitted():
    vae, x = still_model(), bits(1)
    logs = vae.fit(x, verbose=0).history
    check_logs({n: logs[n][0] for n in NAMES}, expected_logs(vae, x))


def test_the_last_part_of_the_rows_is_for_validation():
    vae, x, w = still_model(), bits(), np.linspace(0.0, 1.0, 10)
    history = vae.fit(x, sample_weight=w, validation_split=0.3, batch_size=4, verbose=0).history
    logs = {name: values[0] for name, values in history.items()}
    check_logs(logs, expected_logs(vae, x[:7], w[:7]))
    check_logs(logs, expected_logs(vae, x[7:], w[7:]), "val_")


WEIGHTED = {
    "array": lambda vae, x, w: (x, {"sample_weight": w}),
    "tf.data": lambda vae, x, w: (batched((x, w)).map(lambda x, w: (x, None, w)), {}),
    "PyDataset": lambda vae, x, w: (Batches(x, w), {}),
}


@pytest.mark.parametrize("kind", WEIGHTED)
def test_logs_are_weighted_means(kind):
    vae, x, w = still_model(), bits(), np.linspace(0.0, 2.0, 10)
    data, given = WEIGHTED[kind](vae, x, w)
    logs = vae.fit(
        data, **given, batch_size=4, validation_data=(x, None, w[::-1]), verbose=0
    ).history
    logs = {name: values[0] for name, values in logs.items()}
    check_logs(logs, expected_logs(vae, x, w))
    check_logs(logs, expected_logs(vae, x, w[::-1]), "val_")
    found = vae.evaluate(data, **given, batch_size=4, verbose=0, return_dict=True)
    check_logs(found, expected_logs(vae, x, w))


def test_logs_of_a_beta_vae_are_of_the_bound_and_of_the_elbo():
    vae, x = still_model(objective=ELBO(beta=2.0)), bits()
    logs = vae.fit(x, batch_size=4, verbose=0).history
    check_logs({n: logs[n][0] for n in NAMES}, expected_logs(vae, x, beta=2.0))


BOUNDS = []


@keras.saving.register_keras_serializable(package="tests")
@dataclasses.dataclass(frozen=True)
class RecordedIWAE(IWAE):
    """Keeps the bound of each example and each term of it."""

    def bound(self, terms, step):
        bound = super().bound(terms, step)
        BOUNDS.append([np.asarray(v) for v in (bound, terms.log_likelihood, terms.kl)])
        return bound


def test_the_epochs_of_importance_weighting_are_means_over_examples():
    BOUNDS.clear()
    vae = model(objective=RecordedIWAE(num_samples=3))
    vae.compile("sgd", run_eagerly=True)
    logs = {n: v[0] for n, v in vae.fit(bits(), batch_size=4, verbose=0).history.items()}
    assert [len(bound) for bound, _, _ in BOUNDS] == [4, 4, 2]
    bound, log_likelihood, kl = (np.concatenate(v, axis=-1) for v in zip(*BOUNDS, strict=True))
    assert log_likelihood.shape == (3, 10)
    np.testing.assert_allclose(logs["loss"], -bound.mean(), rtol=1e-6)
    np.testing.assert_allclose(logs["log_likelihood"], log_likelihood.mean(), rtol=1e-6)
    np.testing.assert_allclose(logs["kl"], kl.mean(), rtol=1e-6)
    np.testing.assert_allclose(logs["elbo"], log_likelihood.mean() - kl.mean(), rtol=1e-6)


def test_evaluate_agrees_with_the_logs_of_fit_up_to_the_draw():
    vae, x = model(), bits(500)
    vae.compile(keras.optimizers.SGD(0.0))
    history = vae.fit(x, validation_data=x, epochs=5, batch_size=100, verbose=0).history
    found = [vae.evaluate(x, batch_size=100, verbose=0, return_dict=True) for _ in range(5)]
    drawn = np.asarray([vae.elbo(x) for _ in range(50)]).mean(1)
    error = drawn.std(ddof=1)
    assert len({logs["elbo"] for logs in found}) == 5
    for elbo in (*history["val_elbo"], *(logs["elbo"] for logs in found)):
        assert abs(elbo - drawn.mean()) < 5 * error
    np.testing.assert_allclose(history["val_kl"], found[0]["kl"], rtol=1e-5)


def test_evaluate_lists_what_the_metrics_are_named():
    vae, x = still_model(), bits()
    assert vae.metrics_names == NAMES
    assert [metric.name for metric in vae.metrics] == NAMES
    listed = vae.evaluate(x, verbose=0)
    check_logs(dict(zip(NAMES, listed, strict=True)), expected_logs(vae, x))


def test_a_batch_is_a_batch_wherever_it_comes_from():
    vae, x = still_model(keras.optimizers.SGD(0.0)), bits()
    expected, w = expected_logs(vae, x), np.linspace(0.0, 2.0, 10)
    check_logs(vae.train_on_batch(x, return_dict=True), expected)
    vae.reset_metrics()
    check_logs(vae.test_on_batch(x.astype("uint8"), return_dict=True), expected)
    vae.reset_metrics()
    listed = vae.test_on_batch(x, sample_weight=w)
    check_logs(dict(zip(NAMES, listed, strict=True)), expected_logs(vae, x, w))
    vae.reset_metrics()
    listed = vae.train_on_batch(x, sample_weight=w)
    check_logs(dict(zip(NAMES, listed, strict=True)), expected_logs(vae, x, w))
    np.testing.assert_allclose(vae.predict_on_batch(x), vae.reconstruct(x), rtol=1e-5)


# The step


MODES = {
    "graph": {"jit_compile": False},
    "XLA": {"jit_compile": True},
    "auto": {"jit_compile": "auto"},
    "eager": {"run_eagerly": True},
    "four steps at once": {"steps_per_execution": 4, "jit_compile": False},
    "four steps at once, XLA": {"steps_per_execution": 4, "jit_compile": True},
}


@pytest.mark.parametrize("mode", MODES)
def test_however_it_is_executed_a_step_is_the_same(mode):
    vae, x = still_model(keras.optimizers.SGD(1.0), **MODES[mode]), bits(12)
    expected = still_model()
    expected.set_weights(vae.get_weights())
    vae.fit(batched(x), verbose=0)
    for rows in (slice(0, 4), slice(4, 8), slice(8, 12)):
        for path, value in gradient(expected, x[rows]).items():
            variable = next(v for v in expected.variables if v.path == path)
            variable.assign_sub(value)
    for found, right in zip(learned(vae), learned(expected), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-5)
    assert vae.optimizer.iterations == 3


def learned(vae):
    return [
        v.numpy()
        for v in (
            *vae.posterior.projections["loc"].weights,
            *vae.likelihood.projections["logits"].weights,
        )
    ]


@pytest.mark.parametrize("steps", [1, 4])
def test_steps_per_execution_change_nothing_but_the_speed(steps):
    vae, x = model(), bits(20)
    vae.compile(keras.optimizers.SGD(0.1), steps_per_execution=steps)
    reference = model()
    reference.set_weights(vae.get_weights())
    reference.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    for one in (vae, reference):
        one.seed_generator.state.assign([5, 0])
        one.fit(x, batch_size=4, epochs=2, verbose=0)
    for found, right in zip(learned(vae), learned(reference), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-6)


def test_the_gradient_is_that_of_the_bound():
    vae, x = still_model(keras.optimizers.SGD(1.0)), bits()
    expected = gradient(vae, x)
    check_change(change(vae, lambda vae: vae.train_on_batch(x)), expected)


def test_the_gradient_is_that_of_the_mean_of_weight_times_loss():
    w = np.array([0.0, 2.0, 0.5] + [1.0] * 7, "float32")
    vae, x = still_model(keras.optimizers.SGD(1.0), objective=ELBO(beta=2.0)), bits()
    expected = gradient(vae, x, w, beta=2.0)
    check_change(change(vae, lambda vae: vae.train_on_batch(x, sample_weight=w)), expected)


def test_rows_of_weight_zero_change_nothing():
    w, x = np.array([0.0, 1.0, 1.0, 0.0], "float32"), bits(4)
    other = x.copy()
    other[[0, 3]] = 1 - other[[0, 3]]
    vae = still_model(keras.optimizers.SGD(1.0))
    start = vae.get_weights()
    one = change(vae, lambda vae: vae.train_on_batch(x, sample_weight=w))
    vae.set_weights(start)
    check_change(change(vae, lambda vae: vae.train_on_batch(other, sample_weight=w)), one)


def test_weights_that_are_all_zero_leave_the_model_alone():
    vae, x = still_model(keras.optimizers.SGD(1.0)), bits(4)
    found = change(vae, lambda vae: vae.train_on_batch(x, sample_weight=np.zeros(4)))
    assert not any(np.any(value) for value in found.values())


CLIPPED = {
    "clipnorm": lambda g: {p: v * min(1, 0.05 / np.linalg.norm(v)) for p, v in g.items()},
    "clipvalue": lambda g: {p: np.clip(v, -0.05, 0.05) for p, v in g.items()},
    "global_clipnorm": lambda g: {
        p: v * min(1, 0.05 / np.sqrt(sum((u**2).sum() for u in g.values()))) for p, v in g.items()
    },
}


@pytest.mark.parametrize("argument", CLIPPED)
def test_the_optimizer_clips_the_gradient(argument):
    vae = still_model(keras.optimizers.SGD(1.0, **{argument: 0.05}))
    expected = CLIPPED[argument](gradient(vae, bits()))
    check_change(change(vae, lambda vae: vae.train_on_batch(bits())), expected)


def test_the_optimizer_accumulates_gradients():
    vae = still_model(keras.optimizers.SGD(1.0, gradient_accumulation_steps=2))
    x, y = bits(), bits(seed=1)
    first, second = gradient(vae, x), gradient(vae, y)
    assert not any(np.any(v) for v in change(vae, lambda vae: vae.train_on_batch(x)).values())
    mean = {path: (first[path] + second[path]) / 2 for path in first}
    check_change(change(vae, lambda vae: vae.train_on_batch(y)), mean)


def test_a_scaled_loss_has_the_same_step():
    inner = keras.optimizers.SGD(1.0)
    vae, x = still_model(keras.optimizers.LossScaleOptimizer(inner, initial_scale=1024.0)), bits()
    expected = gradient(vae, x)
    logs = {}
    found = change(vae, lambda vae: logs.update(vae.train_on_batch(x, return_dict=True)))
    check_change(found, expected)
    assert logs["loss"] == pytest.approx(-logs["elbo"], rel=1e-6)


# Losses of the networks


def regularised(**given):
    encoder = keras.Sequential(
        [
            keras.layers.Flatten(),
            keras.layers.Dense(
                6,
                kernel_initializer="identity",
                kernel_regularizer=keras.regularizers.L2(0.1),
                activity_regularizer=keras.regularizers.L2(0.03),
            ),
        ]
    )
    vae = still(model(encoder=encoder))
    vae.compile(keras.optimizers.SGD(0.0), **given)
    return vae, encoder.layers[1]


def penalty(dense, x):
    kernel, bias = (np.asarray(w, "float64") for w in dense.weights)
    return 0.1 * (kernel**2).sum() + 0.03 * ((x @ kernel + bias) ** 2).sum() / len(x)


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_losses_of_the_networks_count_once_a_step_in_loss_alone(run_eagerly):
    (vae, dense), x = regularised(run_eagerly=run_eagerly), bits()
    expected = expected_logs(vae, x)  # the dense layer is the identity
    expected["loss"] += penalty(dense, x)
    for _ in range(3):
        vae.reset_metrics()
        check_logs(vae.train_on_batch(x, return_dict=True), expected)
    vae.encode(x)
    vae.reset_metrics()
    check_logs(vae.test_on_batch(x, return_dict=True), expected)
    check_logs(vae.evaluate(x, verbose=0, return_dict=True), expected)


def test_losses_of_the_networks_are_in_the_gradient():
    (vae, dense), x = regularised(), bits()
    vae.compile(keras.optimizers.SGD(1.0))
    loc, logits = (
        [w.value for w in p.weights]
        for p in (vae.posterior.projections["loc"], vae.likelihood.projections["logits"])
    )
    with tf.GradientTape() as tape:
        h = x @ dense.kernel.value + dense.bias.value
        z = h @ loc[0] + loc[1]
        m = z @ logits[0] + logits[1]
        log_likelihood = tf.reduce_sum(x * m - tf.math.softplus(m), -1)
        loss = tf.reduce_mean(0.5 * tf.reduce_sum(z**2, -1) - log_likelihood)
        loss += 0.1 * tf.reduce_sum(dense.kernel.value**2) + 0.03 * tf.reduce_sum(h**2) / len(x)
    expected = tape.gradient(loss, dense.kernel.value)
    before = dense.kernel.numpy()
    vae.train_on_batch(x)
    np.testing.assert_allclose(before - dense.kernel.numpy(), expected, rtol=1e-4, atol=1e-5)


# Schedules of beta


def betas(logs):
    """beta, from what is logged: loss = beta kl - log_likelihood."""
    return (logs["loss"] + logs["log_likelihood"]) / logs["kl"]


@pytest.mark.parametrize("given", [{}, {"jit_compile": True}, {"run_eagerly": True}])
def test_beta_is_read_at_the_optimizers_step(given):
    schedule = keras.optimizers.schedules.PolynomialDecay(0.0, 4, 2.0)
    vae, x = still_model(objective=ELBO(beta=schedule), **given), bits()
    for step in range(6):
        vae.reset_metrics()
        logs = vae.train_on_batch(x, return_dict=True)
        assert betas(logs) == pytest.approx(min(step / 2, 2.0), abs=1e-5)
    vae.optimizer.iterations.assign(1)
    assert betas(vae.evaluate(x, verbose=0, return_dict=True)) == pytest.approx(0.5, abs=1e-5)


def test_beta_advances_within_several_steps_at_once():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0, 1, 2], [0.0, 1.0, 2.0, 3.0])
    vae = still_model(objective=ELBO(beta=schedule), steps_per_execution=4)
    # Four equal batches, so that the epoch's mean is over the four betas alone.
    same = np.tile(bits(1), (16, 1))
    with pytest.warns(UserWarning, match="keep 0 of 2"):  # constant data
        logs = vae.fit(batched(same), verbose=0).history
    assert betas({n: logs[n][0] for n in NAMES}) == pytest.approx((0 + 1 + 2 + 3) / 4, rel=1e-5)


RISING = keras.optimizers.schedules.PolynomialDecay(0.0, 20, 1.0)
STEPS = {
    "array": lambda x: {"x": x, "batch_size": 4},
    "tf.data": lambda x: {"x": batched(x)},
    "PyDataset": lambda x: {"x": Batches(x)},
    "steps_per_epoch": lambda x: {"x": endless(x), "steps_per_epoch": 3},
}


@pytest.mark.parametrize("kind", STEPS)
def test_stopping_early_is_refused_while_beta_rises(kind):
    vae = still_model(objective=ELBO(beta=RISING))
    stop = keras.callbacks.EarlyStopping("val_elbo", mode="max")
    with pytest.raises(ValueError, match=r"(?s)EarlyStopping.*start_from_epoch=0.*beta = 0"):
        vae.fit(**STEPS[kind](bits()), epochs=10, callbacks=[stop], validation_data=bits())


@pytest.mark.parametrize(
    "objective",
    [
        ELBO(capacity=keras_vae.objectives.LinearWarmUp(100, 5.0)),
        ELBO(beta=keras_vae.objectives.Cyclical(period=20)),  # 0 at both ends of a period
    ],
)
def test_stopping_early_is_refused_while_any_schedule_moves(objective):
    vae = still_model(objective=objective)
    stop = keras.callbacks.EarlyStopping("val_elbo", mode="max", start_from_epoch=1)
    with pytest.raises(ValueError, match=r"EarlyStopping may end training before the schedule of"):
        vae.fit(bits(), batch_size=4, epochs=40, callbacks=[stop], validation_data=bits())


def test_weights_of_rows_are_refused_where_the_rows_of_a_batch_stand_for_the_data():
    vae = model(objective=keras_vae.objectives.DIPVAE(1.0, 1.0))
    vae.compile("sgd", run_eagerly=True)
    with pytest.raises(ValueError, match="DIPVAE compares the z of all examples"):
        vae.fit(bits(), sample_weight=np.ones(10), verbose=0)


def test_stopping_early_is_refused_however_the_callback_is_given():
    vae = still_model(objective=ELBO(beta=RISING))
    stop = keras.callbacks.EarlyStopping("val_elbo", mode="max")
    for callbacks in (stop, (stop,), keras.callbacks.CallbackList([stop], model=vae)):
        with pytest.raises(ValueError, match="EarlyStopping"):
            vae.fit(bits(), epochs=10, callbacks=callbacks, validation_data=bits(), verbose=0)


def test_stopping_early_is_accepted_once_beta_has_risen():
    vae = still_model(objective=ELBO(beta=RISING))
    stop = keras.callbacks.EarlyStopping("elbo", mode="max", min_delta=1e9, start_from_epoch=7)
    history = vae.fit(bits(), batch_size=4, epochs=20, callbacks=[stop], verbose=0)
    assert len(history.epoch) == 9  # 3 steps an epoch: beta is 1 from epoch 7 on


# Callbacks


def test_early_stopping_reads_the_bound():
    vae, x = still_model(), bits()
    stop = keras.callbacks.EarlyStopping("val_elbo", mode="max", min_delta=1e9, patience=1)
    history = vae.fit(x, validation_data=x, epochs=9, callbacks=stop, verbose=0)
    assert len(history.epoch) == 2
    assert stop.best == pytest.approx(expected_logs(vae, x)["elbo"], rel=1e-5)


def test_callbacks_that_write_write_the_logs(tmp_path):
    vae, x = still_model(keras.optimizers.SGD(0.1)), bits()
    history = vae.fit(
        x,
        validation_data=x,
        epochs=3,
        verbose=0,
        callbacks=[
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
            keras.callbacks.TensorBoard(tmp_path / "board"),
            keras.callbacks.ModelCheckpoint(
                tmp_path / "best.keras", "val_elbo", mode="max", save_best_only=True
            ),
        ],
    ).history
    with open(tmp_path / "log.csv") as file:
        rows = list(csv.DictReader(file))
    for name, values in history.items():
        np.testing.assert_allclose([float(row[name]) for row in rows], values, rtol=1e-6)
        events = read_events(tmp_path / "board", name)
        np.testing.assert_allclose(events, values, rtol=1e-6)
    best = keras.saving.load_model(tmp_path / "best.keras")
    found = best.evaluate(x, verbose=0, return_dict=True)
    assert found["elbo"] == pytest.approx(max(history["val_elbo"]), rel=1e-5)


def read_events(folder, name):
    part = "validation" if name.startswith("val_") else "train"
    found = {}
    for path in (folder / part).glob("events*"):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                if value.tag == f"epoch_{name.removeprefix('val_')}":
                    found[event.step] = tf.make_ndarray(value.tensor).item()
    return [found[step] for step in sorted(found)]


def test_the_learning_rate_falls_on_a_plateau_of_the_bound():
    vae, x = still_model(keras.optimizers.SGD(1e-3)), bits()
    plateau = keras.callbacks.ReduceLROnPlateau(
        "val_elbo", mode="max", factor=0.5, patience=1, min_delta=1e9
    )
    vae.fit(x, validation_data=x, epochs=3, callbacks=[plateau], verbose=0)
    assert float(vae.optimizer.learning_rate) == pytest.approx(1e-3 * 0.5**2)


def test_training_ends_on_nan():
    vae = still_model(steps_per_execution=1)
    vae.posterior.projections["loc"].bias.assign([np.nan, 0.0])
    nan = keras.callbacks.TerminateOnNaN()
    history = vae.fit(bits(), batch_size=2, epochs=5, callbacks=[nan], verbose=0)
    assert vae.optimizer.iterations == 1
    assert len(history.epoch) == 1


def test_a_run_continues_where_its_backup_is(tmp_path):
    epochs = []

    def run(stop):
        vae, x = still_model(), bits()
        with pytest.raises(KeyboardInterrupt) if stop else contextlib.nullcontext():
            vae.fit(x, epochs=4, verbose=0, callbacks=[
                keras.callbacks.BackupAndRestore(tmp_path / "backup"),
                keras.callbacks.LambdaCallback(on_epoch_begin=lambda e, _: interrupt(e, stop)),
            ])  # fmt: skip

    def interrupt(epoch, stop):
        if stop and epoch == 2:
            raise KeyboardInterrupt
        epochs.append(epoch)

    run(stop=True)
    run(stop=False)
    assert epochs == [0, 1, 2, 3]


def test_a_list_of_callbacks_of_kerass_own_is_taken():
    vae, seen = still_model(), []
    spy = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs))
    vae.fit(bits(), callbacks=keras.callbacks.CallbackList([spy], model=vae), verbose=0)
    check_logs(seen[0], expected_logs(vae, bits()))


def test_the_callbacks_that_were_given_are_left_as_they_were():
    given = [keras.callbacks.LambdaCallback()]
    still_model().fit(bits(), callbacks=given, verbose=0)
    assert len(given) == 1


# The order of the data


class Seen(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.rows = []

    def call(self, inputs):
        if tf.executing_eagerly():
            self.rows.append(np.asarray(inputs)[:, 0].astype(int).tolist())
        return inputs


def orders(seed, fits=1, epochs=2, **given):
    """The order of twenty numbered rows in each epoch of each fit."""
    encoder = Seen()
    vae = model(encoder=encoder, likelihood=Normal(E), seed=seed)
    vae.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    x = np.arange(20.0)[:, None] * np.ones((1, *E))
    for _ in range(fits):
        vae.fit(x, batch_size=8, epochs=epochs, verbose=0, **given)
    batches = encoder.rows
    assert [len(batch) for batch in batches] == [8, 8, 4] * fits * epochs
    return [
        [row for batch in batches[i : i + 3] for row in batch] for i in range(0, len(batches), 3)
    ]


def test_each_epoch_of_each_fit_has_an_order_of_its_own():
    found = orders(seed=1, fits=2)
    assert all(sorted(order) == list(range(20)) for order in found)
    assert len({tuple(order) for order in found}) == 4
    assert list(range(20)) not in found


def test_the_order_follows_from_the_seed():
    assert orders(seed=1) == orders(seed=1)
    assert orders(seed=1) != orders(seed=2)


def test_the_order_stays_where_it_is_not_shuffled():
    assert orders(seed=1, shuffle=False) == [list(range(20))] * 2


def test_dynamic_bits_are_drawn_anew_at_each_visit():
    encoder = Seen()
    vae = model(encoder=encoder)
    vae.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    source = Source(np.full((40, *E), 0.3), dynamic=True)
    with pytest.warns(UserWarning, match="keep 0 of 2"):  # independent bits
        vae.fit(source, batch_size=40, epochs=3, verbose=0)
    drawn = np.asarray(encoder.rows)
    assert set(np.unique(drawn)) == {0, 1}
    assert len({tuple(epoch) for epoch in drawn}) == 3


# What fit changes besides what the optimizer does


def test_a_first_fit_starts_the_likelihood_from_the_data_and_nothing_else():
    vae, x = model(encoder=mlp([4]), decoder=mlp([4])), bits()
    vae.compile(keras.optimizers.SGD(0.0))
    before = {v.path: v.numpy() for v in vae.trainable_weights}
    vae.fit(x, epochs=2, verbose=0)
    bias = vae.likelihood.projections["logits"].bias
    mean = np.clip(x.mean(0), 1e-3, 1 - 1e-3)
    np.testing.assert_allclose(bias, np.log(mean / (1 - mean)), rtol=1e-5)
    for variable in vae.trainable_weights:
        if variable is not bias:
            np.testing.assert_array_equal(variable, before[variable.path], variable.path)


def test_compiling_again_does_not_restart_a_trained_likelihood():
    vae, x = model(), bits()
    vae.compile(keras.optimizers.SGD(0.5))
    vae.fit(x, epochs=5, verbose=0)
    trained = vae.likelihood.projections["logits"].bias.numpy()
    vae.compile(keras.optimizers.SGD(0.0))
    vae.fit(x, verbose=0)
    np.testing.assert_array_equal(vae.likelihood.projections["logits"].bias, trained)


def test_weights_that_were_loaded_are_not_restarted(tmp_path):
    vae, x = model(), bits()
    vae.compile(keras.optimizers.SGD(0.5))
    vae.fit(x, epochs=5, verbose=0)
    vae.save_weights(tmp_path / "trained.weights.h5")
    other = model()
    other.load_weights(tmp_path / "trained.weights.h5")
    other.compile(keras.optimizers.SGD(0.0))
    other.fit(x, verbose=0)
    np.testing.assert_array_equal(
        other.likelihood.projections["logits"].bias, vae.likelihood.projections["logits"].bias
    )


def test_a_frozen_likelihood_is_not_touched():
    vae = model()
    vae.likelihood.trainable = False
    vae.compile(keras.optimizers.SGD(0.1))
    vae.fit(bits(), verbose=0)
    assert not np.any(vae.likelihood.projections["logits"].bias)


def test_fit_needs_compile():
    with pytest.raises(ValueError, match=r"compile\(\)"):
        model().fit(bits())


# Precision


def digits():
    from sklearn.datasets import load_digits

    return (load_digits().data > 7).astype("uint8")


def bound_of_digits(policy):
    keras.utils.set_random_seed(1)
    keras.config.set_dtype_policy(policy)
    vae = keras_vae.VAE(
        encoder=mlp([64]), decoder=mlp([64]), posterior=DiagonalNormal(8),
        prior=StandardNormal(8), likelihood=Bernoulli((64,)), seed=1,
    )  # fmt: skip
    vae.compile(keras.optimizers.Adam(3e-3))
    x = digits()
    vae.fit(x, batch_size=64, epochs=15, verbose=0)
    density = vae.decode(vae.encode(x[:4]).mean()).log_prob(x[:4].astype("float32"))
    assert vae.encode(x[:4]).mean().dtype == density.dtype == "float32"
    assert vae.encoder(x[:4]).dtype == keras.config.dtype_policy().compute_dtype
    return float(np.mean(vae.elbo(x, num_samples=20, seed=0)))


def test_half_precision_trains_to_the_bound_of_single_precision():
    single = bound_of_digits("float32")
    assert -40 < single < -15  # learned: independent pixels reach -30 or so
    for policy in ("mixed_float16", "mixed_bfloat16"):
        assert bound_of_digits(policy) == pytest.approx(single, rel=0.01), policy


def test_double_precision_is_double_throughout():
    keras.config.set_dtype_policy("float64")
    vae, x = still_model(keras.optimizers.SGD(0.1)), bits().astype("float64")
    vae.fit(x, verbose=0)
    assert vae.elbo(x).dtype == vae.encode(x).mean().dtype == "float64"
    log_likelihood, kl = terms(vae, x)
    # z = loc + 1e-6 noise: the bound differs by that much, not by float32's rounding
    np.testing.assert_allclose(vae.elbo(x, num_samples=200), log_likelihood - kl, rtol=1e-7)
