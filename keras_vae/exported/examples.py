"""Requests of a few rows for each signature, and the Python model's answers to them."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_vae.exported.signatures import Signatures
from keras_vae.feed import as_sample, check_source
from keras_vae.vae import VAE

ROWS = 3

Arrays = dict[str, np.ndarray]


class Case(NamedTuple):
    """A request and its answer."""

    inputs: Arrays
    outputs: Arrays


def cases(served: Signatures, names: tuple[str, ...], examples: Any, seed: int) -> dict[str, Case]:
    """One of each signature.

    Raises:
        ValueError: if the model cannot answer one of them.
    """
    values = _values(served, examples, seed)
    return {name: _case(served, name, values) for name in names}


def _case(served: Signatures, name: str, values: Arrays) -> Case:
    inputs = {
        key: values[key].astype(spec.dtype.as_numpy_dtype)
        for key, spec in served.inputs(name).items()
    }
    answer = served.function(name)
    if _rounds(served.vae):
        answer = tf.function(answer, autograph=False)
    try:
        outputs = answer(*map(tf.constant, inputs.values()))
    except (NotImplementedError, tf.errors.InvalidArgumentError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()  # TensorFlow puts a traceback before
        raise ValueError(
            f"`{name}` cannot be served: {reason} Export the others: signatures=(...)."
        ) from error
    return Case(inputs, {key: value.numpy() for key, value in outputs.items()})


def _rounds(vae: VAE) -> bool:
    """Whether a layer computes in fewer bits than float32.

    A graph fuses its operations and rounds once where one by one they round each time: the
    answers are then those of the model as a graph, as `fit` and `predict` run it.
    """
    policies = {layer.dtype_policy.name for layer in vae._flatten_layers()}
    return not policies <= {"float32", "float64"}


def _values(served: Signatures, examples: Any, seed: int) -> Arrays:
    """Some rows of every input there is, under their names."""
    vae = served.vae
    if examples is None:
        x, beside = drawn(vae, ROWS, seed)
    else:
        source = as_sample(vae.likelihood, examples)[:ROWS]
        check_source(vae.likelihood, source, "examples")
        x, beside = source.array(), {**_beside(vae, len(source)), **source.beside()}
        vae.beside(beside, len(x), "examples")
    z = vae.encode(x, beside.get("condition")).sample(seed=[seed, 0])
    return {
        "x": x if served.divisor is None else _bytes(x * served.divisor, examples is not None),
        "z": np.asarray(z),
        "seed": np.arange(seed, seed + len(x)),
        **beside,
    }


def _bytes(x: np.ndarray, given: bool) -> np.ndarray:
    """x as bytes; what the user gave must be bytes, what the model drew is cut to them."""
    whole = np.clip(np.rint(x), 0, 255)
    if given and np.abs(whole - x).max() > 0.01:
        raise ValueError(
            "`divisor` is of x that is bytes. Expected: examples that are bytes once they are "
            f"multiplied by it. Received: values from {x.min():g} to {x.max():g} after that. Leave "
            "it out for x that is numbers."
        )
    return whole


def drawn(vae: VAE, rows: int, seed: int) -> tuple[np.ndarray, Arrays]:
    """Draws of x from the model, and what goes with them.

    Any values that have a density, where rounding makes a draw one that has none.
    """
    beside = _beside(vae, rows)
    x = vae.likelihood.as_source(vae.sample(rows, draw=True, seed=seed, **beside)).array()
    if bool(vae.likelihood.contains(x)):
        return x, beside
    return np.broadcast_to(np.asarray(vae.likelihood.support.inside, x.dtype), x.shape), beside


def _beside(vae: VAE, rows: int) -> Arrays:
    found = {}
    if vae.condition is not None:
        shape = (rows, vae.condition.size) if vae.condition.value_axes else (rows,)
        found["condition"] = np.zeros(shape, "float32" if vae.condition.value_axes else "int64")
    if vae.likelihood.takes_size_factor:
        found["size_factor"] = np.ones(rows, "float32")
    return found
