"""The kernel that updates the weights is Keras's Adam, in one pass."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vae.native_adam import use_native_adam

OPTIMIZERS = {
    "Adam": lambda: keras.optimizers.Adam(0.1),
    "its own betas and epsilon": lambda: keras.optimizers.Adam(
        0.05, beta_1=0.5, beta_2=0.9, epsilon=1e-2
    ),
    "AdamW": lambda: keras.optimizers.AdamW(0.1, weight_decay=0.1),
    "clipped by norm": lambda: keras.optimizers.Adam(0.1, global_clipnorm=0.5),
    "averaged": lambda: keras.optimizers.Adam(0.1, use_ema=True, ema_overwrite_frequency=2),
    "accumulated": lambda: keras.optimizers.Adam(0.1, gradient_accumulation_steps=3),
    "a schedule": lambda: keras.optimizers.Adam(
        keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    ),
    "amsgrad": lambda: keras.optimizers.Adam(0.1, amsgrad=True),
    "no Adam": lambda: keras.optimizers.RMSprop(0.1),
    "Nadam, of Adam's family": lambda: keras.optimizers.Nadam(0.1),
}
START = np.array([[1.0, -2.0, 0.5]], "float32")
INPUTS = np.random.default_rng(0).normal(size=(7, 5, 3)).astype("float32")


def path(optimizer, jit_compile, dtype="float32"):
    """The weights after each of a few steps on a quadratic."""
    weights = keras.Variable(START, dtype=dtype)
    optimizer.build([weights])

    @tf.function(jit_compile=jit_compile)
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((tf.cast(x, dtype) * weights.value - 1) ** 2)
        optimizer.apply([tape.gradient(loss, weights.value)])

    found = []
    for x in INPUTS:
        step(x)
        found.append(weights.numpy())
    return np.array(found)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_weights_are_those_of_keras(name, jit_compile):
    native = OPTIMIZERS[name]()
    use_native_adam(native)
    expected = path(OPTIMIZERS[name](), jit_compile)
    assert np.ptp(expected, axis=0).min() > 1e-3, "the weights hardly move"
    np.testing.assert_allclose(path(native, jit_compile), expected, rtol=2e-5, atol=1e-6)


def test_a_learning_rate_that_is_set_later_counts():
    native, plain = keras.optimizers.Adam(0.1), keras.optimizers.Adam(0.1)
    use_native_adam(native)
    for optimizer in (native, plain):
        optimizer.learning_rate = 0.003
    np.testing.assert_allclose(path(native, False), path(plain, False), rtol=2e-5)


def test_the_kernel_is_used_where_it_is_adam_and_nowhere_else():
    used = {}
    for name, make in OPTIMIZERS.items():
        optimizer = make()
        own = optimizer.update_step
        use_native_adam(optimizer)
        used[name] = optimizer.update_step != own
    assert [name for name, is_used in used.items() if not is_used] == list(OPTIMIZERS)[-3:]


def test_an_optimizer_of_a_model_that_is_compiled_again_is_the_same():
    native = keras.optimizers.Adam(0.1)
    use_native_adam(native)
    use_native_adam(native)
    plain = path(keras.optimizers.Adam(0.1), False)
    np.testing.assert_allclose(path(native, False), plain, rtol=2e-5, atol=1e-6)


def test_what_all_weights_share_is_computed_once():
    native, weights = keras.optimizers.Adam(0.1), [keras.Variable(START) for _ in range(5)]
    use_native_adam(native)
    native.build(weights)
    graph = tf.function(lambda: native.apply([w.value for w in weights]), autograph=False)
    types = [op.type for op in graph.get_concrete_function().graph.get_operations()]
    assert (types.count("ResourceApplyAdam"), types.count("Pow")) == (5, 2)


def test_weights_of_two_precisions_are_updated_as_by_keras():
    moved = []
    for change in (use_native_adam, lambda optimizer: None):
        optimizer = keras.optimizers.Adam(0.1)
        change(optimizer)
        weights = [keras.Variable(START, dtype=dtype) for dtype in ("float32", "float64")]
        optimizer.build(weights)
        for x in INPUTS:
            optimizer.apply([tf.constant(x[:1], w.dtype) for w in weights])
        moved.append([w.numpy() for w in weights])
    for found, expected in zip(*moved, strict=True):
        # Seven steps of 0.1: rounded to float32, 1 - 0.999^t is off by 1e-5 of itself.
        np.testing.assert_allclose(found, expected, rtol=0, atol=7 * 0.1 * 1e-5)


def test_the_optimizer_inside_one_that_scales_the_loss_uses_it_too():
    scaled = lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1), 8.0)  # noqa: E731
    native, plain = scaled(), scaled()
    own = native.inner_optimizer.update_step
    use_native_adam(native)
    assert native.inner_optimizer.update_step != own
    np.testing.assert_allclose(path(native, False), path(plain, False), rtol=2e-5, atol=1e-6)


def test_the_configuration_stays_keras_own():
    native = keras.optimizers.Adam(0.1)
    use_native_adam(native)
    copied = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(native))
    assert type(copied) is keras.optimizers.Adam
    assert copied.get_config() == native.get_config()


def test_gradients_of_an_embedding_are_updated():
    layer = keras.layers.Embedding(4, 2)
    layer.build()
    native, before = keras.optimizers.Adam(0.1), layer.embeddings.numpy()
    use_native_adam(native)
    native.build(layer.trainable_variables)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant([1, 1, 3])))
    native.apply(tape.gradient(loss, layer.trainable_variables))
    moved = np.abs(layer.embeddings.numpy() - before).max(axis=1)
    np.testing.assert_allclose(moved, [0, 0.1, 0, 0.1], rtol=1e-4)
