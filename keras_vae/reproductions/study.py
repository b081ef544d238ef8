"""A published table or figure, and what is trained to have its numbers again."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from keras_vae.data import DataSet
from keras_vae.data.source import Source


@dataclasses.dataclass(frozen=True)
class Published:
    """A number as it was published.

    Attributes:
        value: in the figure's unit.
        source: who, where.
        differs: how its protocol is not the one here; empty where it is the same.
    """

    value: float
    source: str
    differs: str = ""


@dataclasses.dataclass(frozen=True)
class Figure:
    """A number that was computed.

    Attributes:
        value: the number.
        unit: such as `nats per example`.
        how: the estimator, and what it was applied to.
        standard_error: or None where there is none.
    """

    value: float
    unit: str
    how: str
    standard_error: float | None = None


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long a variant is trained, in numbers that its schedules need.

    Attributes:
        epochs: passes over the training data.
        steps: updates in one of them.
        seed: of weights, draws and order.
    """

    epochs: int
    steps: int
    seed: int


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained variant, to be measured.

    Attributes:
        model: as it was built, trained.
        data: what it was trained on.
        num_samples: K of the held-out log-likelihood.
        seed: of the draws.
        folder: for what a measurement keeps to be resumed.
    """

    model: Any
    data: DataSet
    num_samples: int
    seed: int
    folder: Path


@dataclasses.dataclass(frozen=True)
class Variant:
    """One row of a table.

    Attributes:
        name: within its study.
        model: architecture, distributions and bound, in words.
        optimiser: in words.
        data: from a data folder, or None for the environment's, to the data.
        build: the compiled model.
        epochs: the default budget.
        batch_size: examples in a step.
        published: by the names of the figures.
        feed: what `fit` is given of the training data.
        follows: whether the bound on test data is recorded after every epoch.
    """

    name: str
    model: str
    optimiser: str
    data: Callable[[str | None], DataSet]
    build: Callable[[DataSet, Plan], keras.Model]
    epochs: int
    batch_size: int = 100
    published: Mapping[str, Published] = dataclasses.field(default_factory=dict)
    feed: Callable[[Source], Any] = lambda source: source
    follows: bool = False


@dataclasses.dataclass(frozen=True)
class Study:
    """What one paper reports, and how it is reproduced.

    Attributes:
        name: as `keras-vae reproduce` takes it.
        title: of the table.
        reference: authors, title, year.
        variants: its rows.
        measure: the figures of a trained variant, by name.
        reading: what the figures say beside the paper's, and why they differ.
        draws: whether `measure` estimates log p(x) from K draws.
    """

    name: str
    title: str
    reference: str
    variants: tuple[Variant, ...]
    measure: Callable[[Trained], dict[str, Figure]]
    reading: str
    draws: bool = False

    def variant(self, name: str) -> Variant:
        """The variant of this name."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        names = ", ".join(variant.name for variant in self.variants)
        raise ValueError(f"{self.name} has no variant {name!r}. Expected one of: {names}.")
