"""Whether data that the model makes looks like the data, in what a statistic sees."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae.arguments import integer_seed, positive_integer
from keras_vae.conditions import Labels
from keras_vae.data.source import Source
from keras_vae.evaluation.asked import data_of
from keras_vae.evaluation.rows import Rows, identity_of
from keras_vae.vae import VAE

Statistic = Callable[[Any], Any]
PREDICTIVE = ("prior", "posterior")
# How much is drawn at once. Not the caller's to choose: the draws would follow it.
VALUES, ROWS, REPLICATES = 2**21, 2_000, 20


@dataclasses.dataclass(frozen=True, eq=False)
class PredictiveCheck:
    """T of replicated data sets beside T of the data, for each statistic T, by its name.

    Attributes:
        replicates: T(x_rep), `[R]`.
        observed: T(x).
        p_values: `min(1, 2 min(#{T(x_rep) >= T(x)} + 1, #{T(x_rep) <= T(x)} + 1) / (R + 1))`:
            two-sided, and never 0.
    """

    replicates: dict[str, np.ndarray]
    observed: dict[str, float]
    p_values: dict[str, float]

    def __str__(self) -> str:
        lines = (
            f"{name}: {self.observed[name]:.4g}, replicated {np.mean(values):.4g} "
            f"+- {np.std(values):.2g}, p = {self.p_values[name]:.3g}"
            for name, values in self.replicates.items()
        )
        return "\n".join(lines)


def predictive_check(
    vae: VAE,
    x: Any,
    statistics: Mapping[str, Statistic] | None = None,
    num_replicates: int = 100,
    predictive: str = "prior",
    seed: int = 0,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> PredictiveCheck:
    """Draws data sets like x from the model, and compares statistics of them with those of x.

    Each replicate has a row for each row of x, with its condition and size factor, and with its
    values missing where they are:

    - `predictive="prior"`: `z ~ p(z)`, `x_rep ~ p(x|z)`, what `vae.sample` draws. If x was not
      trained on and the model is right, the p-values are uniform: a small one says what the
      model gets wrong.
    - `predictive="posterior"`: `z ~ q(z|x)`, `x_rep ~ p(x|z)`: the same z again. It sees x twice,
      so its p-values lie nearer to one half and it misses more, but what is found is wrong in
      p(x|z), whatever p(z).

    Args:
        vae: the model.
        x: `[N, *E]`, or a source, or columns where the likelihood is a table. Grey values that
            are drawn as bits at each visit are drawn once.
        statistics: by name, functions from a data set, as `vae.sample` gives it, to a number;
            None for moments and extremes of arrays: see `default_statistics`.
        num_replicates: R.
        predictive: `"prior"` or `"posterior"`, where z is from.
        seed: of the draws: those of a replicate follow from it and the replicate's number.
        progress: whether a bar is shown, on a terminal.
        checkpoint: a file for finished replicates, `.npz`: a run that was stopped goes on from
            it. Of the statistics it knows the names, and what they are of x.

    In memory are x and one replicate, which a statistic is given whole; of small data up to 20, of
    two million values together.

    Raises:
        ValueError: if an argument is none of the above, or a statistic gives no number.

    Example:
        check = keras_vae.evaluation.predictive_check(
            vae, x_test, {"share of zeros": lambda x: np.mean(x == 0)}
        )
        from keras_vae import plots
        plots.predictive_check(check.replicates, check.observed, check.p_values)

    References: A. Gelman, X.-L. Meng and H. Stern, Posterior Predictive Assessment of Model
    Fitness via Realized Discrepancies, Statistica Sinica 1996. G. E. P. Box, Sampling and
    Bayes' Inference in Scientific Modelling and Robustness, JRSS A 1980 (prior predictive).
    """
    source, seed = data_of(vae, x), integer_seed(seed)
    positive_integer(num_replicates, "num_replicates", vae, "the number of data sets")
    if predictive not in PREDICTIVE:
        raise ValueError(
            f"`predictive` is one of {', '.join(map(repr, PREDICTIVE))}. Received: {predictive!r}."
        )
    functions = list(statistics.values()) if isinstance(statistics, Mapping) else []
    if statistics is not None and not (functions and all(map(callable, functions))):
        raise ValueError(
            "`statistics` are functions of a data set, by name. Expected: such as {'mean': np.mean}, "
            f"or None. Received: {statistics!r}."
        )
    data = vae.likelihood.given_back(source.array())
    chosen = default_statistics(vae, data) if statistics is None else statistics
    observed = _values(chosen, data)

    groups = _Groups(vae, source, chosen, predictive, seed)
    asked = {"statistics": observed, "predictive": predictive, "seed": seed}
    found = Rows(progress=progress, checkpoint=checkpoint)(
        groups,
        Source(np.arange(-(-num_replicates // groups.copies))),
        bytes_of_row=0,
        label="predictive check",
        identity=functools.partial(identity_of, vae, source, check=num_replicates, **asked),
        most=1,
    )
    by_name = found["values"].reshape(-1, len(chosen))[:num_replicates].T
    replicates = dict(zip(chosen, by_name, strict=True))
    p_values = {name: p_value(replicates[name], observed[name]) for name in chosen}
    return PredictiveCheck(replicates, observed, p_values)


def p_value(replicates: np.ndarray, observed: float) -> float:
    """The two-sided p-value of an observed value among replicates, itself counted as one."""
    above, below = np.sum(replicates >= observed), np.sum(replicates <= observed)
    return float(min(1.0, 2 * (1 + min(above, below)) / (1 + len(replicates))))


def default_statistics(vae: VAE, data: Any) -> dict[str, Statistic]:
    """Moments and extremes of arrays; of values that are missing none counts.

    `variance` is that of each value over the examples, then the mean over the values;
    `variance of the totals` that of the examples' sums, which is larger where values go
    together. Discrete data has the share of its zeros in addition.

    Raises:
        ValueError: if the data is a table: its columns have no moments in common.
    """
    if not isinstance(data, np.ndarray):
        raise ValueError(
            "The default statistics are those of arrays. Expected: statistics, functions of what "
            f"`vae.sample` gives. Received: None, for a {type(data).__name__} of columns. Pass "
            "such as {'mean age': lambda table: np.mean(table['age'])}."
        )
    known: dict[str, Statistic] = {
        "mean": lambda x: x.mean(dtype="float64"),
        "variance": lambda x: x.var(axis=0, dtype="float64").mean(),
        "variance of the totals": lambda x: x.reshape(len(x), -1).sum(1, dtype="float64").var(),
        "minimum": lambda x: x.min(),
        "maximum": lambda x: x.max(),
    }
    if vae.likelihood.support.discrete:
        known["share of zeros"] = lambda x: (x == 0).mean()
    return {name: _of_observed(statistic) for name, statistic in known.items()}


def _of_observed(statistic: Statistic) -> Statistic:
    return lambda x: statistic(np.ma.masked_invalid(x))


def _values(statistics: Mapping[str, Statistic], data: Any) -> dict[str, float]:
    """T of one data set, by name."""
    found = {name: np.asarray(statistic(data)) for name, statistic in statistics.items()}
    for name, value in found.items():
        if value.size != 1 or value.dtype.kind not in "fiub" or not np.isfinite(value).all():
            raise ValueError(
                f"Statistic {name!r} is a number for a data set. Expected: a finite number. "
                f"Received: {value.dtype} of shape {list(value.shape)}, {value.ravel()[:3]}."
            )
    return {name: float(value.item()) for name, value in found.items()}


class _Groups:
    """The statistics of groups of replicates, each with a seed of its own, `[n, copies, S]`.

    Args:
        vae: the model.
        source: the rows that each replicate has.
        statistics: S of them, by name.
        predictive: where z is from.
        seed: of the draws.
    """

    def __init__(
        self,
        vae: VAE,
        source: Source,
        statistics: Mapping[str, Statistic],
        predictive: str,
        seed: int,
    ) -> None:
        self.vae, self.source, self.statistics, self.seed = vae, source, statistics, seed
        self.draw = _draw_from_prior if predictive == "prior" else _draw_from_posterior
        self.missing = np.isnan(source.array())
        self.copies = max(1, min(REPLICATES, VALUES // self.missing.size))

    def __call__(self, _: Source, groups: tf.Tensor) -> dict[str, np.ndarray]:
        return {"values": np.array([self._values(int(group)) for group in groups])}

    def _values(self, group: int) -> list[list[float]]:
        drawn = self._drawn(group)
        if self.missing.any():
            drawn = np.where(self.missing, np.nan, drawn)
        given_back = map(self.vae.likelihood.given_back, drawn)
        return [list(_values(self.statistics, rows).values()) for rows in given_back]

    def _drawn(self, group: int) -> np.ndarray:
        """Data sets like the source, without holes, `[copies, N, *E]`."""
        size = max(1, min(ROWS, VALUES // math.prod(self.source.event_shape)))
        numbers = np.tile(np.arange(len(self.source)), self.copies)
        parts = [
            self.draw(
                self.vae,
                self.source.take(numbers[start : start + size]),
                _seed(self.seed, group, start),
            )
            for start in range(0, len(numbers), size)
        ]
        rows = np.concatenate([_rows(self.vae, part) for part in parts])
        return rows.reshape(self.copies, len(self.source), *rows.shape[1:])


def _draw_from_prior(vae: VAE, some: Source, seed: int) -> Any:
    return vae.sample(
        len(some),
        draw=True,
        seed=seed,
        condition=_known_condition(vae, some, seed),
        size_factor=some.size_factor,
    )


def _draw_from_posterior(vae: VAE, some: Source, seed: int) -> Any:
    return vae.reconstruct(some, draw=True, seed=seed)


def _known_condition(vae: VAE, some: Source, seed: int) -> np.ndarray | None:
    """The data's own; a label that is not known is a latent variable, and drawn with z."""
    if not isinstance(vae.condition, Labels) or some.condition is None:
        return some.condition
    drawn = vae.condition.drawn(len(some), tf.constant([seed, 1], tf.int64)).numpy()
    return np.where(some.condition >= 0, some.condition, drawn)


def _rows(vae: VAE, drawn: Any) -> np.ndarray:
    """What the model gives back as rows of numbers."""
    return vae.likelihood.as_source(drawn).array()


def _seed(seed: int, group: int, start: int) -> int:
    return int(np.random.SeedSequence([seed % 2**64, group, start]).generate_state(1)[0])
