"""Encoders, decoders and the last projection."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from parts import DECODERS, ENCODERS, EVENT_SHAPE, LATENT_SIZE, assert_finite, every, features

from keras_vae.networks import (
    First,
    Projection,
    conv,
    conv_transpose,
    inverse_positive,
    mlp,
    positive,
)


@pytest.mark.parametrize("make", every(ENCODERS))
def test_encoders_make_features_of_x(make):
    output = make()(features(3, EVENT_SHAPE))
    assert output.shape[0] == 3
    assert None not in output.shape
    assert_finite(output)


@pytest.mark.parametrize("make", every(DECODERS))
def test_decoders_make_features_of_z(make):
    output = make()(features(3, (LATENT_SIZE,)))
    assert output.shape[0] == 3
    assert_finite(output)


@pytest.mark.parametrize(
    ("make", "shape"),
    [(m, EVENT_SHAPE) for m in ENCODERS.values()]
    + [(m, (LATENT_SIZE,)) for m in DECODERS.values()],
)
def test_a_network_is_an_ordinary_keras_model_that_round_trips(make, shape):
    network = make()
    inputs = features(2, shape)
    expected = network(inputs)
    loaded = keras.Sequential.from_config(network.get_config())
    loaded(inputs)
    loaded.set_weights(network.get_weights())
    np.testing.assert_allclose(loaded(inputs), expected, rtol=1e-6)


# Multi-layer perceptrons


def test_an_mlp_is_affine_maps_with_activations_between():
    network = mlp([7, 3], activation="tanh")
    x = features(4, (2, 3))
    output = network(x)
    w, b, v, c = network.get_weights()
    np.testing.assert_allclose(
        output, np.tanh(np.tanh(x.reshape(4, 6) @ w + b) @ v + c), rtol=1e-5, atol=1e-6
    )


def test_an_mlp_without_layers_is_the_identity_on_flattened_input():
    network = mlp([])
    x = features(4, (2, 3))
    np.testing.assert_array_equal(network(x), x.reshape(4, 6))
    assert network.weights == []


# Convolutions


@pytest.mark.parametrize(
    ("shape", "filters", "expected"),
    [
        ((28, 28, 1), [32, 64], (7, 7, 64)),
        ((28, 28, 1), [4, 4, 4], (4, 4, 4)),
        ((5, 9, 3), [2], (3, 5, 2)),
        ((1, 1, 1), [2, 3], (1, 1, 3)),
    ],
)
def test_each_convolution_halves_an_image_rounding_up(shape, filters, expected):
    assert conv(filters)(np.zeros((2, *shape), "float32")).shape == (2, *expected)


@pytest.mark.parametrize("filters", [[3], [4, 3], [5, 4, 3]])
@pytest.mark.parametrize("shape", [(28, 28, 1), (5, 9, 3), (4, 4, 1), (1, 1, 1)])
def test_transposed_convolutions_cover_an_image(shape, filters):
    network = conv_transpose(filters, shape=shape)
    output = network(features(2, (4,)))
    assert output.shape == (2, *shape[:2], 3)
    cropped = any(isinstance(layer, keras.layers.Cropping2D) for layer in network.layers)
    assert cropped == any(side % 2 ** len(filters) for side in shape[:2])


@pytest.mark.parametrize("shape", [(784,), (28, 28), (2, 28, 28, 1)])
def test_transposed_convolutions_need_the_shape_of_an_image(shape):
    with pytest.raises(ValueError, match=r"`shape` of conv_transpose is an image's") as error:
        conv_transpose([4], shape=shape)
    assert f"Received: {shape}" in str(error.value)


def test_transposed_convolutions_need_a_layer():
    with pytest.raises(ValueError, match=r"`filters` of conv_transpose needs .* Received: \[\]"):
        conv_transpose([], shape=(28, 28, 1))


# The projection


@pytest.mark.parametrize(
    ("shape", "features_shape", "kernel"),
    [
        ((3,), (5,), (5, 3)),
        ((4, 4, 1), (4, 4, 6), (6, 1)),
        ((4, 4, 2), (4, 4, 1), (1, 2)),
        ((4, 4, 1), (5,), (5, 16)),
        ((4, 4, 1), (2, 2, 3), (12, 16)),
        ((4, 4, 1), (4, 5, 3), (60, 16)),
        ((3,), (4, 4, 6), (96, 3)),
        ((2, 3), (2, 5), (5, 3)),
    ],
)
def test_a_projection_keeps_the_space_that_features_have_and_flattens_others(
    shape, features_shape, kernel
):
    layer = Projection(shape)
    x = features(2, features_shape)
    output = layer(x)
    assert tuple(layer.kernel.shape) == kernel
    assert output.shape == (2, *shape) == layer.compute_output_shape(x.shape)
    layer.bias.assign(np.arange(kernel[1], dtype="float32"))
    expected = x.reshape(-1, kernel[0]) @ layer.kernel.numpy() + np.arange(kernel[1])
    np.testing.assert_allclose(layer(x), expected.reshape(2, *shape), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(None, None), (None, None, 3), (None, 4, None)])
def test_features_of_unknown_size_are_refused(shape):
    with pytest.raises(ValueError, match="features of a known size") as error:
        Projection((3,)).build(shape)
    assert f"Received: {shape}" in str(error.value)
    assert "Pool or flatten" in str(error.value)


def test_features_without_an_axis_are_refused():
    with pytest.raises(ValueError, match=r"Received: \(None,\)"):
        Projection((3,)).build((None,))


def test_a_projection_of_a_half_precision_network_ends_in_single_precision():
    layer = Projection((3,), dtype="mixed_float16")
    assert layer(features(2)).dtype == tf.float32
    assert Projection((3,), dtype="float64")(features(2)).dtype == tf.float64


def test_the_bias_is_what_features_of_zero_give():
    layer = Projection((2, 3))
    layer.build((None, 5))
    value = np.arange(6, dtype="float32").reshape(2, 3)
    layer.set_bias(value)
    np.testing.assert_array_equal(layer(np.zeros((4, 5), "float32")), np.stack([value] * 4))


def test_a_bias_that_serves_every_position_is_the_mean_over_them():
    layer = Projection((2, 2, 3))
    layer.build((None, 2, 2, 5))
    value = np.random.default_rng(0).normal(size=(2, 2, 3)).astype("float32")
    layer.set_bias(value)
    output = layer(np.zeros((4, 2, 2, 5), "float32"))
    np.testing.assert_allclose(output[0, 1, 1], value.mean((0, 1)), rtol=1e-5)


def test_a_loaded_projection_is_the_saved_one():
    layer = Projection((2, 3), name="loc", dtype="mixed_float16", trainable=False)
    loaded = Projection.from_config(layer.get_config())
    assert loaded.get_config() == layer.get_config()
    assert loaded.shape == (2, 3)


# Scales


def test_positive_inverts_inverse_positive():
    scales = np.geomspace(1e-5, 1e6, 400).astype("float32")
    np.testing.assert_allclose(positive(inverse_positive(scales)), scales, rtol=1e-5)


def test_positive_inverts_inverse_positive_down_to_the_floor():
    scales = np.geomspace(1e-6, 1e-5, 50).astype("float32")
    np.testing.assert_allclose(positive(inverse_positive(scales)), scales, rtol=0.01)


def test_inverse_positive_inverts_positive():
    raw = np.concatenate([np.linspace(-9, 9, 100), np.geomspace(10, 1e6, 50)]).astype("float32")
    np.testing.assert_allclose(inverse_positive(positive(raw)), raw, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("scale", [0.0, -1.0, 1e-9])
def test_inverse_positive_is_finite_below_the_floor(scale):
    raw = inverse_positive(scale)
    assert_finite(raw)
    assert float(positive(raw)) < 1e-5


@pytest.mark.parametrize("raw", [-1e30, -1e4, -50.0, 0.0, 50.0, 1e4, 1e30])
def test_a_scale_is_never_zero_or_infinite_and_neither_is_its_gradient(raw):
    raw = tf.Variable(raw)
    with tf.GradientTape() as tape:
        scale = positive(raw)
    assert np.float32(1e-6) <= scale.numpy() < np.inf
    assert 0 <= float(tape.gradient(scale, raw)) <= 1


def test_a_scale_is_softplus_above_a_floor():
    raw = np.linspace(-20, 20, 100)
    np.testing.assert_allclose(positive(raw), np.logaddexp(0, raw) + 1e-6, rtol=1e-12)


@pytest.mark.parametrize(("condition_size", "read"), [(0, [0, 1]), (2, [0, 1, 4, 5])])
def test_a_decoder_may_read_the_first_block_of_z_and_the_condition(condition_size, read):
    first = First(2, condition_size)
    z = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    np.testing.assert_array_equal(first(z), z[:, read])
    loaded = First.from_config(first.get_config())
    np.testing.assert_array_equal(loaded(z), z[:, read])
