"""From the raw values of rows to their keys, their seeds and the inputs of the signature."""

import math
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from batch_parts import Bad, BadRow, Job, RawRow, Tensor

__all__ = ["Sorted", "in_batches", "inputs_of", "seed_of", "settle"]

Batch = dict[str, np.ndarray]  # values by name, rows first
Sorted = tuple[list[str], Batch, list[Bad]]  # the good keys, their values, the bad rows


def in_batches(keys: Sequence[str], size: int, call: Callable[[slice], Batch]) -> Sorted:
    """The values that `call` gives for the rows of a slice, of all rows but the bad ones.

    It is called for `size` rows at a time. If it raises BadRow it is called again for each half,
    down to the rows that are bad by themselves: one bad row does not take its batch with it.
    """
    starts = range(0, len(keys), size)
    parts = [part for i in starts for part in _halved(i, min(i + size, len(keys)), call)]
    good = [(rows, values) for rows, values in parts if not isinstance(values, BadRow)]
    bad = [
        Bad(key=keys[rows.start], reason=error.reason, detail=error.detail)
        for rows, error in parts
        if isinstance(error, BadRow)
    ]
    names = good[0][1] if good else {}
    values = {name: np.concatenate([part[name] for _, part in good]) for name in names}
    return [key for rows, _ in good for key in keys[rows]], values, bad


def _halved(
    begin: int, end: int, call: Callable[[slice], Batch]
) -> Iterator[tuple[slice, Batch | BadRow]]:
    try:
        yield slice(begin, end), call(slice(begin, end))
    except BadRow as bad:
        if end - begin == 1:
            yield slice(begin, end), bad
        else:
            middle = (begin + end) // 2
            yield from _halved(begin, middle, call)
            yield from _halved(middle, end, call)


def inputs_of(raw: Sequence[RawRow], places: Sequence[str], job: Job) -> Sorted:
    """The rows as the signature takes them. `places` stand in for the keys of those without."""
    keys = [_key(row, place, job) for row, place in zip(raw, places, strict=True)]

    def settled(rows: slice) -> Batch:
        whole = [_whole(row, job) for row in raw[rows]]
        seeds = [{"seed": seed_of(key, job.seed)} for key in keys[rows]]
        values = [row | seed for row, seed in zip(whole, seeds, strict=True)]
        return {t.name: settle([row.get(t.name) for row in values], t) for t in job.inputs}

    return in_batches(keys, job.batch_size, settled)


def seed_of(key: str, seed: int) -> int:
    """The seed of a row: 63 bits of BLAKE2b of `"{seed}:{key}"`, the same everywhere and always."""
    digest = blake2b(f"{seed}:{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def settle(values: Sequence[Any], tensor: Tensor) -> np.ndarray:
    """An input of some rows, `[B, *shape]`, in its dtype; BadRow if one does not fit."""
    if any(value is None for value in values):
        raise BadRow("missing_input", f"{tensor.name} is absent")
    arrays = [_numbers(value, tensor) for value in values]
    if any(array.dtype.kind not in "biuf" for array in arrays):
        raise BadRow("wrong_type", f"{tensor.name} holds {arrays[0].dtype}, not numbers")
    shape = arrays[0].shape
    flat = len(shape) <= 1 and arrays[0].size == math.prod(tensor.shape)
    if any(array.shape != shape for array in arrays) or not (flat or shape == tensor.shape):
        raise BadRow("wrong_shape", f"{tensor.name} is {shape}, not {tensor.shape}")
    return _cast(np.stack(arrays).reshape(-1, *tensor.shape), tensor)


def _cast(array: np.ndarray, tensor: Tensor) -> np.ndarray:
    integral = tensor.dtype.kind in "iu"
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit is refused below
        cast = array.astype(tensor.dtype, copy=False)
    # Of x the model says what it takes: for one NaN is a value that is missing, for another an
    # error.
    if tensor.name != "x" and not np.isfinite(array if integral else cast).all():
        raise BadRow("not_finite", f"{tensor.name} has NaN or infinity")
    if integral and (cast != array).any():
        raise BadRow("wrong_type", f"{tensor.name} has values that {tensor.dtype} cannot hold")
    return cast


def _numbers(value: Any, tensor: Tensor) -> np.ndarray:
    if isinstance(value, np.ndarray | np.generic | int | float):
        return np.asarray(value)
    if not isinstance(value, bytes):
        return np.empty((), object)  # text, several values of bytes, a struct: no numbers
    bytewise = len(value) == math.prod(tensor.shape)
    dtype = np.dtype(np.uint8) if bytewise else tensor.dtype.newbyteorder("<")
    if len(value) % dtype.itemsize:
        raise BadRow("wrong_shape", f"{tensor.name} has {len(value)} bytes, not {tensor.shape}")
    return np.frombuffer(value, dtype)


def _key(row: RawRow, place: str, job: Job) -> str:
    if job.key is None or isinstance(row, BadRow) or row.get(job.key) is None:
        return place
    value = row[job.key]
    single = (
        value.item() if isinstance(value, np.ndarray | np.generic) and value.size == 1 else value
    )
    return single.decode("utf-8", "backslashreplace") if isinstance(single, bytes) else str(single)


def _whole(row: RawRow, job: Job) -> dict[str, Any]:
    if isinstance(row, BadRow):
        raise row
    if job.key is not None and row.get(job.key) is None:
        raise BadRow("missing_input", f"the key {job.key} is absent")
    return row
