"""The analytic optimum of a Normal's scale (Rybkin et al. 2021)."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from parts import LIKELIHOODS, built, features, make_vae

from keras_vae.likelihoods import Normal


def example(shape=(3,), batch=4, samples=2):
    head = built(Normal(shape, scale="optimal"))
    random = np.random.default_rng(0)
    loc = tf.constant(random.normal(size=(samples, batch, *shape)), tf.float32)
    x = tf.constant(random.normal(size=(batch, *shape)), tf.float32)
    ones = tf.ones((samples, batch, *(1,) * len(shape)))
    return head, loc, head.distribution({"loc": loc, "scale": ones}), x


@pytest.mark.parametrize("shape", [(), (3,), (2, 2, 1)])
def test_the_scale_of_a_step_is_the_root_of_the_mean_squared_error(shape):
    head, loc, p, x = example(shape)
    adapted = head.adapt(p, x)
    mse = np.mean((x - loc).numpy() ** 2)
    np.testing.assert_allclose(
        adapted.distribution.scale, np.full((2, 4, *(1,) * len(shape)), mse**0.5), rtol=1e-6
    )
    assert adapted.batch_shape == (2, 4)
    assert adapted.event_shape == shape
    # Of the optimum the log density is one of the mean squared error alone.
    values = max(1, int(np.prod(shape)))
    expected = -values / 2 * (np.log(2 * np.pi * mse) + 1)
    assert float(tf.reduce_mean(adapted.log_prob(x))) == pytest.approx(expected, rel=1e-5)


def test_the_scale_of_a_step_weighs_the_rows_as_the_loss_does():
    head, loc, p, x = example()
    weight = np.array([0.0, 1.0, 3.0, 0.0])
    adapted = head.adapt(p, x, tf.constant(weight))
    squared = ((x - loc).numpy() ** 2).mean((0, 2))
    expected = np.sqrt((weight * squared).sum() / weight.sum())
    np.testing.assert_allclose(adapted.distribution.scale[0, 0, 0], expected, rtol=1e-6)


def test_any_other_scale_is_worse():
    head, loc, p, x = example()
    adapted = head.adapt(p, x)
    best = tf.reduce_mean(adapted.log_prob(x))
    for factor in (0.99, 1.01):
        scale = adapted.distribution.scale * factor
        other = head.distribution({"loc": loc, "scale": scale}).log_prob(x)
        assert tf.reduce_mean(other) < best


def test_no_gradient_is_lost_though_none_passes_through_the_scale():
    head, loc, _, x = example()
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(loc)
        p = head.distribution({"loc": loc, "scale": tf.ones((2, 4, 1))})
        ours = tf.reduce_mean(head.adapt(p, x).log_prob(x))
        mse = tf.reduce_mean((x - loc) ** 2)
        through = -3 / 2 * tf.math.log(mse)
    np.testing.assert_allclose(tape.gradient(ours, loc), tape.gradient(through, loc), rtol=1e-5)


def test_the_weight_is_the_mean_of_the_first_steps_and_then_a_moving_one():
    head = built(Normal((1,), scale="optimal"))
    p = head.distribution({"loc": tf.zeros((1, 1, 1)), "scale": tf.ones((1, 1, 1))})
    for step, x in enumerate((3.0, 4.0, 5.0)):
        head.adapt(p, tf.fill((1, 1), x))
        mean = np.mean(np.array([9.0, 16.0, 25.0])[: step + 1])
        assert head.one_scale() == pytest.approx(mean**0.5, rel=1e-6)
    head.steps.assign(1_000)
    before = head.one_scale() ** 2
    head.adapt(p, tf.fill((1, 1), 10.0))
    assert head.one_scale() ** 2 == pytest.approx(0.99 * before + 0.01 * 100, rel=1e-5)


def test_evaluation_takes_the_weight_and_leaves_it():
    vae = make_vae(likelihood=LIKELIHOODS["Normal-optimal"])
    vae.compile()
    x = np.random.default_rng(0).normal(size=(8, 4, 4, 1)).astype("float32")
    vae.likelihood.learned["variance"].assign([[[4.0]]])
    vae.evaluate(x, verbose=0)
    assert vae.likelihood.one_scale() == 2.0
    scale = vae.decode(np.zeros((3, 2), "float32")).distribution.scale
    np.testing.assert_array_equal(scale, np.full((3, 1, 1, 1), 2.0))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_fit_finds_the_error_of_the_mean_at_draws_of_z(jit_compile):
    x = 0.1 * np.random.default_rng(0).normal(size=(64, 4, 4, 1)).astype("float32") + 3
    vae = make_vae(likelihood=LIKELIHOODS["Normal-optimal"])
    vae.compile(keras.optimizers.SGD(0.0), jit_compile=jit_compile)
    vae.fit(x, batch_size=16, verbose=0)
    loc = vae.decode(vae.encode(x).sample(50, seed=0)).mean()
    error = np.sqrt(np.mean((x - loc.numpy()) ** 2))
    assert error > 0.15  # of which 0.1 is the data's, the rest the draws'
    assert vae.likelihood.one_scale() == pytest.approx(error, rel=0.1)
    assert float(tf.convert_to_tensor(vae.likelihood.steps)) == 4


def test_a_frozen_likelihood_is_left_as_it_is():
    head, _, p, x = example()
    head.trainable = False
    assert head.adapt(p, x) is p
    assert head.one_scale() == 1.0


def test_another_scale_is_not_adapted():
    head = built(Normal((3,), scale="shared"))
    p = head.distribution(head(features(2)))
    assert head.adapt(p, tf.zeros((2, 3))) is p


def test_constant_data_keep_a_positive_scale():
    head = built(Normal((2,), scale="optimal"))
    p = head.distribution({"loc": tf.ones((1, 3, 2)), "scale": tf.ones((1, 3, 1))})
    adapted = head.adapt(p, tf.ones((3, 2)))
    np.testing.assert_allclose(adapted.distribution.scale, np.full((1, 3, 1), 1e-6), rtol=1e-5)
    assert np.all(np.isfinite(adapted.log_prob(tf.ones((3, 2)))))
    assert head.one_scale() == pytest.approx(1e-6, rel=1e-5)


def test_the_scale_of_parts_of_a_batch_is_that_of_the_whole(two_devices):
    """Of different sizes, too: every replica has the optimum of all of them."""
    with two_devices.scope():
        head = built(Normal((1,), scale="optimal"))
    x = np.array([1.0, 2.0, 3.0, 4.0, 5.0], "float32")[:, None]
    parts = [x[:3], x[3:]]
    values = two_devices.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )

    @tf.function
    def step(values):
        def of_one(part):
            ones = tf.ones((1, tf.shape(part)[0], 1))
            p = head.distribution({"loc": 0 * ones, "scale": ones})
            return head.adapt(p, part).distribution.scale[0, 0, 0]

        return two_devices.run(of_one, (values,))

    found = two_devices.experimental_local_results(step(values))
    expected = np.sqrt(np.mean(x**2))
    np.testing.assert_allclose([float(scale) for scale in found], expected, rtol=1e-6)
    assert head.one_scale() == pytest.approx(expected, rel=1e-6)
    assert float(tf.convert_to_tensor(head.steps)) == 1


def test_half_precision_keeps_a_small_scale():
    head = built(Normal((2,), scale="optimal", dtype="mixed_float16"))
    head.learned["variance"].assign([1e-9])
    np.testing.assert_allclose(head(features(2))["scale"], np.full((2, 1), 1e-9**0.5), rtol=1e-5)
