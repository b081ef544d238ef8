"""What is sent is checked first, against the model's own metadata: the error then names the remedy.

Imports NumPy and the standard library alone.
"""

import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np
from client_parts import InvalidInput, Signature, TensorSpec

__all__ = ["as_array", "checked_inputs", "row_seeds"]

LARGEST = np.iinfo(np.int64).max


def checked_inputs(signature: Signature, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The inputs as arrays of the signature's dtypes, each with the same number of rows.

    Floats are cast to the model's float; integers are cast where that changes no value.

    Raises:
        InvalidInput: if a name, shape, dtype or number of rows is not the signature's, or a
            value of another input than x is not finite. Of x the model says what it takes: for
            one NaN is a value that is missing, for another an error.
    """
    _require_names(signature, inputs)
    arrays = {name: _checked(name, inputs[name], spec) for name, spec in signature.inputs.items()}
    rows = {name: len(array) for name, array in arrays.items()}
    if len(set(rows.values())) > 1:
        received = ", ".join(f"{count} of `{name}`" for name, count in rows.items())
        raise InvalidInput(
            f"The inputs of {signature.name} have one row for each example. "
            f"Expected: as many rows of each. Received: {received}."
        )
    return arrays


def as_array(name: str, value: Any) -> np.ndarray:
    """The value as an array of numbers.

    Raises:
        InvalidInput: if it is ragged, or holds text, objects or complex numbers.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:  # NumPy's text on ragged lists names no argument
        raise InvalidInput(
            f"`{name}` is no array. Expected: rows of equal shape. Received: {error}"
        ) from error
    if array.dtype.kind not in "biuf":
        raise InvalidInput(
            f"`{name}` has the wrong dtype. Expected: real numbers. Received: {array.dtype}."
        )
    return array


def row_seeds(seed: Any, rows: int) -> np.ndarray:
    """The seed of each row, int64 `[rows]`.

    Args:
        seed: an integer (row i then has the seed `seed + i`, so that neither the requests nor
            the batch change a draw), an array of one integer for each row, or None for fresh
            random ones.
        rows: their number.
    """
    if seed is None:
        return np.frombuffer(secrets.token_bytes(8 * rows), np.int64) & LARGEST
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        seeds = as_array("seed", seed)  # its dtype is checked with the other inputs
        if seeds.ndim > 0:
            return seeds
        raise InvalidInput(
            "`seed` fixes the draws. Expected: an integer, an array of one integer for each row, "
            f"or None for fresh draws. Received: {seed!r}."
        )
    first = int(seed)
    if not -LARGEST <= first <= LARGEST - rows:
        raise InvalidInput(
            f"`seed` is that of the first row, counted up for the next. Expected: {-LARGEST} to "
            f"{LARGEST - rows}. Received: {first}."
        )
    return first + np.arange(rows, dtype=np.int64)


def _require_names(signature: Signature, inputs: Mapping[str, Any]) -> None:
    missing = sorted(signature.inputs.keys() - inputs.keys())
    extra = sorted(inputs.keys() - signature.inputs.keys())
    if missing or extra:
        what = [f"misses {', '.join(missing)}"] if missing else []
        what += [f"does not take {', '.join(extra)}"] if extra else []
        raise InvalidInput(
            f"The model's signature {signature.name} {' and '.join(what)}. "
            f"Expected: {', '.join(sorted(signature.inputs))}. "
            f"Received: {', '.join(sorted(inputs)) or 'none'}."
        )


def _checked(name: str, value: Any, spec: TensorSpec) -> np.ndarray:
    array = as_array(name, value)
    _require_shape(name, array, spec)
    if len(array) == 0:
        raise InvalidInput(f"`{name}` has no rows. Expected: at least 1.")
    cast = _cast(name, array, spec)
    if name != "x" and cast.dtype.kind == "f" and not np.isfinite(cast).all():
        count = np.count_nonzero(~np.isfinite(cast))
        raise InvalidInput(
            f"`{name}` holds values that are not finite as {cast.dtype}. "
            f"Expected: numbers. Received: {count} of {cast.size} are NaN or infinite."
        )
    return np.ascontiguousarray(cast)


def _require_shape(name: str, array: np.ndarray, spec: TensorSpec) -> None:
    if _fits(array.shape, spec.shape):
        return
    expected = ", ".join("B" if size is None else str(size) for size in spec.shape)
    raise InvalidInput(
        f"`{name}` has the wrong shape. Expected: ({expected}), B the number of rows. "
        f"Received: {array.shape}.{_remedy(name, array, spec.shape[1:])}"
    )


def _fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(shape) == len(expected) and all(
        size is None or size == received for received, size in zip(shape, expected, strict=True)
    )


def _remedy(name: str, array: np.ndarray, event: tuple[int | None, ...]) -> str:
    """What to do about a wrong shape, where that is plain."""
    if _fits(array.shape, event):
        return f" For a single example, send {name}[None]."
    sizes = [1 if size is None else size for size in event]
    if None not in event and array.ndim > 0 and np.prod(array.shape[1:]) == np.prod(sizes):
        return f" Send {name}.reshape({', '.join(map(str, (-1, *sizes)))})."
    return ""


def _cast(name: str, array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    if spec.dtype is None:
        raise InvalidInput(
            f"`{name}` is no number in this model. Expected: text, which this client cannot send."
        )
    dtype = spec.dtype
    if array.dtype == dtype:
        return array
    if array.dtype.kind == "f" and dtype.kind == "f":
        with np.errstate(over="ignore"):  # what overflows is infinite, which is refused as that
            return array.astype(dtype)
    if array.dtype.kind == "f" or not _same(array, dtype):
        raise InvalidInput(
            f"`{name}` cannot be sent as {dtype} without changing its values. "
            f"Expected: {_described(dtype)}. Received: {array.dtype}, "
            f"values {array.min()} to {array.max()}."
        )
    return array.astype(dtype)


def _same(array: np.ndarray, dtype: np.dtype) -> bool:
    """Whether integers survive the cast."""
    with np.errstate(invalid="ignore"):
        cast = array.astype(dtype)
        back = cast.astype(array.dtype)
    return bool(np.array_equal(back, array) and np.array_equal(cast < 0, array < 0))


def _described(dtype: np.dtype) -> str:
    if dtype.kind not in "iu":
        return str(dtype)
    limits = np.iinfo(dtype)
    return f"integers in [{limits.min}, {limits.max}]"
