"""Checks of arguments that several parts share."""

import math
import numbers
from typing import Any, TypeGuard

import numpy as np


def positive_integer(value: object, argument: str, owner: object, meaning: str) -> int:
    """`value` as an int, if it is a positive integer, Python's or NumPy's.

    Raises:
        ValueError: naming the argument, what was expected and what was received.
    """
    if not is_integer(value) or int(value) < 1:
        raise ValueError(
            f"`{argument}` of {type(owner).__name__} is {meaning}, a positive integer. "
            f"Received: {argument}={value!r}."
        )
    return int(value)


def positive_integers(values: object, argument: str, owner: str) -> list[int]:
    """`values` as a list, if it is a sequence of positive integers.

    Raises:
        ValueError: naming the argument, what was expected and what was received.
    """
    items: list[Any] = list(values) if isinstance(values, list | tuple) else [None]
    if not all(isinstance(item, numbers.Integral) and int(item) > 0 for item in items):
        raise ValueError(
            f"`{argument}` of {owner} has a positive integer for each layer. Expected: a list "
            f"such as [400] or [32, 64]. Received: {values!r}."
        )
    return [int(item) for item in items]


def event_shape_of(shape: object, owner: str) -> tuple[int, ...]:
    """`shape` as a tuple of ints.

    Raises:
        ValueError: if it is no tuple of positive integers.
    """
    axes = tuple(shape) if isinstance(shape, tuple | list) else (None,)
    if not all(map(is_integer, axes)) or min(axes, default=1) < 1:
        raise ValueError(
            f"`event_shape` of {owner} is the shape of one x, a tuple of positive integers "
            f"such as (28, 28, 1) or (784,). Received: {shape!r}."
        )
    return tuple(int(axis) for axis in axes)


def is_integer(value: object) -> TypeGuard[int]:
    """Whether `value` is an integer, Python's or NumPy's, and no boolean."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_real(value: object) -> bool:
    """Whether `value` is a finite real number, Python's or NumPy's."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def integer_seed(seed: object) -> int:
    """`seed` as an int.

    Raises:
        ValueError: if it is no integer of 64 bits.
    """
    if not is_integer(seed) or not -(2**63) <= int(seed) < 2**63:
        raise ValueError(
            "`seed` is of the draws. Expected: an integer from -2^63 to 2^63 - 1. Received: "
            f"{seed!r}."
        )
    return int(seed)


def floats(values: object, argument: str, expected: str) -> np.ndarray:
    """`values` in double precision.

    Raises:
        ValueError: naming the argument, if they are no array of numbers.
    """
    try:
        return np.asarray(values, "float64")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{argument}` is no array of numbers. Expected: {expected}. Received: "
            f"{type(values).__name__}: {error}."
        ) from error


def generator(seed: object) -> np.random.Generator:
    """NumPy's generator of a seed, which may be negative."""
    return np.random.default_rng(integer_seed(seed) % 2**64)


def require_same(attribute: str, **parts: object) -> None:
    """Raises a ValueError if an attribute is not the same in all parts of a model."""
    found = {argument: getattr(part, attribute) for argument, part in parts.items()}
    if len(set(found.values())) > 1:
        received = ", ".join(f"{argument}.{attribute}={v}" for argument, v in found.items())
        raise ValueError(
            f"The distributions of a VAE must agree. Expected: one {attribute} in "
            f"{', '.join(parts)}. Received: {received}."
        )


def require_parts(**parts: tuple[object, type]) -> None:
    """Raises a TypeError for the first part that is not of its kind."""
    for argument, (value, kind) in parts.items():
        if not isinstance(value, kind):
            hint = f" Did you mean {value.__name__}(...)?" if isinstance(value, type) else ""
            raise TypeError(
                f"`{argument}` of VAE is not of its kind. Expected: a "
                f"{kind.__module__.split('.')[0]} {kind.__name__}. Received: {value!r}.{hint}"
            )
