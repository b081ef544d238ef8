"""A multi-layer perceptron, for an encoder or a decoder."""

from collections.abc import Sequence

import keras

from keras_vae.arguments import positive_integers


def mlp(
    units: Sequence[int], activation: str = "relu", name: str | None = None
) -> keras.Sequential:
    """Dense layers of the given widths, on flattened input.

    The last projection, to the parameters of a distribution, belongs to the posterior or
    the likelihood, not to the network.

    Args:
        units: the width of each layer, from the input on; empty for the identity.
        activation: any Keras activation.
        name: the model's name.

    Returns:
        A Keras model, `[B, ...]` -> `[B, units[-1]]`, built when first called.

    Raises:
        ValueError: if `units` is not a list of positive integers.

    Example: `keras_vae.networks.mlp([400])`
    """
    units = positive_integers(units, "units", "mlp")
    layers: list[keras.layers.Layer] = [keras.layers.Flatten()]
    layers += [keras.layers.Dense(width, activation=activation) for width in units]
    return keras.Sequential(layers, name=name)
