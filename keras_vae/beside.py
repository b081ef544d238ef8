"""What goes with x: a condition, a size factor. Named and checked."""

from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae.conditions import Condition
from keras_vae.likelihoods import Likelihood

NAMES = ("condition", "size_factor")


def named(y: Any, argument: str = "x") -> dict[str, Any]:
    """`y` of `fit(x, y)` by name: a dict is taken as it is, anything else is the condition.

    Raises:
        ValueError: if a name is not one of those that go with x.
    """
    if y is None:
        return {}
    if not isinstance(y, dict):
        return {"condition": y}
    unknown = [name for name in y if name not in NAMES]
    if unknown:
        raise ValueError(
            f"What goes with `{argument}` has names. Expected: {' and '.join(map(repr, NAMES))}. "
            f"Received: {unknown[0]!r}."
        )
    return {name: value for name, value in y.items() if value is not None}


class Beside:
    """Checks what goes with x against what the model takes.

    Args:
        likelihood: which may take a size factor.
        condition: of the model, or None.
    """

    def __init__(self, likelihood: Likelihood, condition: Condition | None) -> None:
        self.likelihood = likelihood
        self.condition = condition

    def __call__(
        self,
        values: dict[str, Any],
        rows: int | None,
        argument: str = "x",
        optional: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """The values as arrays, checked.

        Args:
            values: by name, one for each row.
            rows: how many, or None if that is not known.
            argument: what they go with, for the message.
            optional: names of what may be missing here.
        """
        self.require_names(values, argument, optional)
        return {name: self._checked(name, v, rows, argument) for name, v in values.items()}

    def repeated(self, values: dict[str, Any], rows: int | None) -> dict[str, Any]:
        """The values as arrays, one for each row where there was one for all."""
        return {name: self._repeated(name, value, rows) for name, value in values.items()}

    def require_names(
        self, values: dict[str, Any], argument: str = "x", optional: tuple[str, ...] = ()
    ) -> None:
        """Raises a ValueError if something is there that the model does not take, or is missing."""
        if "condition" in values and self.condition is None:
            refuse_target(values["condition"], argument)
        if "size_factor" in values and not self.likelihood.takes_size_factor:
            raise ValueError(
                f"`size_factor` has no meaning for {type(self.likelihood).__name__} as it is. "
                "Expected: none. Received: values. Pass size_factor=True to a likelihood of counts."
            )
        there = {*values, *optional}
        condition = self.condition
        if condition is not None and not condition.optional and "condition" not in there:
            raise ValueError(condition.missing())
        if self.likelihood.takes_size_factor and "size_factor" not in there:
            raise ValueError(
                f"{type(self.likelihood).__name__} takes a size factor for each x. Expected: "
                'fit(x, {"size_factor": s}), or keras_vae.data.Source(x, size_factor=s). '
                "Received: none."
            )

    def contains(self, values: dict[str, tf.Tensor]) -> tf.Tensor:
        """Whether all values are what the model takes: a scalar, cheap in a graph."""
        legal = tf.constant(True)
        if "condition" in values and self.condition is not None:
            legal &= self.condition.contains(values["condition"])
        if "size_factor" in values:
            factor = values["size_factor"]
            legal &= tf.reduce_all((factor > 0) & (factor < factor.dtype.max))
        return legal

    def _repeated(self, name: str, value: Any, rows: int | None) -> Any:
        if tf.is_symbolic_tensor(value):
            return value
        value = np.asarray(value)
        if value.ndim == 0 or value.shape == self._shape_of_one(name):
            value = value[None]
        return value if rows is None or len(value) != 1 else np.repeat(value, rows, axis=0)

    def _shape_of_one(self, name: str) -> tuple[int, ...]:
        if name != "condition" or self.condition is None:
            return ()
        return (self.condition.size,) * self.condition.value_axes

    def _checked(self, name: str, value: Any, rows: int | None, argument: str) -> Any:
        if tf.is_symbolic_tensor(value):
            return value
        value = np.asarray(value)
        owner = name if argument in ("x", "z") else f"{name} of {argument}"
        if rows is not None and value.shape[:1] != (rows,):
            raise ValueError(
                f"`{owner}` does not go with {argument}. Expected: {rows} rows, one for each row of "
                f"{argument}. Received: shape {list(value.shape)}. Give it one value for each row."
            )
        if name == "condition" and self.condition is not None:
            self.condition.check(value, owner)
        if name == "size_factor":
            _check_size_factor(value, owner)
        return value


def _check_size_factor(value: np.ndarray, argument: str) -> None:
    numeric = value.dtype.kind in "fiu"
    if value.ndim != 1 or not numeric or not ((value > 0) & (value < np.inf)).all():
        values = f", values from {value.min()} to {value.max()}" if numeric and value.size else ""
        raise ValueError(
            f"`{argument}` is one finite number > 0 for each x. Expected: shape [B]. Received: "
            f"dtype {value.dtype}, shape {list(value.shape)}{values}. A usual choice is the sum "
            "of the counts of x over the mean of these sums; remove rows without counts."
        )


def refuse_target(y: object, argument: str = "x") -> None:
    """Raises a ValueError if there is a target: the model is of x alone."""
    if y is not None:
        raise ValueError(
            f"A VAE has no target: it models `{argument}` alone. Expected: y=None. Received: y of "
            f"type {type(y).__name__}. Drop it (of a dataset: ds.map(lambda x, y: x)); "
            "weights go with sample_weight, or as (x, None, sample_weight). To condition on it, "
            "pass a condition to VAE, such as keras_vae.conditions.OneHot(10)."
        )
