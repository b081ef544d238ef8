"""How far generated examples lie where the real ones do, and the other way round.

The balls of a set are centred at its points; each has the distance of its centre to the k-th
nearest other point of the set as radius, so it contains k others at least.
"""

import dataclasses
import numbers
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_vae.evaluation.features import Features, pair_of_features
from keras_vae.evaluation.rows import MEMORY, Rows

ROUNDING = 1e-12  # of squared distances, in units of the largest squared norm


@dataclasses.dataclass(frozen=True)
class PrecisionRecall:
    """Shares of examples, in [0, 1].

    Attributes:
        precision: of the generated examples that lie in a ball of the real ones.
        recall: of the real examples that lie in a ball of the generated ones.
    """

    precision: float
    recall: float


@dataclasses.dataclass(frozen=True)
class DensityCoverage:
    """Both near 1 where the two distributions are equal.

    Attributes:
        density: how many balls of the real examples a generated one lies in, in the mean, over
            k. It may exceed 1.
        coverage: the share of the real examples whose ball has a generated one in it, in [0, 1].
    """

    density: float
    coverage: float


def precision_recall(
    real: Any,
    generated: Any,
    neighbours: int = 3,
    features: Features = None,
    memory: int = MEMORY,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> PrecisionRecall:
    """The share of generated examples that are like real ones, and of real that are generated.

    `precision = mean_j 1[exists i: |y_j - x_i| <= r_k(x_i)]`, `recall = mean_i 1[exists j:
    |x_i - y_j| <= r_k(y_j)]`, with r_k the distance to the k-th nearest other point of the same
    set. A model that leaves out part of the data has low recall; one that makes what is not
    in the data, low precision. One outlier in a set has a large ball, and raises the other's
    share: `density_coverage` is the remedy.

    Args:
        real: `[N, *E]`, or a source.
        generated: `[M, *E]`, or a source, such as `vae.sample(5000, draw=True)`.
        neighbours: k.
        features: see `features_of`; None for the values themselves.
        memory: bytes that one chunk of rows may take, beside all features, twice: see
            `features_of`; of the matrix of distances, as many rows are computed at once as fit.
        progress: whether a bar is shown, on a terminal.
        checkpoint: files for finished features, `NAME.real.npz` and `NAME.generated.npz` of
            `NAME.npz`: a run that was stopped goes on from them. Distances are computed anew.

    Raises:
        ValueError: if a set has no k others for a point, or see `features_of`.

    Example: `evaluation.precision_recall(x_test, vae.sample(5000, draw=True), features=network)`

    References: T. Kynkaanniemi, T. Karras, S. Laine, J. Lehtinen and T. Aila, Improved Precision
    and Recall Metric for Assessing Generative Models, NeurIPS 2019.
    """
    rows = Rows(memory, progress, checkpoint)
    x, y = pair_of_features(real, generated, features, rows)
    of_real = _Balls(x, neighbours, "real", rows)
    of_generated = _Balls(y, neighbours, "generated", rows)
    return PrecisionRecall(
        precision=float(np.mean(of_real.around(y)[0] > 0)),
        recall=float(np.mean(of_generated.around(x)[0] > 0)),
    )


def density_coverage(
    real: Any,
    generated: Any,
    neighbours: int = 5,
    features: Features = None,
    memory: int = MEMORY,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> DensityCoverage:
    """How densely generated examples lie among real ones, and how many of these they reach.

    `density = 1 / (k M) sum_j sum_i 1[|y_j - x_i| <= r_k(x_i)]`, `coverage = mean_i 1[exists j:
    |y_j - x_i| <= r_k(x_i)]`, with r_k the distance to the k-th nearest other real point. For
    equal distributions the expected density is 1, and the expected coverage `1 - (N - 1) ...
    (N - k) / ((N + M - 1) ... (N + M - k))`: 0.97 for k = 5 and large N = M.

    Args:
        real: `[N, *E]`, or a source.
        generated: `[M, *E]`, or a source, such as `vae.sample(5000, draw=True)`.
        neighbours: k.
        features: see `features_of`; None for the values themselves.
        memory: bytes that one chunk of rows may take, beside all features, twice: see
            `features_of`; of the matrix of distances, as many rows are computed at once as fit.
        progress: whether a bar is shown, on a terminal.
        checkpoint: files for finished features, `NAME.real.npz` and `NAME.generated.npz` of
            `NAME.npz`: a run that was stopped goes on from them. Distances are computed anew.

    Raises:
        ValueError: if the real set has no k others for a point, or see `features_of`.

    Example: `evaluation.density_coverage(x_test, vae.sample(5000, draw=True), features=network)`

    References: M. F. Naeem, S. J. Oh, Y. Uh, Y. Choi and J. Yoo, Reliable Fidelity and Diversity
    Metrics for Generative Models, ICML 2020.
    """
    rows = Rows(memory, progress, checkpoint)
    x, y = pair_of_features(real, generated, features, rows)
    balls, reached = _Balls(x, neighbours, "real", rows).around(y)
    return DensityCoverage(density=float(balls.mean() / neighbours), coverage=float(reached.mean()))


class _Balls:
    """The balls of a set of points `[N, F]`, up to the k-th nearest other point.

    Args:
        points: the centres.
        neighbours: k.
        argument: what the set is called, for the message.
        rows: how the rows of a matrix of distances are gone through.
    """

    def __init__(self, points: np.ndarray, neighbours: int, argument: str, rows: Rows) -> None:
        _require_neighbours(neighbours, len(points), argument)
        self.centre = points.mean(axis=0)  # from here distances lose the fewest digits
        self.points, self.rows = points - self.centre, rows
        self.squared_radii = np.empty(len(points))
        for part in self._blocks(points, "radii"):
            self.squared_radii[part] = self._radii(part, neighbours)

    def around(self, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many balls each other point lies in `[M]`, and whether a ball has one `[N]`."""
        others = others - self.centre
        # A point on a sphere is in the ball, though its distance be rounded otherwise than the
        # radius was.
        norms = (np.einsum("nf,nf->n", points, points) for points in (self.points, others))
        limits = self.squared_radii + ROUNDING * max(map(np.max, norms))
        counts, reached = np.empty(len(others), int), np.zeros(len(self.points), bool)
        for part in self._blocks(others, "distances"):
            inside = self._squared_distances(others[part]) <= limits
            counts[part] = inside.sum(axis=1)
            reached |= inside.any(axis=0)
        return counts, reached

    def _blocks(self, others: np.ndarray, label: str) -> Iterator[slice]:
        """Which rows of the matrix of distances `[M, N]` are computed at once."""
        row = (8 + 2) * len(self.points)  # distances; what is within a ball, here and just before
        return self.rows.blocks(len(others), row, label)

    def _radii(self, part: slice, neighbours: int) -> np.ndarray:
        """The squared distances of some points to their k-th nearest other one."""
        squared = self._squared_distances(self.points[part])
        squared[np.arange(len(squared)), np.arange(part.start, part.stop)] = np.inf  # itself
        squared.partition(neighbours - 1, axis=1)
        return squared[:, neighbours - 1].copy()  # not a view, which keeps the matrix

    def _squared_distances(self, others: np.ndarray) -> np.ndarray:
        from sklearn.metrics.pairwise import euclidean_distances  # a second to import

        return euclidean_distances(others, self.points, squared=True)


def _require_neighbours(neighbours: object, rows: int, argument: str) -> None:
    integer = isinstance(neighbours, numbers.Integral) and not isinstance(neighbours, bool)
    if not integer or not 1 <= neighbours < rows:  # type: ignore[operator]  # an integer here
        raise ValueError(
            "`neighbours` says which other point a ball reaches to. Expected: a positive integer "
            f"below the number of examples, of `{argument}` {rows}. Received: {neighbours!r}. Take "
            "fewer neighbours, or more examples."
        )
