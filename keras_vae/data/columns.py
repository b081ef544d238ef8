"""Columns by name, as users hold a table, and rows of numbers, as models take it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def holds_columns(x: object) -> bool:
    """Whether x gives columns by name, as a dict and a pandas DataFrame do."""
    return callable(getattr(x, "keys", None))


def as_rows(
    x: Any, discrete: Mapping[str, bool], dtype: str, classes: Mapping[str, int]
) -> np.ndarray:
    """Columns by name as rows `[N, columns]`, NaN where a value is missing.

    Args:
        x: a dict of 1-D columns or a pandas DataFrame, in any order.
        discrete: the names of the columns in the order of the rows, and whether each has
            integers alone, for which categories may stand.
        dtype: of the rows.
        classes: how many categories those columns have that have a number of them.

    Raises:
        ValueError: if a column is missing, unknown, of another length or no numbers.
    """
    _require_names(list(x.keys()), list(discrete))
    columns = {
        name: _numbers(x[name], name, discrete[name], dtype, classes.get(name)) for name in discrete
    }
    sizes = {name: len(column) for name, column in columns.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(
            "`x` has columns of different lengths. Expected: a value for each row in each of "
            f"them. Received: {', '.join(f'{size} in {name!r}' for name, size in sizes.items())}."
        )
    return np.stack(list(columns.values()), axis=1)


def as_columns(rows: np.ndarray, discrete: Mapping[str, bool]) -> dict[str, np.ndarray]:
    """Rows `[N, columns]` as columns by name; whole numbers of discrete columns as integers."""
    return {
        name: column.astype("int64")
        if discrete[name] and (column == column.round()).all()
        else column
        for name, column in zip(discrete, np.moveaxis(rows, -1, 0), strict=True)
    }


def as_frame(columns: Mapping[str, np.ndarray]) -> Any:
    """Columns as a pandas DataFrame.

    Raises:
        ImportError: if pandas is not installed.
    """
    try:
        import pandas  # of those who use it: the package does not need it
    except ImportError as error:
        raise ImportError(
            "A Table with frame=True gives pandas DataFrames, and pandas is not installed. "
            "Install it, or make the Table with frame=False."
        ) from error
    return pandas.DataFrame(dict(columns))


def _require_names(received: Sequence[object], expected: Sequence[str]) -> None:
    missing = [name for name in expected if name not in received]
    unknown = [name for name in received if name not in expected]
    if missing or unknown:
        raise ValueError(
            "`x` does not have the columns of the Table. Expected: "
            f"{', '.join(map(repr, expected))}. Missing: "
            f"{', '.join(map(repr, missing)) or 'none'}. Unknown: "
            f"{', '.join(map(repr, unknown)) or 'none'}."
        )


def _numbers(column: Any, name: str, discrete: bool, dtype: str, classes: int | None) -> np.ndarray:
    if str(getattr(column, "dtype", "")) == "category" and discrete:
        # A Series of categories has its codes behind `cat`; -1 is pandas' for a missing one.
        categorical = getattr(column, "cat", column)
        known = list(categorical.categories)
        if classes is not None and len(known) != classes:  # codes may mean something else
            raise ValueError(
                f"Column {name!r} of `x` has other categories than the model. Expected: "
                f"{classes}. Received: {len(known)}, {known}. Give the column all of them, in one "
                "order: column.astype(pandas.CategoricalDtype([...]))."
            )
        codes = np.asarray(categorical.codes)
        return np.where(codes < 0, np.nan, codes).astype(dtype)
    if isinstance(column, np.ma.MaskedArray):
        column = np.ma.filled(column.astype(dtype), np.nan)
    values = np.asarray(column)
    if values.ndim != 1:
        raise ValueError(
            f"Column {name!r} of `x` is not a column. Expected: shape [N]. Received: shape "
            f"{list(values.shape)}."
        )
    if values.dtype == object:  # None and pandas.NA among numbers become NaN
        values = _from_objects(column, values)
    if values.dtype.kind not in "fiub" and "float" not in values.dtype.name:
        raise ValueError(
            f"Column {name!r} of `x` is not numeric. Expected: numbers, or a pandas categorical "
            "where the column's likelihood is one of integers. Received: "
            f"{values.flat[0] if values.size else 'nothing'!r} of dtype {values.dtype}. Number "
            "categories from 0, as numpy.unique(column, return_inverse=True)[1] does or "
            'column.astype("category") in pandas, and use likelihoods.Categorical for them.'
        )
    return values.astype(dtype)


def _from_objects(column: Any, values: np.ndarray) -> np.ndarray:
    if any(isinstance(value, str) for value in values):  # "3" is not a number
        return values
    try:
        return np.asarray(column, dtype="float64")
    except (TypeError, ValueError):
        return values
