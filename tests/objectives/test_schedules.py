"""The schedules of a bound's weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from parts import round_trip

from keras_vae.advice import END
from keras_vae.objectives import ELBO, Cyclical, LinearWarmUp

SCHEDULES = {
    "LinearWarmUp": lambda: LinearWarmUp(100, end=2.0, start=0.5),
    "Cyclical": lambda: Cyclical(40, rising=0.25, end=2.0, start=0.5, cycles=3),
}
all_schedules = pytest.mark.parametrize("name", SCHEDULES)


def values(schedule, steps):
    return np.array([float(schedule(step)) for step in steps])


def test_a_warm_up_is_a_straight_line_and_then_its_end():
    found = values(LinearWarmUp(100, end=2.0, start=0.5), [0, 1, 50, 99, 100, 101, END])
    np.testing.assert_allclose(found, [0.5, 0.515, 1.25, 1.985, 2, 2, 2], rtol=1e-6)


def test_a_warm_up_is_the_polynomial_decay_of_keras():
    decay = keras.optimizers.schedules.PolynomialDecay(0.0, 70, end_learning_rate=1.0)
    steps = range(0, 100, 7)
    np.testing.assert_allclose(values(LinearWarmUp(70), steps), values(decay, steps), atol=1e-6)


def test_a_cycle_rises_and_stays_and_starts_again():
    schedule = Cyclical(40, rising=0.25, end=2.0, start=0.5, cycles=3)
    cycle = [0.5, 1.25, 2.0, 2.0, 2.0]
    for first in (0, 40, 80):
        found = values(schedule, [first + step for step in (0, 5, 10, 20, 39)])
        np.testing.assert_allclose(found, cycle, rtol=1e-6)


def test_after_the_last_cycle_the_value_stays_at_the_end():
    np.testing.assert_allclose(values(Cyclical(40, cycles=3), [120, 121, 160, END]), np.ones(4))


def test_a_cycle_that_rises_all_the_time_is_a_saw():
    found = values(Cyclical(10, rising=1.0), range(20))
    np.testing.assert_allclose(found, np.tile(np.arange(10) / 10, 2), rtol=1e-6)


def test_late_steps_are_counted_one_by_one():
    """float32 counts by twos from 2^24 on."""
    first = 2**24 + 8
    schedule = Cyclical(8, rising=1.0, cycles=2**28)
    np.testing.assert_allclose(values(schedule, range(first, first + 8)), np.arange(8) / 8)


@all_schedules
@pytest.mark.parametrize("compiled", [False, True])
def test_a_schedule_is_read_anew_at_each_step_of_a_graph(name, compiled):
    schedule, step = SCHEDULES[name](), tf.Variable(0, dtype="int64")
    graph = tf.function(lambda: schedule(step), jit_compile=compiled)
    for value in (0, 5, 30, 47, 1_000):
        step.assign(value)
        np.testing.assert_allclose(graph(), schedule(value), rtol=1e-6)


@all_schedules
def test_a_schedule_reads_the_iterations_of_an_optimizer(name):
    schedule = SCHEDULES[name]()
    optimizer = keras.optimizers.SGD(schedule)
    optimizer.build([keras.Variable(0.0)])
    optimizer.iterations.assign(7)
    assert float(schedule(optimizer.iterations)) == pytest.approx(float(schedule(7)))
    assert float(optimizer.learning_rate) == pytest.approx(float(schedule(7)))


@all_schedules
def test_a_loaded_schedule_is_the_saved_one(name):
    schedule = SCHEDULES[name]()
    loaded = round_trip(ELBO(beta=schedule)).beta
    assert type(loaded) is type(schedule)
    assert loaded.get_config() == schedule.get_config()
    assert keras.saving.get_registered_name(type(schedule)) == f"keras_vae>{name}"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearWarmUp(0), "`steps` of LinearWarmUp is the length"),
        (lambda: LinearWarmUp(1.5), "`steps` of LinearWarmUp is the length"),
        (lambda: LinearWarmUp(10, end="1"), "`end` of LinearWarmUp is a value"),
        (lambda: LinearWarmUp(10, start=float("nan")), "`start` of LinearWarmUp is a value"),
        (lambda: Cyclical(0), "`period` of Cyclical is the number"),
        (lambda: Cyclical(10, cycles=0), "`cycles` of Cyclical is the number"),
        (lambda: Cyclical(10, rising=0.0), "`rising` of Cyclical is a part"),
        (lambda: Cyclical(10, rising=1.5), "`rising` of Cyclical is a part"),
        (lambda: Cyclical(10, end=None), "`end` of Cyclical is a value"),
        (lambda: Cyclical(10, start=float("inf")), "`start` of Cyclical is a value"),
    ],
)
def test_arguments_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "Received: " in str(error.value)
