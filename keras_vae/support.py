"""The set of values that a density is defined on, and what to say of a value outside it.

A density does not complain by itself: `tfd.Bernoulli.log_prob(0.3)` returns a number. So
each likelihood names its support, and data is compared with it before the first step.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import keras
import numpy as np

Array: TypeAlias = Any  # a NumPy array, or a tensor in a graph


@dataclasses.dataclass(frozen=True)
class Support:
    """A set of real values.

    Attributes:
        name: the set, as a reader would write it.
        contains: elementwise membership, for NumPy arrays and for tensors in a graph.
        discrete: whether its values are integers, which bytes may stand for.
        remedy: from an array with a value outside to what its owner should do.
        inside: some value of the set, to stand where there is none; one for each value of the
            last axis where those have sets of their own.
        contiguous: whether it has all integers between any two of its own: of an array of
            integers the least and the greatest then speak for all.
    """

    name: str
    contains: Callable[[Array], Array]
    discrete: bool
    remedy: Callable[[np.ndarray], str]
    inside: float | tuple[float, ...] = 0.0
    contiguous: bool = False


def _finite_remedy(x: np.ndarray) -> str:
    if np.isnan(x).any():
        return (
            "Remove or impute the missing values, or wrap the likelihood in likelihoods.Missing: "
            "this one has no notion of them."
        )
    return "Remove the infinite values, or clip them where that is what they mean."


def _binary_remedy(x: np.ndarray) -> str:
    finite = x[np.isfinite(x)]
    if finite.size < x.size:
        return _finite_remedy(x)
    if finite.min() >= 0 and finite.max() > 1 and (finite == finite.round()).all():
        return (
            "These look like grey values of 0 to 255: divide by 255 and binarise "
            "(keras_vae.data.binarise), or use likelihoods.Normal on values scaled to [0, 1]."
        )
    return (
        "Binarise the data (keras_vae.data.binarise, or x > 0.5), or use "
        "likelihoods.Normal for values that are not 0 or 1."
    )


def _unit_remedy(x: np.ndarray) -> str:
    finite = x[np.isfinite(x)]
    if finite.size < x.size:
        return _finite_remedy(x)
    if finite.min() >= 0 and finite.max() > 1:
        return "If these are grey values of 0 to 255, divide by 255."
    if finite.min() >= 0:
        return (
            "0 and 1 have no density here: move the values inside, (255 * x + 0.5) / 256, or "
            "use likelihoods.ContinuousBernoulli, which takes both ends."
        )
    return "Scale the values, or use a likelihood on the real numbers."


def _count_remedy(x: np.ndarray) -> str:
    finite = x[np.isfinite(x)]
    if finite.size < x.size:
        return _finite_remedy(x)
    return "Counts are whole numbers >= 0: do not scale, centre or take logarithms of them."


def _byte_remedy(x: np.ndarray) -> str:
    finite = x[np.isfinite(x)]
    if finite.size < x.size:
        return _finite_remedy(x)
    if finite.min() >= 0 and finite.max() <= 1:
        return "Give the bytes as they are, 0 to 255: do not divide them."
    return "Values of 8 bits are whole numbers from 0 to 255."


def _index_remedy(x: np.ndarray) -> str:
    finite = x[np.isfinite(x)]
    if finite.size < x.size:
        return _finite_remedy(x)
    if finite.min() == 1 and (finite == finite.round()).all():
        return "If the first category is 1, subtract 1: they count from 0."
    return "Number the categories from 0, and tell the likelihood how many there are."


def _one_hot_remedy(x: np.ndarray) -> str:
    finite = x[np.isfinite(x)]
    if finite.size < x.size:
        return _finite_remedy(x)
    return (
        "Each vector along the last axis has one 1 and else 0. For indices use "
        "likelihoods.Categorical, for counts likelihoods.Multinomial."
    )


def _in_one_hot_vector(x: Array) -> Array:
    """False for a value that is not 0 or 1, and for all of a vector of 0 and 1 without one 1."""
    binary = (x == 0) | (x == 1)
    ones = keras.ops.sum(keras.ops.cast(x == 1, "int32"), axis=-1, keepdims=True)
    return binary & ((ones == 1) | ~keras.ops.all(binary, axis=-1, keepdims=True))


# Operators and keras.ops alone, which serve NumPy and TensorFlow alike; no comparison with
# NaN is true.
REAL = Support("the real numbers", lambda x: abs(x) < math.inf, False, _finite_remedy)
BINARY = Support("{0, 1}", lambda x: (x == 0) | (x == 1), True, _binary_remedy, contiguous=True)
UNIT = Support("(0, 1)", lambda x: (x > 0) & (x < 1), False, _unit_remedy, inside=0.5)
CLOSED_UNIT = Support("[0, 1]", lambda x: (x >= 0) & (x <= 1), False, _unit_remedy, inside=0.5)
COUNTS = Support(
    "{0, 1, 2, ...}",
    lambda x: (x >= 0) & (x < math.inf) & (x == keras.ops.floor(x)),
    True,
    _count_remedy,
    contiguous=True,
)
BYTES = Support(
    "{0, 1, ..., 255}",
    lambda x: (x >= 0) & (x <= 255) & (x == keras.ops.floor(x)),
    True,
    _byte_remedy,
    contiguous=True,
)
ONE_HOT = Support("one-hot vectors along the last axis", _in_one_hot_vector, True, _one_hot_remedy)


def category_indices(count: int) -> Support:
    """The whole numbers from 0 to `count - 1`."""
    middle = {2: "", 3: "1, "}.get(count, "1, ..., ")
    return Support(
        f"{{0, {middle}{count - 1}}}",
        lambda x: (x >= 0) & (x < count) & (x == keras.ops.floor(x)),
        True,
        _index_remedy,
        contiguous=True,
    )
