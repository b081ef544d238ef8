"""A model with networks of fewer bits, where its scores hardly change."""

import warnings
from typing import Any

import keras
import numpy as np

from keras_vae.data.source import Source, every
from keras_vae.exported.examples import drawn
from keras_vae.feed import as_sample
from keras_vae.vae import VAE

PRECISIONS = ("mixed_bfloat16", "mixed_float16", "int8")
NATS = 0.1  # by which the score of an x may move
EXAMPLES = 64
DRAWS = 20


def in_precision(vae: VAE, precision: str, examples: Any, seed: int) -> VAE:
    """A copy of the model in another precision.

    Raises:
        ValueError: if that moves the bound of an x by 0.1 nats or more, on average.
    """
    copy = _quantised(vae) if precision == "int8" else _under_policy(vae, precision)
    moved = _moved(vae, copy, examples, seed)
    if not moved < NATS:
        raise ValueError(
            f'`precision="{precision}"` moves the score of an x by {moved:.3g} nats. Expected: less '
            f"than {NATS} nats. Export in the model's own precision, or train in this one."
        )
    return copy


def _under_policy(vae: VAE, precision: str) -> VAE:
    """The networks' layers and the heads under another policy; the densities stay in float32."""
    config = _replaced(vae.get_config(), precision)
    copy = VAE.from_config(config)
    _take_weights(copy, vae)
    return copy


def _quantised(vae: VAE) -> VAE:
    """The weights of the networks' dense layers in a byte each."""
    copy = VAE.from_config(vae.get_config())
    _take_weights(copy, vae)
    with warnings.catch_warnings():
        # Layers without such a product, such as convolutions, stay as they are.
        warnings.filterwarnings("ignore", message=".*does not have a `quantize` method")
        for network in (copy.encoder, copy.decoder):
            network.quantize("int8")
    return copy


def _take_weights(copy: VAE, vae: VAE) -> None:
    for own, other in zip(copy.weights, vae.weights, strict=True):
        own.assign(other)


def _replaced(config: Any, precision: str) -> Any:
    """A configuration with every float32 policy replaced."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy" and config["config"]["name"] == "float32":
            return keras.dtype_policies.serialize(keras.dtype_policies.DTypePolicy(precision))
        return {key: _replaced(value, precision) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_replaced(value, precision) for value in config)
    return config


def _moved(vae: VAE, copy: VAE, examples: Any, seed: int) -> float:
    """The mean distance of the bounds of some x, of the same draws."""
    if examples is None:
        x, beside = drawn(vae, EXAMPLES, seed)
        some = Source(x, condition=beside.get("condition"), size_factor=beside.get("size_factor"))
    else:
        source = as_sample(vae.likelihood, examples)
        some = source[every(len(source), EXAMPLES)]
    bounds = [np.asarray(model.elbo(some, DRAWS, seed=seed)) for model in (vae, copy)]
    return float(np.mean(np.abs(bounds[1] - bounds[0])))
