"""`fit` on an array trains as `fit` on batches of it does."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from parts import of_six_bits

from keras_vae.data import Source

GREY = np.random.default_rng(0).integers(0, 256, (103, 6), dtype=np.uint8)
BITS = (GREY > 127).astype("float32")
DRAWN = Source(GREY, divisor=255.0, dynamic=True)


def model(**compiled):
    vae = of_six_bits()
    vae.compile(keras.optimizers.Adam(0.01), **compiled)
    return vae


def started(**compiled):
    """A model that no array starts from its mean any more."""
    vae = model(**compiled)
    vae.fit(tf.data.Dataset.from_tensors(BITS), verbose=0)
    return vae


def assert_same(vae, other):
    for weight, expected in zip(vae.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("execution", ["auto", 1, 4])
@pytest.mark.parametrize("rows", [103, 100, 7], ids=["some left", "none left", "less than a batch"])
def test_weights_and_logs_are_those_of_the_same_rows_as_a_dataset(rows, execution):
    vae, other = started(steps_per_execution=execution), started(steps_per_execution=1)
    dataset = tf.data.Dataset.from_tensor_slices(BITS[:rows]).batch(10)
    history = vae.fit(BITS[:rows], batch_size=10, epochs=3, shuffle=False, verbose=0).history
    expected = other.fit(dataset, epochs=3, verbose=0).history
    assert_same(vae, other)
    assert int(vae.optimizer.iterations) == 1 + 3 * -(-rows // 10)
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-4)


@pytest.mark.parametrize("weights", [None, np.linspace(0, 2, 103)], ids=["alike", "weighted"])
def test_order_and_bits_are_those_of_the_pipeline(weights):
    vae, other = model(), model()
    fit = {"batch_size": 10, "epochs": 2, "sample_weight": weights, "verbose": 0}
    vae.fit(DRAWN, **fit)
    other.fit(DRAWN, steps_per_epoch=11, **fit)  # a number of steps: tf.data feeds it
    assert_same(vae, other)


def resident(vae):
    """What runs the steps of its `fit`s."""
    [steps] = vae._executions._kept.values()
    return steps


def test_xla_compiles_the_loop_and_the_weights_are_the_same():
    vae, other = model(jit_compile=True), model(jit_compile=True)
    fit = {"batch_size": 10, "epochs": 2, "verbose": 0}
    history = vae.fit(BITS, **fit).history
    expected = other.fit(BITS, steps_per_epoch=11, **fit).history  # a step at a time
    assert_same(vae, other)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-4)
    assert resident(vae)._several._jit_compile


def test_a_later_fit_takes_other_rows_and_another_batch_size():
    vae, other = model(), model()
    vae.fit(DRAWN, batch_size=10, verbose=0)
    vae.fit(DRAWN[:37], batch_size=7, verbose=0)
    other.fit(DRAWN, batch_size=10, steps_per_epoch=11, verbose=0)
    other.fit(DRAWN[:37], batch_size=7, steps_per_epoch=6, verbose=0)
    assert_same(vae, other)


def test_a_later_fit_takes_rows_of_another_kind():
    vae, other = model(), model()
    vae.fit(DRAWN, batch_size=10, verbose=0)
    vae.fit(BITS, batch_size=10, verbose=0)
    other.fit(DRAWN, batch_size=10, steps_per_epoch=11, verbose=0)
    other.fit(BITS, batch_size=10, steps_per_epoch=11, verbose=0)
    assert_same(vae, other)


def test_compiling_anew_trains_with_the_new_optimizer():
    vae, other = model(), model()
    for trained, steps in ((vae, None), (other, 11)):
        trained.fit(BITS, batch_size=10, steps_per_epoch=steps, verbose=0)
        trained.compile(keras.optimizers.SGD(0.1))
        trained.fit(BITS, batch_size=10, steps_per_epoch=steps, verbose=0)
    assert_same(vae, other)


def test_other_ways_to_train_go_on_between():
    vae, other = model(), model()
    for trained, steps in ((vae, None), (other, 11)):
        trained.fit(BITS, batch_size=10, steps_per_epoch=steps, verbose=0)
        trained.train_on_batch(BITS[:10])
        trained.fit(tf.data.Dataset.from_tensor_slices(BITS).batch(20), verbose=0)
        trained.fit(BITS, batch_size=10, steps_per_epoch=steps, verbose=0)
    assert_same(vae, other)


def test_a_later_fit_compiles_nothing():
    vae = model()
    vae.fit(BITS, batch_size=10, verbose=0)
    traced = resident(vae)._several.experimental_get_tracing_count()
    assert traced == 2  # full batches, and the last
    vae.fit(BITS, batch_size=10, epochs=2, verbose=0)
    assert resident(vae)._several.experimental_get_tracing_count() == traced


def test_another_number_of_rows_that_are_left_compiles_nothing():
    vae, other = started(), started()
    for rows in (33, 37, 39, 30):
        vae.fit(BITS[:rows], batch_size=10, shuffle=False, verbose=0)
        other.fit(tf.data.Dataset.from_tensor_slices(BITS[:rows]).batch(10), verbose=0)
    assert resident(vae)._several.experimental_get_tracing_count() == 2
    assert_same(vae, other)


def held(vae) -> int:
    """How many rows are in memory for steps to come."""
    return int(tf.shape(resident(vae).rows._tables["x"])[0])


def test_the_rows_are_given_back_after_training():
    vae = model()
    seen = []
    epoch = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seen.append(held(vae)))
    vae.fit(BITS, verbose=0, callbacks=[epoch])
    assert seen == [103]
    assert held(vae) == 0


def test_the_rows_are_given_back_after_an_interruption():
    class Interrupted(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            raise KeyboardInterrupt

    vae = model()
    with pytest.raises(KeyboardInterrupt):
        vae.fit(BITS, verbose=0, callbacks=[Interrupted()])
    assert held(vae) == 0
    vae.fit(BITS, verbose=0)


def test_xla_compiles_the_steps():
    vae, other = started(jit_compile=True), started(jit_compile=True)
    vae.fit(BITS, batch_size=10, verbose=0, shuffle=False)
    other.fit(tf.data.Dataset.from_tensor_slices(BITS).batch(10), verbose=0)
    assert_same(vae, other)
