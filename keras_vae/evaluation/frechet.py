"""The distance of two Normals that have the moments of real and of generated features."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from keras_vae.evaluation.features import Features, pair_of_features
from keras_vae.evaluation.rows import MEMORY, Rows


def frechet_distance(
    real: Any,
    generated: Any,
    features: Features = None,
    memory: int = MEMORY,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> float:
    """`|m_1 - m_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^1/2)`, the squared 2-Wasserstein distance.

    m and S are mean and covariance of the features. With the features of an Inception network
    this is FID. From N examples it is too large in the mean, by about 1 / N times a constant
    that depends on the model, so compare numbers of one N only (Chong and Forsyth 2020).

    Args:
        real: `[N, *E]`, or a source.
        generated: `[M, *E]`, or a source, such as `vae.sample(5000, draw=True)`.
        features: see `features_of`; None for the values themselves.
        memory: bytes that one chunk of rows may take, beside all features and the covariances:
            see `features_of`.
        progress: whether a bar is shown, on a terminal.
        checkpoint: files for finished features, `NAME.real.npz` and `NAME.generated.npz` of
            `NAME.npz`: a run that was stopped goes on from them.

    Returns:
        A number >= 0, in squared units of the features.

    Warns:
        UserWarning: if a set has no more examples than features: its covariance does not
            have full rank, whatever the distribution, and the distance is far too large.

    Raises:
        ValueError: if a set has fewer than two examples, or see `features_of`.

    Example: `evaluation.frechet_distance(x_test, vae.sample(5000, draw=True), features=network)`

    References: M. Heusel, H. Ramsauer, T. Unterthiner, B. Nessler and S. Hochreiter, GANs
    Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium, NeurIPS 2017.
    D. C. Dowson and B. V. Landau, The Frechet Distance between Multivariate Normal
    Distributions, Journal of Multivariate Analysis 1982. M. J. Chong and D. Forsyth,
    Effectively Unbiased FID and Inception Score and Where to Find Them, CVPR 2020.
    """
    rows = Rows(memory, progress, checkpoint)
    pair = pair_of_features(real, generated, features, rows)
    for name, values in zip(("real", "generated"), pair, strict=True):
        _require_rank(name, *values.shape)
    first, second = (_moments(values, rows) for values in pair)
    return distance_of_normals(first, second)


@dataclasses.dataclass(frozen=True, eq=False)
class Moments:
    """Mean `[F]` and covariance `[F, F]`."""

    mean: np.ndarray
    covariance: np.ndarray


def distance_of_normals(first: Moments, second: Moments) -> float:
    """The squared 2-Wasserstein distance of two Normals.

    `tr (S_1 S_2)^1/2 = tr (S_1^1/2 S_2 S_1^1/2)^1/2` is the sum of the singular values of
    `S_1^1/2 S_2^1/2`. These are real and lose no digits to a second square root, unlike the
    eigenvalues of the product, or a root of it that may come out complex.
    """
    overlap = np.linalg.svd(_root(first.covariance).T @ _root(second.covariance), compute_uv=False)
    offset = np.sum((first.mean - second.mean) ** 2)
    spread = np.trace(first.covariance) + np.trace(second.covariance) - 2 * overlap.sum()
    return float(max(offset + spread, 0.0))  # rounding may go below


def _root(covariance: np.ndarray) -> np.ndarray:
    """R with `R R^T = S`: which of them does not matter to the singular values."""
    eigenvalues, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(eigenvalues, 0))  # rounding may go below


def _moments(values: np.ndarray, rows: Rows) -> Moments:
    mean, sums = values.mean(axis=0), np.zeros(2 * values.shape[1:])
    for part in rows.blocks(len(values), 8 * values.shape[1], "covariance"):
        centred = values[part] - mean
        sums += centred.T @ centred
    return Moments(mean, sums / (len(values) - 1))


def _require_rank(argument: str, rows: int, size: int) -> None:
    if rows < 2:
        raise ValueError(
            f"`{argument}` has no covariance. Expected: two examples at least, and better more "
            f"than its {size} features. Received: {rows}."
        )
    if rows <= size:
        warnings.warn(
            f"`{argument}` has {rows} examples of {size} features: its covariance does not have "
            "full rank, and the distance is too large. Take more examples, or fewer features.",
            stacklevel=3,
        )
