"""A REST body to arrays, and arrays to a REST answer: by rows (`instances`) or columns (`inputs`).

The rules and the texts are those of TensorFlow Serving's `json_tensor.cc`, with one difference:
a column that the signature does not have is refused there by gRPC only, and here by REST too.
"""

import json
import reprlib
from collections.abc import Mapping
from itertools import chain
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from local_version import Refusal, check_count, dtype_name

_NAMES = {type(None): "Null", bool: "Bool", dict: "Object", list: "Array", str: "String"}
_MOST_LEVELS = 32  # of lists within lists; NumPy has no arrays beyond


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`. NaN, Infinity and -Infinity are numbers.

    Raises:
        Refusal: INVALID_ARGUMENT if it is not JSON, or not an object.
    """
    if not body:
        raise _invalid("JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
    except RecursionError as error:
        raise _invalid("JSON Parse error: too many levels of brackets") from error
    except ValueError as error:
        raise _invalid(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise _invalid(f"JSON Value: {_text(document)} Is not object")
    return document


def signature_name(document: Mapping[str, Any]) -> str:
    """The signature that the request names; empty for the default one."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise _invalid(
            f"JSON Value: {_text(document)} not formatted correctly. 'signature_name' key must be "
            "a string value."
        )
    return name


def by_rows(document: Mapping[str, Any]) -> bool:
    """Whether the request comes by rows; its answer then does, too.

    Raises:
        Refusal: INVALID_ARGUMENT if it has both `instances` and `inputs`, or neither.
    """
    if "instances" in document and "inputs" in document:
        raise _invalid("Not formatted correctly expecting only one of 'inputs' or 'instances' keys")
    if "instances" not in document and "inputs" not in document:
        raise _invalid("Missing 'inputs' or 'instances' key")
    return "instances" in document


def arrays(
    document: Mapping[str, Any], specs: Mapping[str, tf.TensorSpec]
) -> dict[str, np.ndarray]:
    """The inputs of a request, each an array of the dtype that the signature gives it.

    Args:
        document: the body: `instances` or `inputs`.
        specs: the signature's inputs.

    Raises:
        Refusal: INVALID_ARGUMENT for ragged lists, for values of another type, and for names that
            are missing or unknown.
    """
    columns = (
        _columns_of_rows(document["instances"], specs)
        if by_rows(document)
        else _columns(document["inputs"], specs)
    )
    return {name: _array(values, specs[name].dtype) for name, values in columns.items()}


def answer(outputs: Mapping[str, np.ndarray], rows: bool) -> bytes:
    """The body of the answer, in the form of the request. A single output goes without its name."""
    if rows:
        _check_batch(outputs)
    columns = {name: _numbers(array) for name, array in outputs.items()}
    single = next(iter(columns.values())) if len(columns) == 1 else None
    if not rows:
        return _dump({"outputs": single if single is not None else columns})
    if single is not None:
        return _dump({"predictions": single})
    lines = zip(*columns.values(), strict=True)
    return _dump({"predictions": [dict(zip(columns, line, strict=True)) for line in lines]})


def _columns(inputs: Any, specs: Mapping[str, tf.TensorSpec]) -> dict[str, Any]:
    if not isinstance(inputs, dict):
        return {_only_name("inputs is a plain value/list, but expecting an object", specs): inputs}
    for name in specs:
        if name not in inputs:
            raise _invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: values for name, values in inputs.items() if _known(name, specs)}


def _columns_of_rows(instances: Any, specs: Mapping[str, tf.TensorSpec]) -> dict[str, list[Any]]:
    if not isinstance(instances, list):
        raise _invalid(f"JSON Value: {_text(instances)} Expecting 'instances' to be an list/array")
    if not instances:
        raise _invalid("No values in 'instances' array")
    named = isinstance(instances[0], dict)
    if not named:
        text = "instances is a plain list, but expecting list of objects"
        return {_only_name(text, specs): _plain_rows(instances)}
    for index, row in enumerate(instances):
        _check_row(index, row, specs)
    return {name: [row[name] for row in instances] for name in specs}


def _plain_rows(instances: list[Any]) -> list[Any]:
    for index, row in enumerate(instances):
        if isinstance(row, dict):
            raise _invalid(f"Expecting value/list but got object at item {index} of input list")
    return instances


def _check_row(index: int, row: Any, specs: Mapping[str, tf.TensorSpec]) -> None:
    if not isinstance(row, dict):
        raise _invalid(f"Expecting object but got list at item {index} of input list")
    for name in row:
        _known(name, specs)
    if len(row) != len(specs):
        raise _invalid(
            f"Failed to process element: {index} of 'instances' list. JSON object: {_text(row)} "
            f"keys must be equal to: {','.join(sorted(specs))}"
        )


def _known(name: str, specs: Mapping[str, tf.TensorSpec]) -> bool:
    if name not in specs:
        raise _invalid(
            f"JSON object: does not have named input: {name} "
            f"(the signature has {','.join(sorted(specs))})"
        )
    return True


def _only_name(text: str, specs: Mapping[str, tf.TensorSpec]) -> str:
    if len(specs) != 1:
        raise _invalid(f"{text} as multiple input tensors required as per tensorinfo_map")
    return next(iter(specs))


def _array(values: Any, dtype: tf.DType) -> np.ndarray:
    """Nested lists as an array: the first element of each level says how long its lists are."""
    if isinstance(values, list):
        check_count(len(values))  # before the work of reading them
    shape: list[int] = []
    level = [values]
    while isinstance(level[0], list):
        if len(shape) == _MOST_LEVELS:
            raise _invalid(f"Encountered list at unexpected level: {len(shape)}")
        _check_lists(level, len(level[0]), len(shape))
        shape.append(len(level[0]))
        level = list(chain.from_iterable(level))
        if not level:
            return np.zeros(shape, dtype.as_numpy_dtype)
    if any(isinstance(value, list) for value in level):
        raise _invalid(f"Encountered list at unexpected level: {len(shape)}: the lists are ragged")
    return _vector(level, dtype).reshape(shape)


def _check_lists(level: list[Any], size: int, depth: int) -> None:
    for value in level:
        if not isinstance(value, list):
            raise _invalid(
                f"JSON Value: {_text(value)} found at incorrect level: {depth + 1} in the JSON "
                "DOM. The lists are ragged: others go deeper here."
            )
        if len(value) != size:
            raise _invalid(
                f"Encountered list at unexpected size: {len(value)} at level: {depth} "
                f"expected size: {size}"
            )


def _vector(values: list[Any], dtype: tf.DType) -> np.ndarray:
    if dtype.is_bool:
        _check_types(values, {bool}, dtype)
    elif dtype.is_integer:
        _check_types(values, {int}, dtype)
        _check_range(values, dtype)
    elif dtype.is_floating:
        _check_types(values, {int, float}, dtype)
        _check_lossless(values, dtype)
    else:
        text = f"Conversion of JSON Value: {_text(values[0])} to type: {dtype_name(dtype)}"
        raise Refusal(grpc.StatusCode.UNIMPLEMENTED, text)
    return np.array(values, dtype.as_numpy_dtype)


def _check_types(values: list[Any], allowed: set[type], dtype: tf.DType) -> None:
    if set(map(type, values)) <= allowed:  # a million values in a few milliseconds
        return
    raise _wrong_type(next(value for value in values if type(value) not in allowed), dtype)


def _check_range(values: list[int], dtype: tf.DType) -> None:
    for value in (min(values), max(values)):
        if not dtype.min <= value <= dtype.max:
            raise _wrong_type(value, dtype)


def _check_lossless(values: list[Any], dtype: tf.DType) -> None:
    """Refuse whole numbers that a float would round, and numbers that it would make infinite."""
    largest_whole = 2**53 - 1 if dtype == tf.float64 else 2**24 - 1
    try:
        doubles = np.abs(np.array(values, np.float64))
    except OverflowError:
        raise _lossy(next(v for v in values if abs(v) > largest_whole), dtype) from None
    for index in np.flatnonzero(doubles > largest_whole):
        finite = np.isfinite(doubles[index])
        if isinstance(values[index], int) or (finite and doubles[index] > dtype.max):
            raise _lossy(values[index], dtype)


def _lossy(value: float, dtype: tf.DType) -> Refusal:
    name = dtype_name(dtype)
    return _invalid(
        f"Cannot convert JSON value: {_text(value)} to {name} without loss of precision."
    )


def _wrong_type(value: Any, dtype: tf.DType) -> Refusal:
    kind = _NAMES.get(type(value), "Number")
    return _invalid(
        f"JSON Value: {_text(value)} Type: {kind} is not of expected type: {dtype_name(dtype)}"
    )


def _check_batch(outputs: Mapping[str, np.ndarray]) -> None:
    sizes = {name: array.shape[0] if array.ndim else None for name, array in outputs.items()}
    if None in sizes.values() or len(set(sizes.values())) != 1:
        raise _invalid(f"the outputs have no batch size in common, ask by columns: {sizes}")


def _numbers(array: np.ndarray) -> Any:
    # Each float32 is written as the float64 that equals it, so that it arrives bit for bit.
    whole = array.dtype.kind in "biu"
    return (array if whole else array.astype(np.float64)).tolist()


def _dump(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _text(value: Any) -> str:
    return (
        reprlib.repr(value)
        if isinstance(value, list | dict)
        else reprlib.repr(json.dumps(value))[1:-1]
    )


def _invalid(text: str) -> Refusal:
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, text)
