"""Convolutional networks: `conv` for an encoder, `conv_transpose` for a decoder."""

import math
from collections.abc import Sequence

import keras

from keras_vae.arguments import positive_integers


def conv(
    filters: Sequence[int],
    kernel_size: int = 4,
    activation: str = "relu",
    name: str | None = None,
) -> keras.Sequential:
    """Convolutions of stride 2: each halves the height and the width (rounded up).

    Args:
        filters: the channels of each layer, from the image on.
        kernel_size: the side of each kernel.
        activation: any Keras activation.
        name: the model's name.

    Returns:
        A Keras model, `[B, H, W, C]` -> `[B, h, w, filters[-1]]`, built when first called.

    Raises:
        ValueError: if `filters` is not a list of positive integers.

    Example: `keras_vae.networks.conv([32, 64])`
    """
    filters = positive_integers(filters, "filters", "conv")
    return keras.Sequential(
        [
            keras.layers.Conv2D(
                channels, kernel_size, strides=2, padding="same", activation=activation
            )
            for channels in filters
        ],
        name=name,
    )


def conv_transpose(
    filters: Sequence[int],
    shape: tuple[int, int, int],
    kernel_size: int = 4,
    activation: str = "relu",
    name: str | None = None,
) -> keras.Sequential:
    """From a vector to features with the height and width of an image.

    A dense layer makes a small image, transposed convolutions of stride 2 double it until
    it covers `shape`, and what is over is cropped. The likelihood then projects the last
    axis alone.

    Args:
        filters: the channels of each layer, from the vector on.
        shape: the event shape of the image, `(H, W, C)`; only H and W are used.
        kernel_size: the side of each kernel.
        activation: any Keras activation.
        name: the model's name.

    Returns:
        A Keras model, `[B, D]` -> `[B, H, W, filters[-1]]`, built when first called.

    Raises:
        ValueError: if `shape` is not `(H, W, C)` or `filters` is empty.

    Example: `keras_vae.networks.conv_transpose([64, 32], shape=(28, 28, 1))`
    """
    if len(shape) != 3:
        raise ValueError(
            f"`shape` of conv_transpose is an image's (H, W, C). Received: {tuple(shape)}. "
            "For other data use keras_vae.networks.mlp."
        )
    filters = positive_integers(filters, "filters", "conv_transpose")
    if not filters:
        raise ValueError("`filters` of conv_transpose needs at least one layer. Received: [].")
    height, width = shape[:2]
    factor = 2 ** len(filters)
    small = (math.ceil(height / factor), math.ceil(width / factor), filters[0])
    excess = (small[0] * factor - height, small[1] * factor - width)
    layers = [
        keras.layers.Dense(math.prod(small), activation=activation),
        keras.layers.Reshape(small),
        *(
            keras.layers.Conv2DTranspose(
                channels, kernel_size, strides=2, padding="same", activation=activation
            )
            for channels in filters
        ),
    ]
    if any(excess):  # a crop of nothing copies its gradient: 3 ms of a step of 45
        layers.append(keras.layers.Cropping2D(((0, excess[0]), (0, excess[1]))))
    return keras.Sequential(layers, name=name)
