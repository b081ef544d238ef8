"""p(x|z) for tables, whose columns are of different kinds."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.data.columns import as_columns, as_frame, as_rows, holds_columns
from keras_vae.data.source import Source, as_source
from keras_vae.distributions.blocks import Blocks
from keras_vae.distributions.chain import require_precision
from keras_vae.likelihoods.categorical import Categorical
from keras_vae.likelihoods.likelihood import Likelihood
from keras_vae.statement import Statement
from keras_vae.support import Array, Support


@keras.saving.register_keras_serializable(package="keras_vae")
class Table(Likelihood):
    """`log p(x|z) = sum_c log p_c(x_c|z)`, each column c of a kind of its own.

    Columns are independent given z, so their log-densities add up, in nats: no weights
    between numbers and categories are to be chosen. x is a dict of columns or a pandas
    DataFrame, in any order, or an array `[N, columns]` in the order of the table; what the
    model gives back of x is a dict of columns, or a DataFrame. A column of categories holds
    the numbers 0, 1, ..., or is a pandas categorical, whose codes are taken. The encoder is
    given what each column's likelihood gives it, one beside the other: scale columns of large
    numbers before. For missing values, wrap the table: `Missing(Table(...))`.

    Args:
        columns: name -> likelihood, each of `event_shape` (), which is the default.
        frame: whether x is given back as a pandas DataFrame.

    Parameters: those of each column's likelihood, with the column's name before: `age/loc`,
        `[B, 1]`.

    Raises:
        ValueError: if `columns` is no dict of names and likelihoods of one value, if the
            precisions differ, if data does not have the table's columns, or a column has a
            value outside the support of its likelihood.

    Example:
        keras_vae.likelihoods.Table(
            {
                "age": keras_vae.likelihoods.Normal(scale="shared"),
                "visits": keras_vae.likelihoods.NegativeBinomial(),
                "plan": keras_vae.likelihoods.Categorical(4),
            }
        )

    References: A. Nazabal, P. M. Olmos, Z. Ghahramani and I. Valera, Handling Incomplete
    Heterogeneous Data using VAEs, Pattern Recognition 2020.
    """

    takes_columns = True

    def __init__(
        self,
        columns: Mapping[str, Likelihood],
        frame: bool = False,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        _require_columns(columns)
        super().__init__((len(columns),), name=name, dtype=dtype, trainable=trainable)
        require_precision(self, self.density_dtype, list(columns.values()))
        self.names = list(columns)
        self.heads = [_of_a_column(head, i) for i, head in enumerate(columns.values())]
        self.frame = frame
        self.takes_size_factor = any(head.takes_size_factor for head in self.heads)
        self.xla = all(head.xla for head in self.heads)

    # The head

    def build(self, features_shape: tuple[int | None, ...]) -> None:
        for head in self.heads:
            head.build(features_shape)

    def raw(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._prefixed([head.raw(features) for head in self.heads])

    def projected(self) -> dict[str, tuple[int, ...]]:
        return self._prefixed([head.projected() for head in self.heads])

    def shared(self) -> dict[str, tuple[tuple[int, ...], float]]:
        return self._prefixed([head.shared() for head in self.heads])

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        pairs = zip(self.heads, self._by_column(raw), strict=True)
        return self._prefixed([head.link(own) for head, own in pairs])

    def observed(
        self, parameters: dict[str, tf.Tensor], size_factor: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        pairs = zip(self.heads, self._by_column(parameters), strict=True)
        return self._prefixed(
            [
                head.observed(own, size_factor if head.takes_size_factor else None)
                for head, own in pairs
            ]
        )

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        pairs = zip(self.heads, self._by_column(parameters), strict=True)
        return Blocks([head.distribution(own) for head, own in pairs])

    def adapt(
        self, distribution: tfd.Distribution, x: tf.Tensor, weight: tf.Tensor | None = None
    ) -> tfd.Distribution:
        pairs = zip(self.split(x), distribution.blocks, strict=True)
        return Blocks([head.adapt(block, column, weight) for (head, column), block in pairs])

    def centre(self, distribution: tfd.Distribution) -> tf.Tensor:
        """What stands for each column, such as the mean of a number and the likeliest category."""
        pairs = zip(self.heads, distribution.blocks, strict=True)
        return tf.concat([head.centre(block) for head, block in pairs], axis=-1)

    def average(self, distribution: tfd.Distribution, weights: tf.Tensor) -> tf.Tensor:
        pairs = zip(self.heads, distribution.blocks, strict=True)
        return tf.concat([head.average(block, weights) for head, block in pairs], axis=-1)

    def split(self, x: Array) -> list[tuple[Likelihood, Array]]:
        """Each column's likelihood, and the column `[..., 1]` of x `[..., columns]`."""
        return [(head, x[..., i : i + 1]) for i, head in enumerate(self.heads)]

    def _prefixed(self, parts: list[dict[str, Any]]) -> dict[str, Any]:
        named = zip(self.names, parts, strict=True)
        return {f"{column}/{name}": part[name] for column, part in named for name in part}

    def _by_column(self, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        parts: dict[str, dict[str, Any]] = {column: {} for column in self.names}
        for key, value in values.items():
            column, name = key.rsplit("/", 1)  # a column's name may have a slash, no other
            parts[column][name] = value
        return list(parts.values())

    # Where training starts

    def start(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._prefixed([head.start(m, v) for head, m, v in self._moments(mean, variance)])

    def start_from(self, mean: tf.Tensor, variance: tf.Tensor, size_factor: float = 1.0) -> None:
        for head, own_mean, own_variance in self._moments(mean, variance):
            head.start_from(own_mean, own_variance, size_factor)

    def _moments(
        self, mean: tf.Tensor, variance: tf.Tensor
    ) -> list[tuple[Likelihood, tf.Tensor, tf.Tensor]]:
        pairs = zip(self.split(mean), self.split(variance), strict=True)
        return [(head, own_mean, own_variance) for (head, own_mean), (_, own_variance) in pairs]

    @property
    def untrained(self) -> bool:
        return all(head.untrained for head in self.heads)

    # Data

    @property
    def support(self) -> Support:
        supports = [head.support for head in self.heads]
        named = list(zip(self.names, supports, strict=True))

        def contains(x: Array) -> Array:
            each = [own.contains(x[..., i]) for i, own in enumerate(supports)]
            return keras.ops.stack(each, axis=-1)

        def remedy(x: np.ndarray) -> str:
            columns = np.moveaxis(x, -1, 0)
            wrong = [not np.all(own.contains(c)) for own, c in zip(supports, columns, strict=True)]
            first = wrong.index(True)
            return f"Column {self.names[first]!r}: {supports[first].remedy(columns[first])}"

        return Support(
            name="; ".join(f"{column}: {own.name}" for column, own in named),
            contains=contains,
            discrete=all(own.discrete for own in supports),
            remedy=remedy,
            inside=tuple(float(np.squeeze(own.inside)) for own in supports),
        )

    def check(self, x: np.ndarray, argument: str = "x") -> None:
        if x.shape[1:] != self.event_shape:
            super().check(x, argument)  # says so
        for name, (head, column) in zip(self.names, self.split(x), strict=True):
            head.check(column, f"column {name!r} of {argument}")

    def encoder_input(self, x: tf.Tensor) -> tf.Tensor:
        parts = [head.encoder_input(column) for head, column in self.split(x)]
        return keras.ops.concatenate(parts, axis=-1)

    def as_source(self, x: object) -> Source:
        rows = (
            as_rows(x, self._discrete(), self.density_dtype, self._classes())
            if holds_columns(x)
            else x
        )
        source = as_source(rows)
        if source.dynamic or (source.divisor == 1 and isinstance(source.values, np.ndarray)):
            return source
        # Bytes are checked by their levels, whatever their column: here each is another set.
        return dataclasses.replace(source, values=source.array(), divisor=1.0)

    def given_back(self, x: tf.Tensor) -> Any:
        columns = as_columns(np.asarray(x), self._discrete())
        return as_frame(columns) if self.frame else columns

    def _classes(self) -> dict[str, int]:
        pairs = zip(self.names, self.heads, strict=True)
        return {name: head.classes for name, head in pairs if isinstance(head, Categorical)}

    def _discrete(self) -> dict[str, bool]:
        pairs = zip(self.names, self.heads, strict=True)
        return {name: head.support.discrete for name, head in pairs}

    def statement(self) -> Statement:
        statements = [head.statement() for head in self.heads]
        named = list(zip(self.names, statements, strict=True))
        kept = {"values are independent given z"}
        return self.stated(
            equation=r"p(x|z) = \prod_c p_c(x_c|z)",
            parameters=self._prefixed([own.parameters for own in statements]),
            learned=tuple(f"{column}/{what}" for column, own in named for what in own.learned),
            fixed=(
                "columns are independent given z",
                *(f"{column} is {own.family}" for column, own in named),
                *(f"{column}: {w}" for column, own in named for w in own.fixed if w not in kept),
            ),
        )

    def get_config(self) -> dict:
        config = super().get_config()
        del config["event_shape"]  # the number of columns
        # Pairs: a column may have any name, also one that means something in a Keras config.
        pairs = zip(self.names, self.heads, strict=True)
        columns = [[name, keras.saving.serialize_keras_object(head)] for name, head in pairs]
        return {**config, "columns": columns, "frame": self.frame}

    @classmethod
    def from_config(cls, config: dict) -> "Table":
        columns = {
            name: keras.saving.deserialize_keras_object(head) for name, head in config["columns"]
        }
        return super().from_config({**config, "columns": columns})


def _of_a_column(likelihood: Likelihood, index: int) -> Likelihood:
    """A likelihood as this one, of vectors of one value, with weights and a name of its own."""
    config = likelihood.get_config()
    return type(likelihood).from_config({**config, "event_shape": (1,), "name": f"column_{index}"})


def _require_columns(columns: object) -> None:
    good = isinstance(columns, Mapping) and len(columns) > 0
    if not good or not all(isinstance(name, str) for name in columns):  # type: ignore[attr-defined]
        raise ValueError(
            "`columns` of Table says what each column is. Expected: a dict from names to "
            f'likelihoods, such as {{"age": Normal(), "plan": Categorical(4)}}. Received: {columns!r}.'
        )
    for name, head in columns.items():  # type: ignore[attr-defined]
        if not isinstance(head, Likelihood) or head.event_shape not in ((), (1,)):
            raise ValueError(
                f"Column {name!r} of Table has one value in each row. Expected: a likelihood of "
                f"event_shape (), such as Normal(). Received: {head!r}"
                + (f" of event_shape {head.event_shape}." if isinstance(head, Likelihood) else ".")
            )
        if np.all(head.support.contains(np.array([np.nan]))):
            raise ValueError(
                f"Column {name!r} of Table may be missing, which is said of a whole table. "
                "Expected: a likelihood of numbers, and Missing(Table(...)). Received: "
                f"{type(head).__name__}."
            )
