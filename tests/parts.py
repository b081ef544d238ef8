"""Examples of every part, for tests that are to hold for all of them.

A part is given as a function that makes it, because layers hold state. A new family is one
entry here, and `test_laws.py` fails until it has one.
"""

from collections.abc import Callable, Mapping

import keras
import numpy as np
import pytest
from scipy import special, stats

from keras_vae import VAE, likelihoods, networks, objectives, posteriors, priors

LATENT_SIZE = 2
EVENT_SHAPE = (4, 4, 1)

Schedule = keras.optimizers.schedules.PolynomialDecay

POSTERIORS = {
    "DiagonalNormal": lambda size=LATENT_SIZE, **k: posteriors.DiagonalNormal(size, **k),
    "FullCovarianceNormal": lambda size=LATENT_SIZE, **k: posteriors.FullCovarianceNormal(
        size, **k
    ),
}

PRIORS = {
    "StandardNormal": lambda size=LATENT_SIZE, **k: priors.StandardNormal(size, **k),
}

LIKELIHOODS = {
    "Bernoulli": lambda shape=EVENT_SHAPE, **k: likelihoods.Bernoulli(shape, **k),
    "Normal-fixed": lambda shape=EVENT_SHAPE, **k: likelihoods.Normal(shape, scale=0.5, **k),
    "Normal-shared": lambda shape=EVENT_SHAPE, **k: likelihoods.Normal(shape, "shared", **k),
    "Normal-per_value": lambda shape=EVENT_SHAPE, **k: likelihoods.Normal(shape, "per_value", **k),
}

OBJECTIVES = {
    "ELBO": objectives.ELBO,
    "ELBO-beta": lambda: objectives.ELBO(beta=4.0),
    "ELBO-samples": lambda: objectives.ELBO(num_samples=3),
    "ELBO-free_bits": lambda: objectives.ELBO(free_bits=2.0),
    "ELBO-schedule": lambda: objectives.ELBO(beta=Schedule(0.25, 100, end_learning_rate=1.0)),
    "IWAE": lambda: objectives.IWAE(num_samples=5),
}

ENCODERS = {
    "mlp": lambda: networks.mlp([6], activation="tanh"),
    "conv": lambda: networks.conv([3, 6], activation="tanh"),
}

DECODERS = {
    "mlp": lambda: networks.mlp([6], activation="tanh"),
    "conv_transpose": lambda: networks.conv_transpose([6, 3], shape=EVENT_SHAPE, activation="tanh"),
}


def every(parts: Mapping[str, Callable]) -> list:
    """The makers of parts as pytest parameters, named."""
    return [pytest.param(make, id=name) for name, make in parts.items()]


def built(head: keras.layers.Layer, features_shape: tuple[int, ...] = (5,)) -> keras.layers.Layer:
    """`head` with its weights made, the biases random so that no parameter has a special value."""
    if not head.built:
        head.build((None, *features_shape))
    random = np.random.default_rng(1)
    for weight in head.weights:
        if weight.path.endswith("bias"):
            weight.assign(random.normal(size=weight.shape))
    return head


def features(batch: int = 3, shape: tuple[int, ...] = (5,)) -> np.ndarray:
    """Random features of a network, `[B, *shape]`."""
    return np.random.default_rng(2).normal(size=(batch, *shape)).astype("float32")


# From standard normal values to values in a support, by the support's name.
INTO_SUPPORT: dict[str, Callable] = {
    "the real numbers": lambda x: x,
    "{0, 1}": lambda x: x > 0,
    "(0, 1)": lambda x: 1 / (1 + np.exp(-x)),
    "[0, 1]": lambda x: np.clip(x / 2 + 0.5, 0, 1),
    "{0, 1, 2, ...}": lambda x: np.floor(np.exp(x + 0.5)),
    "{0, 1, ..., 255}": lambda x: np.clip(np.round(128 + 60 * x), 0, 255),
}


def data_for(likelihood: likelihoods.Likelihood, n: int, seed: int = 3) -> np.ndarray:
    """`n` random examples in the support of a likelihood, `[n, *E]`."""
    x = np.random.default_rng(seed).normal(size=(n, *likelihood.event_shape))
    return INTO_SUPPORT[likelihood.support.name](x).astype("float32")


def make_vae(
    posterior: Callable = POSTERIORS["DiagonalNormal"],
    prior: Callable = PRIORS["StandardNormal"],
    likelihood: Callable = LIKELIHOODS["Bernoulli"],
    objective: Callable = OBJECTIVES["ELBO"],
    encoder: Callable = ENCODERS["mlp"],
    decoder: Callable = DECODERS["mlp"],
) -> VAE:
    """A small model of the given parts."""
    return VAE(encoder(), decoder(), posterior(), prior(), likelihood(), objective(), seed=0)


def numpy(parameters: Mapping) -> dict[str, np.ndarray]:
    """The parameters of a distribution in double precision."""
    return {name: np.asarray(value).astype("float64") for name, value in parameters.items()}


def normal_covariance(parameters: Mapping) -> np.ndarray:
    """The covariance matrices `[..., D, D]` that a posterior's parameters mean."""
    parameters = numpy(parameters)
    if "scale_diag" in parameters:
        return parameters["scale_diag"][..., None] ** 2 * np.eye(parameters["loc"].shape[-1])
    return parameters["scale_tril"] @ np.swapaxes(parameters["scale_tril"], -1, -2)


# log p(x_i|z) of single values by SciPy, from the parameters in double precision, by family.
DENSITIES: dict[str, Callable] = {
    "Bernoulli": lambda p, x: stats.bernoulli.logpmf(x.astype(int), special.expit(p["logits"])),
    "Normal": lambda p, x: stats.norm.logpdf(x, p["loc"], p["scale"]),
}


def density(head: likelihoods.Likelihood, parameters: Mapping, x: np.ndarray) -> np.ndarray:
    """log p(x|z) by SciPy from a likelihood's parameters, `[B, *E]` -> `[B]`."""
    values = DENSITIES[type(head).__name__](numpy(parameters), x.astype("float64"))
    return values.reshape(*values.shape[:1], -1).sum(-1)


def assert_moments(draws: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> None:
    """Draws `[n, d]` have this mean and covariance, within five standard errors.

    The standard error of the covariance is taken from the draws, so that it holds for any
    distribution.
    """
    n = len(draws)
    draws = draws.astype("float64")
    error = np.sqrt(np.diagonal(covariance) / n)
    assert np.all(np.abs(draws.mean(0) - mean) <= 5 * error)
    centred = draws - mean
    products = centred[:, :, None] * centred[:, None, :]
    error = products.std(0) / np.sqrt(n)
    assert np.all(np.abs(products.mean(0) - covariance) <= 5 * error + 1e-12)


def assert_close_to_mean(draws: np.ndarray, expected: np.ndarray, errors: float = 4) -> None:
    """The mean over the first axis is `expected` within so many standard errors of it."""
    draws = np.asarray(draws, "float64")
    error = draws.std(0, ddof=1) / np.sqrt(len(draws))
    np.testing.assert_array_less(np.abs(draws.mean(0) - expected), errors * error + 1e-12)


def assert_finite(*tensors: object) -> None:
    """No value is NaN or infinite, and there are values."""
    assert tensors
    for tensor in tensors:
        assert np.all(np.isfinite(np.asarray(tensor))), tensor


def round_trip(part: object) -> object:
    """The part as it is after being saved and loaded, by way of JSON as in a `.keras` file."""
    import json

    config = json.loads(json.dumps(keras.saving.serialize_keras_object(part)))
    return keras.saving.deserialize_keras_object(config)
