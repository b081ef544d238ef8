"""What sets of samples are compared by: features, a row for each example."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae.arguments import floats
from keras_vae.data.source import Source, as_source
from keras_vae.evaluation.rows import MEMORY, Rows, held_still, identity_of

Features = Callable[[np.ndarray], Any] | None
ROWS_AT_ONCE = 500  # rows at most: what a function makes on the way is not known


def features_of(
    x: Any,
    features: Features = None,
    memory: int = MEMORY,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> np.ndarray:
    """The features of each x, `[N, F]`, in double precision.

    Args:
        x: `[N, *E]`, or a source. Bits that are drawn at each visit are drawn once.
        features: any function x `[B, *E]` -> `[B, F]`; or a Keras model, which is called as in
            inference; or None for the values themselves, flattened. What a network expects of
            its input, such as three channels in [-1, 1], is the function's to see to:
            `lambda x: network(2 * np.repeat(x, 3, -1) - 1)`.
        memory: bytes that one chunk of rows may take, of 500 rows at most. What is counted is x
            (as it lies, scaled, and as the function is given it) and its features. What the
            function makes on the way is not: pass less memory where that is much.
        progress: whether a bar is shown, on a terminal.
        checkpoint: a file for finished rows, `.npz`: a run that was stopped goes on from it.
            Of a Keras model it knows the weights and the configuration, of any other function
            the qualified name, and what it gives of the first x.

    Raises:
        ValueError: if x is no array of numbers, the features are not finite and `[B, F]`, or
            `checkpoint` is of another run.

    Example: `keras_vae.evaluation.features_of(x_test, network, checkpoint="features.npz")`
    """
    return _features(x, features, Rows(memory, progress, checkpoint), "x")


def pair_of_features(
    real: Any, generated: Any, features: Features, rows: Rows
) -> tuple[np.ndarray, np.ndarray]:
    """The features of both sets, `[N, F]` and `[M, F]`: see `features_of`.

    Of the checkpoint `name.npz` there are two, `name.real.npz` and `name.generated.npz`.

    Raises:
        ValueError: as `features_of`, or if the two sets differ in F.
    """
    first = _features(real, features, rows.part("real"), "real")
    second = _features(generated, features, rows.part("generated"), "generated")
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            "`generated` does not have the features of `real`. Expected: "
            f"{first.shape[1]} for each example. Received: {second.shape[1]}. Give both as x "
            "of one event shape."
        )
    return first, second


def _features(x: Any, features: Features, rows: Rows, argument: str) -> np.ndarray:
    source = _as_rows(x, argument)
    computer = _Computer(features, argument, source[:1])
    identity = functools.partial(computer.identity, source)
    label = f"features of {argument}"
    return rows(computer, source, computer.bytes_of_row, label, identity, ROWS_AT_ONCE)["features"]


class _Computer:
    """The features of some rows, `[n, F]`.

    Args:
        features: what computes them.
        argument: what x is called, for the message.
        one: a row like all others; a network that was not built is, from here.

    Attributes:
        bytes_of_row: of x, as it lies, scaled and as it is given; and of the features, as found
            and kept.
    """

    def __init__(self, features: Features, argument: str, one: Source) -> None:
        self.features, self.argument = features, argument
        self.compute = _flattened if features is None else _called(features)
        self.dtype = "float64" if features is None else None  # a network has its own
        x = one.array(dtype=self.dtype)
        self.first = np.asarray(self.compute(x))
        self.bytes_of_row = 3 * x.nbytes + self.first.nbytes + 8 * self.first.size

    def __call__(self, source: Source, numbers: tf.Tensor) -> dict[str, np.ndarray]:
        found = self.compute(source.array(dtype=self.dtype))
        return {"features": _checked(found, self.argument)}

    def identity(self, source: Source) -> str:
        """A fingerprint of the features and the data."""
        if isinstance(self.features, keras.layers.Layer):
            return identity_of(self.features, source)
        return identity_of(None, source, features=_name(self.features), first=self.first.tobytes())


def _name(features: Features) -> str:
    """Where a function is found; of an object that is called, its class."""
    if features is None:
        return "the values"
    name = getattr(features, "__qualname__", type(features).__qualname__)
    return f"{features.__module__}.{name}"


def _as_rows(x: Any, argument: str) -> Source:
    source = None if isinstance(x, dict) else held_still(as_source(x))
    if source is None or source.values.dtype.kind not in "fiu" or not source.event_shape:
        raise ValueError(
            f"`{argument}` is no rows of numbers. Expected: an array [N, *E] or a source. "
            f"Received: {type(x).__name__}"
            + ("" if source is None else f" of shape {list(source.values.shape)}")
            + ". Of a table take its rows: vae.likelihood.as_source(table)."
        )
    if not len(source):
        raise ValueError(f"`{argument}` holds no examples. Expected: one at least. Received: none.")
    return source


def _flattened(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)


def _called(features: Callable[[np.ndarray], Any]) -> Callable[[np.ndarray], Any]:
    if isinstance(features, keras.layers.Layer):
        return lambda x: features(x, training=False)
    if not callable(features):
        raise ValueError(
            "`features` says what examples are compared by. Expected: a function x -> [B, F], a "
            f"Keras model, or None for the values themselves. Received: {features!r}."
        )
    return features


def _checked(found: Any, argument: str) -> np.ndarray:
    values = floats(found, f"features of {argument}", "[B, F]")
    if values.ndim != 2 or not values.shape[1]:
        raise ValueError(
            f"`features` of `{argument}` has a vector for each example. Expected: [B, F]. "
            f"Received: {list(values.shape)}. Flatten or pool what the network returns."
        )
    if not np.isfinite(values).all():
        raise ValueError(
            f"`features` of `{argument}` is not finite. Expected: numbers. Received: "
            f"{np.sum(~np.isfinite(values))} values that are NaN or infinite."
        )
    return values
