"""What sets of samples are compared by: features, a row for each example."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_vae.data.source import Source, as_source
from keras_vae.evaluation.rows import held_still

Features = Callable[[np.ndarray], Any] | None


def features_of(
    x: Any, features: Features = None, batch_size: int = 500, argument: str = "x"
) -> np.ndarray:
    """The features of each x, `[N, F]`, in double precision.

    Args:
        x: `[N, *E]`, or a source. Bits that are drawn at each visit are drawn once.
        features: any function x `[B, *E]` -> `[B, F]`; or a Keras model, which is called as in
            inference; or None for the values themselves, flattened. What a network expects of
            its input, such as three channels in [-1, 1], is the function's to see to:
            `lambda x: network(2 * np.repeat(x, 3, -1) - 1)`.
        batch_size: how many x are computed at once.
        argument: what x is called, for the message.

    Raises:
        ValueError: if x is no array of numbers, or the features are not finite and `[B, F]`.
    """
    source = _as_rows(x, argument)
    compute = _flattened if features is None else _called(features)
    dtype = "float64" if features is None else None  # a network has its own
    parts = [
        _checked(compute(source[start : start + batch_size].array(dtype=dtype)), argument)
        for start in range(0, len(source), batch_size)
    ]
    return np.concatenate(parts)


def pair_of_features(
    real: Any, generated: Any, features: Features = None, batch_size: int = 500
) -> tuple[np.ndarray, np.ndarray]:
    """The features of both sets, `[N, F]` and `[M, F]`: see `features_of`.

    Raises:
        ValueError: as `features_of`, or if the two sets differ in F.
    """
    first = features_of(real, features, batch_size, "real")
    second = features_of(generated, features, batch_size, "generated")
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            "`generated` does not have the features of `real`. Expected: "
            f"{first.shape[1]} for each example. Received: {second.shape[1]}. Give both as x "
            "of one event shape."
        )
    return first, second


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
    values = np.asarray(found)
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
    return values.astype("float64")
